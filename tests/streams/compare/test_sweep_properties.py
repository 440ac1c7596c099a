"""Whatever the rules and the log: a candidate's alarms are those of a replay of the whole rule set with that change."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine.inputs import Activation, Fact, Input, Tick
from rules.language.program import Program, Rule, make_program
from streams.compare.episodes import Episode
from streams.compare.sweep import side_by_side
from streams.compare.sweep_processes import sweep
from streams.record import Record
from streams.recording.recording import Recording, RecordingWriter
from streams.replay.replay import replay
from streams.replay.rules import Chosen
from streams.wire import encode_input
from tests.rules.engine.plant import MS, UNIT, site
from tests.rules.engine.terms_of_rules import programs
from tests.rules.engine.test_engine_facts_properties import HALL, pairs_of_logs
from tests.rules.engine.test_engine_properties import CASES
from tests.support.examples import examples

Alarms = list[tuple[str, str, int, int | None]]
DELAYS = (0, 100 * MS, 1000 * MS)


def one_log(pair: dict[str, list[Input]]) -> list[Input]:
    """Both units' inputs, tick by tick. Facts and activations of the log are none of candidates."""
    parts: dict[str, list[list[Input]]] = {unit: [[]] for unit in pair}
    for unit, log in pair.items():
        for value in log:
            if isinstance(value, Tick):
                parts[unit].append([])
            parts[unit][-1].append(value)
    return [
        value
        for row, hall in zip(parts[UNIT], parts[HALL], strict=True)
        for value in (*row, *hall)
        if not isinstance(value, Fact | Activation)
    ]


def recorded(path: Path, inputs: Iterable[Input]) -> list[Recording]:
    with RecordingWriter(path, attachments={}, metadata={}) as writer:
        for offset, value in enumerate(inputs):
            message = encode_input(value, 1)
            writer.write(
                Record(message.topic, 0, offset, 1, message.key, message.value, message.headers), offset
            )
    return [Recording(path)]


def changed(program: Program, rule: Rule) -> Program:
    return make_program({one.id: one for one in program.rules} | {rule.id: rule}, program.site_digest)


def alarms_of(episodes: Iterable[Episode]) -> Alarms:
    return sorted(
        ((one.unit, one.asset, one.raised_ns, one.cleared_ns) for one in episodes), key=lambda one: one[:3]
    )


@settings(CASES, max_examples=examples(50))
@given(programs(), pairs_of_logs(), st.data())
def test_a_candidate_alone_is_the_rule_among_all_others(
    program: Program, pair: dict[str, list[Input]], data: st.DataObject
) -> None:
    rule = data.draw(st.sampled_from(program.rules))
    candidates = [replace(rule, on_delay_ns=delay_ns, targets={}) for delay_ns in DELAYS]
    with tempfile.TemporaryDirectory() as folder:
        recordings = recorded(Path(folder) / "log.mcap", one_log(pair))
        together = side_by_side(candidates, site())
        swept = sweep(recordings, site(), together)
        for candidate, episodes in zip(candidates, swept.episodes, strict=True):
            whole = replay(recordings, Chosen(site(), changed(program, candidate)), verify=False)
            alarms = [
                (alarm.unit, alarm.asset, alarm.raised_ns, alarm.cleared_ns)
                for alarm in whole.alarms.values()
                if alarm.rule == rule.id
            ]
            assert alarms_of(episodes) == sorted(alarms, key=lambda one: one[:3])
