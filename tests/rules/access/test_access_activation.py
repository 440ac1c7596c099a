"""Activations of rules that are forged, altered, expired or said again, or of who has no right to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from rules.engine.engine import Engine
from rules.engine.inputs import Activation, Identity, Input
from rules.engine.outputs import Entry, Output
from rules.engine.tables import compile_unit
from tests.rules.access.people import PEOPLE, action, activation, listing, public_of
from tests.rules.engine.plant import LOW, START, UNIT, S, program, site, tick

UNSIGNED = Activation(UNIT, Identity("activation", START + 5, 1), "a", "other", START)
LATE = "it is of a time that has not come: see the clock of who sent it"
WRONG = "its signature is of no key of 'eng', or it was altered"


class Plant:
    """An engine with the rules "low", which knows what "other" means."""

    def __init__(self, *first: Input, root_key: str = "") -> None:
        self.site = replace(site(), root_key=root_key)
        self.engine = Engine(program(LOW), self.site, UNIT, "low")
        other = LOW.replace("70 L/min", "45 L/min")
        self.engine.offer("other", compile_unit(program(other), self.site, self.site.units[UNIT]))
        self.take(tick(START), *first)

    def take(self, *values: Input) -> list[str]:
        """Kinds of the lines that follow."""
        self.outputs: list[Output] = self.engine.step(values)
        return [one.kind for one in self.outputs if isinstance(one, Entry)]

    @property
    def detail(self) -> Mapping[str, Any]:
        [entry] = [one for one in self.outputs if isinstance(one, Entry)]
        return entry.detail


def test_without_a_list_anybody_activates_and_nothing_is_said_of_them() -> None:
    plant = Plant()
    assert plant.take(UNSIGNED) == ["activation"]
    assert plant.engine.rules_digest == "other"
    assert not {"signed", "signer"} & plant.detail.keys()


@pytest.mark.parametrize("signer", ["eng", "ada", "panel"])
def test_who_has_the_right_activates_and_the_journal_names_them(signer: str) -> None:
    plant = Plant(listing())
    sent = activation("other", signer)
    assert plant.take(sent) == ["activation"]
    assert (plant.engine.rules_digest, plant.detail["signed"], plant.detail["signer"]) == (
        "other",
        True,
        signer,
    )


REFUSED: list[tuple[Activation, str]] = [
    (UNSIGNED, "it is not signed"),
    (replace(UNSIGNED, signer="eng"), "it is not signed"),
    (activation("other", "eng", key="otto"), WRONG),
    (activation("other", "eng", site_name="another"), WRONG),
    (activation("other", "mallory"), "its signer is not on the access list"),
    (activation("other", "eva"), "'eva' may not do that: no activate-rules for role operator"),
    (activation("other", "scada"), "'scada' may not do that: no activate-rules for role operator"),
    (activation("other", "vic"), "'vic' may not do that: no activate-rules for role viewer"),
    (activation("other", identity=Identity("action:eng", START, 1)), "its source is not its signer's"),
    (activation("other", identity=Identity("plant", START, 1)), "its source is not its signer's"),
    (activation("other", at_ns=START + 61 * S), LATE),
    (activation("other", epoch=START + 61 * S), LATE),
    (activation("other", at_ns=START - 61 * S), "it was signed 61 s ago, and the site allows 60 s"),
    (replace(activation("low"), rules_digest="other"), WRONG),
    (replace(activation("other"), at_ns=START + 1), WRONG),
    (replace(activation("other"), site_digest="b"), WRONG),
    (replace(activation("other"), identity=Identity("activation", START, 2)), WRONG),
    (replace(activation("other"), identity=Identity("activation", START + 9, 1)), WRONG),
    (replace(activation("other"), signer="ada"), WRONG.replace("eng", "ada")),
    (replace(activation("other"), signature="no hex"), WRONG),
    (replace(activation("other"), signature=action("comment", "eng").signature), WRONG),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "reason"), REFUSED, ids=[f"{n}: {one[1]}" for n, one in enumerate(REFUSED)])
def test_what_is_not_believed_changes_nothing_and_takes_no_ones_place(sent: Activation, reason: str) -> None:
    plant = Plant(listing())
    assert not plant.engine.believes(sent)
    before, known = plant.engine.heard(), plant.engine.chain_end().number
    assert plant.take(sent) == ["activation-refused"]
    assert plant.detail["reason"] == reason
    assert (plant.detail["rules_digest"], plant.detail["signed"]) == (sent.rules_digest, False)
    assert plant.outputs[0].id == f"{UNIT}:forged:{START}:1:0"  # type: ignore[union-attr]
    assert (plant.engine.rules_digest, plant.engine.heard()) == ("low", before)
    assert plant.engine.chain_end().number == known + 1
    assert (plant.engine.counters["activations"], plant.engine.counters["activations_refused"]) == (1, 1)
    assert plant.engine.believes(activation("other", epoch=START))
    assert plant.take(activation("other", epoch=START)) == ["activation"]
    assert plant.engine.rules_digest == "other"


def test_what_was_taken_is_a_repeat_when_it_comes_again_and_an_older_one_does_not_come_back() -> None:
    plant = Plant(listing())
    first, second = activation("other"), activation("low", "ada", START + 1)
    assert plant.take(first, second) == ["activation", "activation"]
    assert plant.take(first, activation("other", "ada", START)) == []
    assert plant.engine.rules_digest == "low"
    assert plant.take(tick(START + S)) == ["repeat"]
    assert plant.detail == {"source": "activation", "count": 2}
    plant.take(tick(START + 61 * S))
    assert plant.take(first) == ["activation-refused"], "by then it is too old to be looked at"


def test_a_list_that_takes_a_right_away_takes_it_from_there_on() -> None:
    without = {name: one for name, one in PEOPLE.items() if name != "eng"}
    plant = Plant(listing(), activation("other"))
    assert plant.engine.rules_digest == "other"
    assert plant.take(listing(START + 1, without), activation("low", epoch=START + 1)) == [
        "access-list", "activation-refused",
    ]  # fmt: skip


def test_a_root_key_lets_nobody_activate_before_the_first_list() -> None:
    plant = Plant(root_key=public_of("root"))
    for sent in (UNSIGNED, activation("other"), activation("other", key="root")):
        assert plant.take(sent) == ["activation-refused"]
        assert plant.detail["reason"] == "there is no access list yet"
    assert plant.take(listing(key="root"), activation("other")) == ["access-list", "activation"]


def test_a_list_and_an_activation_may_come_before_the_first_tick() -> None:
    engine = Engine(program(LOW), site(), UNIT, "low")
    engine.offer("other", compile_unit(program(LOW), site(), site().units[UNIT]))
    said = engine.step([listing(), UNSIGNED, activation("other")])
    assert [one.kind for one in said if isinstance(one, Entry)] == [
        "access-list", "activation-refused", "activation",
    ]  # fmt: skip


@pytest.mark.parametrize("first", [(), (listing(),)], ids=["open", "with a list"])
@pytest.mark.parametrize("name", ["site_digest", "rules_digest", "signer"])
def test_one_with_too_long_a_text_is_refused_at_any_site(first: tuple[Input, ...], name: str) -> None:
    """A line of the journal that has it would fit into no message, and end every worker."""
    plant = Plant(*first)
    given: dict[str, Any] = {name: "x" * 2001}
    assert plant.take(replace(UNSIGNED, **given)) == ["activation-refused"]
    assert plant.detail["reason"] == "a text of it has more than 2000 characters"
    assert not any("x" * 201 in str(one) for one in plant.outputs)


def test_a_set_that_can_not_rule_is_counted_as_refused_as_well() -> None:
    plant = Plant(listing())
    plant.engine.offer("wrong", "rules/a.yaml:3: unknown signal")
    assert plant.take(activation("wrong")) == ["activation-refused"]
    assert (plant.detail["reason"], plant.detail["signer"]) == ("rules/a.yaml:3: unknown signal", "eng")
    assert plant.engine.counters["activations_refused"] == 1
