"""A log in which other rules were activated is replayed with the rules of each moment."""

from __future__ import annotations

from pathlib import Path

from rules.engine.engine import Engine
from streams.record import Record
from streams.rule_sets.rule_set import RuleSet, activation, rule_set_message, rule_set_of
from streams.site_folder import load_site
from streams.wire import encode_input, encode_output
from tests.streams.replay.conftest import RULES, T0, Replayed, S, inputs_of

FAST = "rules:\n  pump-fast:\n    for: Pump\n    when: PumpSpeed > 70 percent\n    severity: low\n    message: fast\n"


def run(site_dir: Path, other: RuleSet) -> list[Record]:
    """A run of `row-a` in which `other` is activated at second 60."""
    site = load_site(site_dir)
    first = rule_set_of(site_dir, site)
    engine = Engine(first.load()[1], site, "row-a", first.digest)
    made = other.compiled_for(site.digest, ["row-a"])
    engine.offer(other.digest, made if isinstance(made, str) else made["row-a"])
    messages = [rule_set_message(first), rule_set_message(other)]
    for value in inputs_of("row-a", "P-1.PumpSpeed"):
        batch = [value]
        if value.identity.sequence == T0 // S + 60:
            batch.append(activation(site, "row-a", other.digest, T0 + 60 * S))  # type: ignore[arg-type]
        messages += [encode_input(one, 2) for one in batch]
        messages += [encode_output(output, 2) for output in engine.step(batch)]
    offsets: dict[tuple[str, int], int] = {}
    records = []
    for message in messages:
        place = (message.topic, message.partition)
        offsets[place] = offsets.get(place, -1) + 1
        records.append(Record(*place, offsets[place], 1, message.key, message.value, message.headers))
    return records


def other_of(site_dir: Path, rules: str) -> RuleSet:
    site = load_site(site_dir)
    return RuleSet({**rule_set_of(site_dir, site).files, "rules/pumps.yaml": rules})


def test_other_rules_rule_from_their_activation_on(
    made: tuple[Path, list[Record]], replayed: Replayed
) -> None:
    records = run(made[0], other_of(made[0], RULES + FAST.removeprefix("rules:\n")))
    code, said = replayed(records)
    assert code == 0
    assert said["verification"]["compared"] > 4
    assert said["verification"]["differences"] == 0


def test_an_alarm_of_a_rule_that_went_ends_there(made: tuple[Path, list[Record]], replayed: Replayed) -> None:
    code, said = replayed(run(made[0], other_of(made[0], FAST)))
    assert (code, said["verification"]["differences"]) == (0, 0)
    last = [one for one in said["alarms"] if one["rule"] == "pump-slow"][-1]
    assert last["cleared_at"].startswith("2026-01-01T00:01:00")


def test_a_refusal_is_replayed_with_its_reason(made: tuple[Path, list[Record]], replayed: Replayed) -> None:
    records = run(made[0], other_of(made[0], RULES.replace("PumpSpeed <", "PumpSped <")))
    code, said = replayed(records)
    assert (code, said["verification"]["differences"]) == (0, 0)


def test_a_recording_that_has_lost_the_rules_differs(
    made: tuple[Path, list[Record]], replayed: Replayed
) -> None:
    records = run(made[0], other_of(made[0], FAST))
    code, said = replayed([one for one in records if one.topic != "rule-sets"])
    assert (code, said["verification"]["differences"] > 0) == (1, True)
