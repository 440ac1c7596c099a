"""Actions and access lists that are forged, altered, repeated or expired, and who may do what for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from rules.access.users import digest_of
from rules.engine.engine import Engine
from rules.engine.inputs import Action, Identity, Input
from rules.engine.outputs import Alarm, Entry, Output
from tests.rules.access.people import PEOPLE, action, listing, public_of, user
from tests.rules.engine.plant import START, UNIT, S, flow, program, site, tick

LOW = """
  low:
    for: Rack
    when: RackLiquidFlow < 70 L/min
    severity: high
    message: "{asset}"
"""


class Watched:
    """An engine in which R1 is low, and what it says."""

    def __init__(self, *first: Input, root_key: str = "") -> None:
        self.engine = Engine(program(LOW), replace(site(), root_key=root_key), UNIT)
        self.take(tick(START), flow(1, START, 60))
        [self.raised] = [one.raised_id for one in self.outputs if isinstance(one, Alarm)]
        self.take(*first)

    def take(self, *values: Input) -> list[str]:
        """Kinds of the lines that follow."""
        self.outputs: list[Output] = self.engine.step(values)
        return [one.kind for one in self.outputs if isinstance(one, Entry)]

    def acknowledges(self, signer: str = "eva", **given: Any) -> list[str]:
        return self.take(action("acknowledge", signer, occurrence=self.raised, **given))

    @property
    def detail(self) -> Mapping[str, Any]:
        [entry] = [one for one in self.outputs if isinstance(one, Entry)]
        return entry.detail

    @property
    def reason(self) -> str:
        return str(self.detail["reason"])


def test_without_a_list_everybody_acts_and_the_journal_says_that_nobody_has_signed() -> None:
    desk = Watched()
    unsigned = Action(
        UNIT, Identity("action:eva", 1, 1), "acknowledge", "low", "R1", "eva", START, desk.raised
    )
    assert desk.take(unsigned) == ["alarm-acknowledged"]
    assert desk.detail["signed"] is False


def test_the_first_list_is_believed_and_said_to_be_the_first() -> None:
    desk = Watched()
    assert desk.take(listing()) == ["access-list"]
    assert desk.detail == {"signer": "ada", "digest": digest_of(PEOPLE), "users": 7, "first": True}
    assert desk.engine.access_digest == digest_of(PEOPLE)
    assert desk.take(listing(START + 1)) == ["access-list"]
    assert desk.detail["first"] is False


def test_who_is_on_the_list_acts_with_a_signature() -> None:
    desk = Watched(listing())
    assert desk.acknowledges() == ["alarm-acknowledged"]
    assert (desk.detail["by"], desk.detail["signed"]) == ("eva", True)
    assert "signer" not in desk.detail


def test_an_edge_speaks_for_whom_it_may_and_both_need_the_right() -> None:
    desk = Watched(listing())
    assert desk.acknowledges("scada", by="eva") == ["alarm-acknowledged"]
    assert (desk.detail["by"], desk.detail["signer"]) == ("eva", "scada")
    until = {"until_ns": START + S}
    for signer, by, kind, reason in [
        ("panel", "otto", "comment", "'panel' may not speak for 'otto'"),
        ("eva", "otto", "comment", "'eva' may not speak for 'otto'"),
        ("scada", "nobody", "comment", "'nobody' is not on the access list"),
        ("vic", "vic", "comment", "'vic' may not do that: no comment for role viewer"),
        ("scada", "vic", "comment", "'vic' may not do that: no comment for role viewer"),
        ("eva", "eva", "remove-from-service", "'eva' may not do that: no remove-from-service for role operator"),
        ("scada", "eng", "remove-from-service", "'scada' may not do that: no remove-from-service for role operator"),
    ]:  # fmt: skip
        sent = action(kind, signer, by, START + desk.engine.counters["actions"] + 1, **until)  # type: ignore[arg-type]
        assert desk.take(sent) == ["action-refused"]
        assert desk.reason == reason
        assert desk.outputs[0].id == f"{UNIT}:action:{signer}:{sent.identity.epoch}:1:0"  # type: ignore[union-attr]
    assert desk.take(action("remove-from-service", "eng", **until)) == ["alarm-out-of-service"]


FORGED: list[tuple[dict[str, Any], str]] = [
    ({"key": "otto"}, "its signature is of no key of 'eva', or it was altered"),
    ({"signer": "mallory"}, "its signer is not on the access list"),
    ({"site_name": "another"}, "its signature is of no key of 'eva', or it was altered"),
    ({"identity": Identity("action:otto", START, 1)}, "its source is not its signer's"),
    (
        {"epoch": START + 61 * S, "at_ns": START},
        "it is of a time that has not come: see the clock of who sent it",
    ),
    (
        {"at_ns": START + 61 * S},
        "it is of a time that has not come: see the clock of who sent it",
    ),
]


@pytest.mark.parametrize(("given", "reason"), FORGED)
def test_a_forged_action_is_refused_and_stands_in_no_ones_way(given: dict[str, Any], reason: str) -> None:
    desk = Watched(listing())
    assert desk.acknowledges(**{"epoch": START + 5, **given}) == ["action-refused"]
    assert desk.reason == reason
    assert desk.outputs[0].id == f"{UNIT}:forged:{START}:1:0"  # type: ignore[union-attr]
    assert desk.acknowledges(epoch=START) == ["alarm-acknowledged"]


@pytest.mark.parametrize("first", [(), (listing(),)], ids=["open", "with a list"])
@pytest.mark.parametrize("name", ["comment", "by", "rule", "asset", "occurrence", "signer"])
def test_an_action_with_too_long_a_text_is_refused_and_its_text_is_in_no_output(
    first: tuple[Input, ...], name: str
) -> None:
    """A comment that just fitted into a message of `events` and not into one of `alarms` ended every worker."""
    desk = Watched(*first)
    own = Identity("action:eva", START, 1)
    given: dict[str, Any] = {"occurrence": desk.raised, name: "x" * 2001}
    assert desk.take(action("comment", identity=own, **given)) == ["action-refused"]
    assert desk.reason == "a text of it has more than 2000 characters"
    assert not any("x" * 201 in str(one) for one in desk.outputs)
    assert desk.take(action("comment", comment="x" * 2000)) == ["alarm-commented"]


ALTERED: list[dict[str, Any]] = [
    {"asset": "R2"}, {"by": "otto"}, {"comment": "another"}, {"until_ns": START + 1}, {"action": "comment"},
    {"at_ns": START + 1}, {"identity": Identity("action:eva", START, 2)}, {"occurrence": ""}, {"one_shot": True},
    {"signature": ""}, {"signature": "no hex"}, {"signature": "00" * 64}, {"rule": "other"},
]  # fmt: skip


@pytest.mark.parametrize("changed", ALTERED, ids=str)
def test_whatever_is_altered_behind_the_signature_is_seen(changed: dict[str, Any]) -> None:
    desk = Watched(listing())
    sent = action("acknowledge", occurrence=desk.raised)
    assert desk.take(replace(sent, **changed)) == ["action-refused"]
    assert desk.reason in (
        "its signature is of no key of 'eva', or it was altered",
        "it is not signed",
    )
    assert desk.take(sent) == ["alarm-acknowledged"]


def test_what_comes_again_is_a_repeat_whatever_came_between() -> None:
    desk = Watched(listing())
    sent = action("comment")
    assert desk.take(sent) == ["alarm-commented"]
    assert desk.take(sent, action("comment", epoch=START + 1), sent) == ["alarm-commented"]
    assert desk.take(tick(START + S)) == ["repeat"]
    assert (desk.engine.counters["repeats"], desk.detail["source"]) == (2, "action:eva")


def test_what_was_signed_too_long_ago_is_refused_and_the_next_one_is_taken() -> None:
    desk = Watched(listing(), tick(START + 60 * S))
    assert desk.acknowledges() == ["alarm-acknowledged"]
    desk.take(tick(START + 61 * S))
    assert desk.take(action("comment", epoch=START + 1)) == ["action-refused"]
    assert desk.reason == "it was signed 61 s ago, and the site allows 60 s"
    now_ns = START + 61 * S
    assert desk.take(action("comment", epoch=now_ns, at_ns=now_ns)) == ["alarm-commented"]


LISTS: list[tuple[dict[str, Any], str]] = [
    ({"signer": "eng"}, "its signer is no admin"),
    ({"signer": "mallory"}, "its signer is no admin"),
    ({"key": "eng"}, "its signature is of no key of 'ada', or it was altered"),
    ({"at_ns": START + 1, "signature": "00"}, "its signature is of no key of 'ada', or it was altered"),
    ({"epoch": START + 61 * S}, "it is of a time that has not come: see the clock of who sent it"),
]


@pytest.mark.parametrize(("given", "reason"), LISTS)
def test_a_list_that_no_admin_has_signed_changes_nothing(given: dict[str, Any], reason: str) -> None:
    desk = Watched(listing())
    assert desk.take(listing(**{"epoch": START + 5, **given})) == ["access-list-refused"]
    assert desk.reason == reason
    assert desk.engine.counters["access_lists_refused"] == 1
    assert desk.take(listing(START + 1)) == ["access-list"]
    assert desk.acknowledges() == ["alarm-acknowledged"]


def test_the_admin_of_a_new_list_is_not_that_of_the_old_one() -> None:
    taken_over = {**PEOPLE, "mallory": user("mallory", "admin")}
    desk = Watched(listing())
    assert desk.take(listing(START + 1, taken_over, "mallory")) == ["access-list-refused"]
    assert desk.take(listing(START + 1, taken_over)) == ["access-list"]
    assert desk.take(listing(START + 2, PEOPLE, "mallory")) == ["access-list"]
    assert desk.take(listing(START + 3, taken_over, "mallory")) == ["access-list-refused"]


def test_an_older_list_does_not_come_back() -> None:
    with_vic = listing()
    without = {name: one for name, one in PEOPLE.items() if name != "eva"}
    desk = Watched(with_vic, listing(START + 1, without))
    assert desk.take(with_vic) == []
    assert desk.acknowledges() == ["action-refused"]
    desk.take(tick(START + 61 * S))
    late = listing(START + 2)
    assert desk.take(late) == ["access-list-refused"]
    assert desk.reason == "it was signed 61 s ago, and the site allows 60 s"


@pytest.mark.parametrize(
    "users",
    [
        {"a:b": {"role": "admin"}},
        {"*": {"role": "admin"}},
        {"eva": "admin"},
        {"eva": {"role": "king"}},
        {"eva": {"role": "admin", "keys": ["ab"]}},
        {"eva": {"role": "admin", "keys": [public_of("eva")] * 17}},
        {"eva": {"role": "admin", "keys": public_of("eva")}},
        {"eva": {"role": "admin", "keys": [public_of("eva")], "speaks_for": [1]}},
        {"eva": {"role": ["admin"], "keys": [public_of("eva")]}},
        {"eva": {"role": "admin", "keys": [public_of("eva")], "more": 1}},
        {
            "eva": {"role": "operator", "keys": [public_of("eva")]},
            "ada": {"role": "admin"},
        },  # nobody could change it
        {},
    ],
    ids=str,
)
def test_a_list_of_odd_content_is_refused(users: dict[str, Any]) -> None:
    desk = Watched()
    assert desk.take(replace(listing(), users=users)) == ["access-list-refused"]
    assert desk.engine.counters["access_lists"] == desk.engine.counters["access_lists_refused"] == 1


def test_a_root_key_closes_a_unit_before_its_first_list() -> None:
    desk = Watched(root_key=public_of("root"))
    assert desk.acknowledges() == ["action-refused"]
    assert desk.reason == "there is no access list yet"
    assert desk.take(listing()) == ["access-list-refused"]
    assert desk.take(listing(key="root")) == ["access-list"]
    assert desk.acknowledges() == ["alarm-acknowledged"]
    assert desk.take(listing(START + 1, key="root")) == ["access-list-refused"]


def test_a_list_may_come_before_the_first_tick_and_an_action_may_not() -> None:
    engine = Engine(program(LOW), site(), UNIT)
    kinds = [one.kind for one in engine.step([listing(), action("comment")]) if isinstance(one, Entry)]
    assert kinds == ["access-list", "action-refused"]


def test_a_restart_keeps_the_list_and_the_number_of_the_last_forgery() -> None:
    values: list[Input] = [
        listing(),
        action("comment", key="otto"),
        action("comment", key="vic"),
        tick(START + S),
    ]
    whole, expected = Watched(), list[Output]()
    for value in values:
        whole.take(value)
        expected += whole.outputs
    again, said = Watched(), list[Output]()
    for value in values:
        again.take(value)
        said += again.outputs
        state = again.engine.snapshot()
        again.engine = Engine(program(LOW), site(), UNIT)
        again.engine.restore(state)
        assert again.engine.snapshot() == state
    assert said == expected
    assert [one.id for one in said if isinstance(one, Entry) and one.kind == "action-refused"] == [
        f"{UNIT}:forged:{START}:1:0", f"{UNIT}:forged:{START}:2:0",
    ]  # fmt: skip
