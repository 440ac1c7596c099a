"""A cause suppresses its consequences along the plant's relations; what is true when it is over rises at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine.engine import Engine
from rules.engine.inputs import Action, Identity, Input, Tick
from rules.engine.outputs import Alarm, Command, Entry, Output
from rules.quality import Quality
from streams.wire import encode_output
from tests.rules.engine.plant import MS, START, UNIT, S, flow, program, site, tick
from tests.support.examples import examples

CHAIN = """
  pump-slow:
    for: Pump
    when: PumpSpeed < 50 percent
    severity: high
    message: "{asset}"
    suppresses: cdu-low
  cdu-low:
    for: CDU
    when: LiquidFlow < 100 L/min
    severity: high
    message: "{asset}"
    suppresses: [rack-low, rack-*]
  rack-low:
    for: Rack
    when: RackLiquidFlow < 70 L/min
    severity: low
    message: "{asset}"
    then:
      - command: limit each GPU.power_limit to 500 W
  rack-lost:
    for: Rack
    when: RackLiquidFlow < 10 L/min
    severity: urgent
    message: "{asset}"
  valve-shut:
    for: Valve
    when: ValvePosition < 5 percent
    severity: low
    message: "{asset}"
"""
POINTS = {
    "P1": ("CDU-P1.PumpSpeed", 40, 80),
    "CDU": ("CDU.LiquidFlow", 50, 500),
    "R1": ("R1.RackLiquidFlow", 60, 100),
    "R2": ("R2.RackLiquidFlow", 5, 100),
}


class Row:
    """An engine and the last word on each alarm."""

    def __init__(self, rules: str = CHAIN) -> None:
        self.engine = Engine(program(rules), site(), UNIT)
        self.sequence, self.now_ns = 0, START
        self.last: dict[str, Alarm] = {}
        self.log: list[Input] = []
        self.said: list[Output] = []
        self.take(tick(START))

    def take(self, value: Input) -> list[Output]:
        self.log.append(value)
        outputs = self.engine.step([value])
        self.said += outputs
        for one in outputs:
            if isinstance(one, Alarm):
                self.last[f"{one.rule}:{one.asset}"] = one
        return outputs

    def to(self, at_s: float) -> None:
        self.now_ns = START + int(at_s * S)
        self.take(tick(self.now_ns))

    def reads(self, name: str, is_low: bool, at_ns: int | None = None) -> list[Output]:
        self.sequence += 1
        point, low, good = POINTS[name]
        at_ns = self.now_ns if at_ns is None else at_ns
        return self.take(flow(self.sequence, at_ns, low if is_low else good, point=point))

    def state(self, name: str) -> str:
        return self.last[name].state if name in self.last else "normal"

    def acts(self, action: Any, name: str, **more: Any) -> None:
        rule, asset = name.split(":")
        identity = Identity("action:eva", self.now_ns, 1)
        more = {"comment": "why", **more}
        self.take(Action(UNIT, identity, action, rule, asset, "eva", self.now_ns, **more))

    def heard(self) -> list[str]:
        """The alarms that were ever annunciated."""
        heard = {
            f"{one.rule}:{one.asset}"
            for one in self.said
            if isinstance(one, Alarm) and one.state == "unacknowledged"
        }
        return sorted(heard)


def test_what_a_cause_explains_is_not_heard_and_its_command_is_given() -> None:
    row = Row()
    row.reads("CDU", True)
    outputs = row.reads("R1", True)
    assert row.state("rack-low:R1") == "suppressed"
    assert row.last["rack-low:R1"].suppressed_by == "row:cdu-low:CDU"
    assert [one.kind for one in outputs if isinstance(one, Entry)] == ["alarm-raised"]
    assert sum(isinstance(one, Command) for one in outputs) == 4
    row.to(2)
    assert row.heard() == ["cdu-low:CDU"]


def test_when_the_cause_is_over_what_is_true_rises_at_once_and_the_rest_does_not() -> None:
    row = Row()
    row.reads("CDU", True)
    row.reads("R1", True)
    row.reads("R2", True)
    row.to(1)
    row.reads("R2", False)
    assert row.state("rack-low:R2") == "normal", "nobody heard it, so nobody need acknowledge it"
    row.to(2)
    outputs = row.reads("CDU", False)
    assert row.state("cdu-low:CDU") == "returned-unacknowledged"
    assert row.state("rack-low:R1") == "unacknowledged"
    kinds = [(one.kind, one.detail["asset"]) for one in outputs if isinstance(one, Entry)]
    assert kinds == [("alarm-cleared", "CDU"), ("alarm-unsuppressed", "R1")]


def test_a_consequence_waits_for_its_cause_a_moment() -> None:
    row = Row()
    row.reads("R1", True)
    assert (row.state("rack-low:R1"), row.last["rack-low:R1"].suppressed_by) == ("suppressed", "")
    row.to(0.9)
    row.reads("CDU", True)
    assert row.last["rack-low:R1"].suppressed_by == "row:cdu-low:CDU"
    row.to(5)
    assert row.state("rack-low:R1") == "suppressed"


def test_without_a_cause_it_is_heard_when_the_moment_is_over() -> None:
    row = Row()
    row.reads("R1", True)
    row.to(5)
    assert row.state("rack-low:R1") == "unacknowledged"
    assert row.last["rack-low:R1"].at_ns == START + S
    assert row.last["rack-low:R1"].id == f"row:rack-low@suppressed:R1:{START + S}:0"


def test_what_has_a_silent_cause_is_heard_until_the_cause_is_known() -> None:
    """The pump's gateway is away when it trips; racks are read by another: nothing hides longer than the moment."""
    row = Row()
    row.reads("CDU", False)
    row.to(5)
    row.reads("R1", True)
    row.to(7)
    assert row.state("rack-low:R1") == "unacknowledged"
    row.to(9)
    row.reads("CDU", True)
    assert row.last["rack-low:R1"].suppressed_by == "row:cdu-low:CDU"


def test_a_cause_that_nobody_knows_of_any_more_goes_on_explaining() -> None:
    """One bad sample among good ones would else let all that it explains be heard."""
    row = Row()
    row.reads("CDU", True)
    row.reads("R1", True)
    row.to(1)
    row.take(flow(3, row.now_ns, 50, point="CDU.LiquidFlow", quality=Quality.BAD))
    row.sequence = 3
    row.to(5)
    assert row.last["cdu-low:CDU"].unknown_ns is not None
    row.reads("R2", True)
    row.to(9)
    assert row.state("rack-low:R1") == row.state("rack-lost:R2") == "suppressed"


def test_the_urgent_never_wait_but_have_causes() -> None:
    row = Row()
    row.reads("R2", True)
    assert row.state("rack-lost:R2") == "unacknowledged"
    row.reads("CDU", True)
    assert row.state("rack-lost:R2") == "suppressed"


def test_only_what_is_related_is_explained() -> None:
    row = Row(CHAIN.replace("[rack-low, rack-*]", "[rack-low, valve-shut]"))
    row.reads("CDU", True)
    row.take(flow(1, row.now_ns, 0, point="V1.ValvePosition", source="other"))
    row.to(2)
    assert row.state("valve-shut:V1") == "unacknowledged", "the CDU does not feed it"


def test_causes_have_causes() -> None:
    row = Row()
    row.reads("P1", True)
    row.reads("CDU", True)
    row.reads("R1", True)
    row.reads("R2", True)
    row.to(3)
    assert row.heard() == ["pump-slow:CDU-P1"]
    row.reads("P1", False)
    assert row.state("cdu-low:CDU") == "unacknowledged"
    assert row.state("rack-low:R1") == "suppressed"


def test_a_cause_out_of_service_explains_nothing() -> None:
    row = Row()
    row.reads("CDU", True)
    row.reads("R1", True)
    row.to(1)
    row.acts("remove-from-service", "cdu-low:CDU", until_ns=row.now_ns + 60 * S)
    assert row.state("rack-low:R1") == "unacknowledged"
    row.to(2)
    row.acts("return-to-service", "cdu-low:CDU")
    assert row.state("rack-low:R1") == "suppressed"


def test_another_cause_takes_over() -> None:
    row = Row(
        CHAIN.replace("suppresses: cdu-low", "suppresses: [cdu-low]")
        + """
  cdu-tiny:
    for: CDU
    when: LiquidFlow < 60 L/min
    severity: high
    message: "{asset}"
    suppresses: rack-low
"""
    )
    row.reads("CDU", True)
    row.reads("R1", True)
    assert row.last["rack-low:R1"].suppressed_by == "row:cdu-low:CDU"
    row.acts("remove-from-service", "cdu-low:CDU", until_ns=row.now_ns + 60 * S)
    assert row.last["rack-low:R1"].suppressed_by == "row:cdu-tiny:CDU"
    assert row.state("rack-low:R1") == "suppressed"


def test_rules_without_the_cause_let_go_of_what_it_explained() -> None:
    row = Row()
    row.reads("CDU", True)
    row.reads("R1", True)
    other = Engine(program(CHAIN.replace("    suppresses: [rack-low, rack-*]\n", "")), site(), UNIT)
    other.restore(row.engine.snapshot())
    row.engine = other
    row.to(1)
    assert row.state("rack-low:R1") == "unacknowledged"


steps = st.lists(
    st.tuples(
        st.sampled_from([*POINTS]), st.booleans(), st.sampled_from([0, 100, 400, 900, 3000]), st.booleans()
    ),
    max_size=25,
)


@given(steps)
@settings(max_examples=examples(100), deadline=None)
def test_at_any_moment_what_is_true_is_heard_or_has_a_cause_that_is(
    given_steps: Sequence[tuple[str, bool, int, bool]],
) -> None:
    row = Row()
    truth = dict.fromkeys(POINTS, False)
    at_ns = START
    for name, is_low, later_ms, ticks in given_steps:
        at_ns += later_ms * MS + MS
        if ticks or at_ns > row.now_ns + 900 * MS:
            row.now_ns = at_ns - at_ns % (100 * MS)
            row.take(tick(row.now_ns))
        row.reads(name, is_low, at_ns)
        truth[name] = is_low
    row.now_ns = at_ns + 5 * S
    row.take(tick(row.now_ns))
    row.take(tick(row.now_ns + 100 * MS))
    racks = {"rack-low:R1": truth["R1"], "rack-low:R2": truth["R2"], "rack-lost:R2": truth["R2"]}
    for name, is_true in racks.items():
        assert (row.state(name) in ("unacknowledged", "suppressed")) == is_true
        assert (row.state(name) == "suppressed") == (is_true and truth["CDU"])
    assert (row.state("cdu-low:CDU") == "suppressed") == (truth["CDU"] and truth["P1"])
    assert row.state("pump-slow:CDU-P1") in (
        ("unacknowledged",) if truth["P1"] else ("normal", "returned-unacknowledged")
    )
    again = Engine(program(CHAIN), site(), UNIT)
    outputs: list[Output] = []
    for value in row.log:  # with a restart before each input
        fresh = Engine(program(CHAIN), site(), UNIT)
        fresh.restore(again.snapshot())
        again = fresh
        outputs += again.step([value])
    assert [encode_output(one, 1) for one in outputs] == [encode_output(one, 1) for one in row.said]
    dense: list[Input] = []
    last_ns = START
    for value in row.log:
        if isinstance(value, Tick):
            dense += [tick(at) for at in range(last_ns + 100 * MS, value.time_ns, 100 * MS)]
            last_ns = value.time_ns
        dense.append(value)
    by_ticks = Engine(program(CHAIN), site(), UNIT).step(dense)
    by_id = {one.id: encode_output(one, 1) for one in by_ticks}
    assert by_id == {one.id: encode_output(one, 1) for one in row.said}


def test_what_explains_another_is_decided_in_the_order_of_event_time() -> None:
    """Two ways to the same second: the cause is due before its consequence, whose sample comes first without a tick."""

    def said(extra_tick: bool) -> list[Output]:
        row = Row(CHAIN.replace("for: CDU\n", "for: CDU\n    on_delay: 100 ms\n"))
        row.reads("CDU", True, START + 10 * MS)
        if extra_tick:
            row.to(0.12)
        row.reads("R1", True, START + 150 * MS)
        row.to(0.5)
        return [one for one in row.said if isinstance(one, Alarm | Command)]

    outputs = said(extra_tick=False)
    why = [(one.rule, one.suppressed_by) for one in outputs if isinstance(one, Alarm)]
    assert why == [("cdu-low", ""), ("rack-low", "row:cdu-low:CDU")]
    assert sorted(map(repr, outputs)) == sorted(map(repr, said(extra_tick=True)))


def test_its_command_does_not_wait_for_the_tick() -> None:
    row = Row()
    row.to(1)
    outputs = row.reads("R1", True, START + 1010 * MS)
    assert outputs
    assert all(isinstance(one, Command) for one in outputs)
    row.to(1.1)
    assert row.last["rack-low:R1"].raised_id == f"row:rack-low:R1:{START + 1010 * MS}:0"
