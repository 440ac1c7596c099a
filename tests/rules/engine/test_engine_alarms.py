"""What people do about alarms: acknowledge, reset, shelve, out of service; and what is refused, with the reason."""

from __future__ import annotations

from typing import Any

from rules.alarms.annunciation import is_annunciated
from rules.engine.engine import Engine
from rules.engine.inputs import Action, Identity
from rules.engine.outputs import Alarm, Entry, Output
from tests.rules.engine.plant import START, UNIT, S, flow, program, site, tick

LOW = """
  low:
    for: Rack
    when: RackLiquidFlow < 70 L/min
    severity: high
    message: "{asset}: {value:.0f} L/min"
"""
LATCHED = LOW.replace("severity: high", "severity: high\n    latch: true")
HOUR = 3600 * S


class Desk:
    """An engine, and an operator who sees what it says."""

    def __init__(self, rules: str = LOW) -> None:
        self.engine = Engine(program(rules), site(), UNIT)
        self.now_ns, self.flows, self.actions = START, 0, 0
        self.last: Alarm | None = None
        self.outputs: list[Output] = []
        self.to(0)

    def _step(self, *inputs: Any) -> list[str]:
        """The state after each transition."""
        self.outputs = self.engine.step(inputs)
        alarms = [one for one in self.outputs if isinstance(one, Alarm)]
        self.last = alarms[-1] if alarms else self.last
        return [one.state for one in alarms]

    def to(self, at_s: float) -> list[str]:
        self.now_ns = START + int(at_s * S)
        return self._step(tick(self.now_ns))

    def flow(self, litres: float) -> list[str]:
        self.flows += 1
        return self._step(flow(self.flows, self.now_ns, litres))

    def does(self, action: Any, **more: Any) -> list[str]:
        self.actions += 1
        given = {"occurrence": self.last.raised_id if self.last else "", "comment": "why", **more}
        identity = Identity("action:eva", 1, self.actions)
        rule, asset = given.pop("rule", "low"), given.pop("asset", "R1")
        by, at_ns = given.pop("by", "eva"), given.pop("at_ns", self.now_ns)
        return self._step(Action(UNIT, identity, action, rule, asset, by, at_ns, **given))

    def shelves(self, for_s: float = 60, **more: Any) -> list[str]:
        return self.does("shelve", until_ns=self.now_ns + int(for_s * S), **more)

    @property
    def refusal(self) -> str:
        [entry] = [one for one in self.outputs if isinstance(one, Entry)]
        assert entry.kind == "action-refused"
        return str(entry.detail["reason"])

    @property
    def kinds(self) -> list[str]:
        return [one.kind for one in self.outputs if isinstance(one, Entry)]


def test_acknowledged_and_then_over() -> None:
    desk = Desk()
    assert desk.flow(60) == ["unacknowledged"]
    desk.to(1)
    assert desk.does("acknowledge", comment="seen") == ["acknowledged"]
    assert desk.last is not None
    assert (desk.last.acknowledged_ns, desk.last.by, desk.last.comment) == (START + S, "eva", "seen")
    assert desk.last.id == f"{UNIT}:action:eva:1:1:0"
    assert desk.kinds == ["alarm-acknowledged"]
    assert desk.flow(100) == ["normal"]
    assert desk.engine.counters["actions_refused"] == 0


def test_what_returns_unacknowledged_stands_until_somebody_has_seen_it() -> None:
    desk = Desk()
    desk.flow(60)
    desk.to(1)
    assert desk.flow(100) == ["returned-unacknowledged"]
    assert desk.does("acknowledge") == ["normal"]
    assert desk.does("acknowledge") == []
    assert desk.refusal == "nothing of it stands"


def test_an_acknowledgement_of_an_occurrence_that_is_over_is_refused() -> None:
    desk = Desk()
    desk.flow(60)
    assert desk.last is not None
    seen = desk.last.raised_id
    desk.to(1)
    desk.flow(100)
    desk.to(2)
    assert desk.flow(60) == ["unacknowledged"]
    assert desk.last.raised_id != seen
    assert desk.does("acknowledge", occurrence=seen) == []
    assert desk.refusal == f"it went off again: the last occurrence is {desk.last.raised_id}"
    assert desk.engine.counters["actions_refused"] == 1


def test_a_latched_alarm_needs_both_and_acknowledge_is_not_reset() -> None:
    desk = Desk(LATCHED)
    desk.flow(60)
    assert desk.does("reset") == []
    assert desk.refusal == "its condition still holds"
    desk.to(1)
    assert desk.flow(100) == ["latched-unacknowledged"]
    assert desk.does("reset") == []
    assert desk.refusal == "it is not acknowledged yet"
    assert desk.does("acknowledge") == ["latched-acknowledged"]
    assert desk.does("reset") == ["normal"]
    assert desk.kinds == ["alarm-reset"]


def test_a_latched_alarm_that_goes_off_again_is_new() -> None:
    desk = Desk(LATCHED)
    desk.flow(60)
    desk.to(1)
    desk.flow(100)
    desk.does("acknowledge")
    desk.to(2)
    assert desk.flow(50) == ["unacknowledged"]


def test_a_shelved_alarm_rises_when_its_time_is_up() -> None:
    desk = Desk()
    desk.flow(60)
    assert desk.shelves(10) == ["shelved"]
    assert desk.last is not None
    assert desk.last.shelved_until_ns == START + 10 * S
    assert desk.does("acknowledge") == []
    assert desk.refusal == "it is not heard now"
    assert desk.to(9.9) == []
    assert desk.to(12) == ["unacknowledged"]
    assert desk.last.id == f"{UNIT}:low@shelved:R1:{START + 10 * S}:0"
    assert desk.kinds == ["alarm-unshelved"]
    assert desk.last.shelved_until_ns is None


def test_what_came_and_went_while_nobody_heard_it_needs_no_acknowledgement() -> None:
    desk = Desk()
    assert desk.shelves(60) == ["shelved"]
    assert desk.last is not None
    assert desk.last.raised_id == ""
    assert desk.flow(60) == ["shelved"]
    desk.to(1)
    assert desk.flow(100) == ["shelved"]
    assert desk.kinds == ["alarm-cleared"]
    assert desk.does("unshelve") == ["normal"]


def test_shelved_for_this_once() -> None:
    desk = Desk()
    desk.flow(60)
    desk.shelves(60, one_shot=True)
    desk.to(1)
    assert desk.flow(100) == ["shelved", "normal"]
    assert desk.kinds == ["alarm-cleared", "alarm-unshelved"]
    desk.to(2)
    assert desk.flow(60) == ["unacknowledged"]


def test_out_of_service_is_stronger_than_shelved_and_both_must_end() -> None:
    desk = Desk()
    desk.flow(60)
    desk.shelves(60)
    until_ns = desk.now_ns + 24 * HOUR
    assert desk.does("remove-from-service", until_ns=until_ns) == ["out-of-service"]
    assert desk.last is not None
    assert (desk.last.out_of_service_until_ns, desk.last.shelved_until_ns) == (until_ns, START + 60 * S)
    assert desk.to(61) == ["out-of-service"]
    assert desk.does("return-to-service") == ["unacknowledged"]


def test_what_a_silence_needs() -> None:
    desk = Desk()
    desk.flow(60)
    assert (desk.shelves(60, comment=""), desk.refusal) == ([], "nobody says why")
    assert (desk.shelves(60, comment=" \n"), desk.refusal) == ([], "nobody says why")
    assert (desk.shelves(60, by=""), desk.refusal) == ([], "nobody says who wants it")
    assert (desk.shelves(-1), desk.refusal) == ([], "it would be over already")
    assert (desk.shelves(8 * 3600 + 1), desk.refusal) == ([], "the site allows 8 h at most")
    assert (desk.does("unshelve"), desk.refusal) == ([], "it is not shelved")
    assert (desk.does("return-to-service"), desk.refusal) == ([], "it is not out-of-service")
    assert (desk.shelves(60, rule="other"), desk.refusal) == ([], "there is no such alarm")
    assert (desk.shelves(60, asset="CDU"), desk.refusal) == ([], "there is no such alarm")
    assert desk.engine.counters["actions"] == desk.engine.counters["actions_refused"] == 9


def test_a_comment_changes_no_state() -> None:
    desk = Desk()
    desk.flow(60)
    assert desk.does("comment", comment="a fitter is on the way") == ["unacknowledged"]
    assert desk.last is not None
    assert desk.last.comment == "a fitter is on the way"
    assert desk.kinds == ["alarm-commented"]


def test_deadlines_before_an_action_come_before_it() -> None:
    desk = Desk(LOW.replace("severity", "on_delay: 1 s\n    severity"))
    desk.flow(60)
    assert desk.shelves(60, at_ns=START + S // 2) == ["shelved"]
    desk = Desk(LOW.replace("severity", "on_delay: 1 s\n    severity"))
    desk.flow(60)
    desk.to(0.9)
    assert desk.shelves(60, at_ns=START + S + S // 2) == ["unacknowledged", "shelved"]


def test_a_sample_behind_the_end_of_a_silence_finds_it_ended() -> None:
    desk = Desk()
    desk.shelves(0.5)
    desk.now_ns = START + int(0.6 * S)  # no tick since
    assert desk.flow(60) == ["normal", "unacknowledged"]


def test_what_stands_survives_a_restart() -> None:
    desk = Desk(LATCHED)
    desk.flow(60)
    desk.shelves(60)
    other = Engine(program(LATCHED), site(), UNIT)
    other.restore(desk.engine.snapshot())
    assert other.snapshot() == desk.engine.snapshot()
    desk.engine = other
    assert desk.to(61) == ["unacknowledged"]


def test_alarms_of_a_rule_that_goes_are_closed_shelved_or_not() -> None:
    desk = Desk()
    desk.flow(60)
    desk.to(1)
    desk.flow(100)
    other = Engine(program(LOW.replace("70", "69")), site(), UNIT)
    other.restore(desk.engine.snapshot())
    desk.engine = other
    assert desk.to(2) == ["normal"]
    assert desk.kinds == ["alarm-closed"]


def test_confirmed_once_it_is_acknowledged() -> None:
    desk = Desk(LATCHED)
    desk.does("confirm")
    assert desk.refusal == "nothing of it stands"
    desk.flow(60)
    desk.does("confirm")
    assert desk.refusal == "it is not acknowledged yet"
    desk.does("acknowledge")
    desk.to(1)
    assert desk.does("confirm") == ["acknowledged"]
    assert desk.kinds == ["alarm-confirmed"]
    assert desk.last is not None
    assert desk.last.confirmed_ns == START + S
    desk.does("confirm")
    assert desk.refusal == "it is confirmed already"


def test_another_occurrence_is_neither_acknowledged_nor_confirmed() -> None:
    desk = Desk(LATCHED)
    desk.flow(60)
    desk.does("acknowledge")
    desk.does("confirm")
    desk.to(1)
    desk.flow(100)
    desk.to(2)
    desk.flow(60)
    assert desk.last is not None
    assert (desk.last.acknowledged_ns, desk.last.confirmed_ns) == (None, None)


AGAIN = LOW.replace("severity: high", "severity: high\n    re_alarm: 10 s")


def test_what_was_acknowledged_and_still_holds_is_heard_again() -> None:
    desk = Desk(AGAIN)
    desk.flow(60)
    raised = desk.last
    assert raised is not None
    desk.to(1)
    desk.does("acknowledge")
    assert desk.to(10.9) == []
    acknowledged = desk.last
    assert desk.to(11) == ["unacknowledged"]
    assert desk.kinds == ["alarm-re-alarmed"]
    assert desk.last is not None
    assert (desk.last.at_ns, desk.last.raised_id) == (START + 11 * S, raised.raised_id)
    assert desk.last.acknowledged_ns is None
    assert is_annunciated(acknowledged, desk.last)
    assert desk.to(30) == [], "it is not acknowledged: others see to that (docs/subscriptions.md)"
    desk.does("acknowledge")
    assert desk.to(40) == ["unacknowledged"]


def test_what_was_over_is_not_heard_again() -> None:
    desk = Desk(AGAIN)
    desk.flow(60)
    desk.does("acknowledge")
    desk.to(1)
    assert desk.flow(100) == ["normal"]
    assert desk.to(60) == []


def test_a_silence_begins_before_it_is_heard_again() -> None:
    desk = Desk(AGAIN)
    desk.flow(60)
    desk.does("acknowledge")
    desk.shelves(60)
    assert desk.to(30) == []
    assert desk.to(61) == ["unacknowledged"]
    assert desk.kinds == ["alarm-unshelved"]
