"""Above a set rate lesser alarms fold into a summary of their group; what stands is heard when it fits again."""

from __future__ import annotations

from dataclasses import replace

from rules.alarms.flood import Flood
from rules.engine.engine import Engine
from rules.engine.outputs import Alarm, Command, Entry, Output
from tests.rules.engine.plant import MS, START, UNIT, S, frame, program, site, tick

MIN = 60 * S
HOT = """
  gpu-hot:
    for: GPU
    when: temperature > 80 degC
    severity: low
    message: "{asset}"
    group: heat
    then:
      - command: set power_limit to 500 W
  gpu-burning:
    for: GPU
    when: temperature > 95 degC
    severity: urgent
    message: "{asset}"
"""


class Row:
    """Eight GPUs in two racks; three alarms in ten minutes are heard."""

    def __init__(self, limit: int = 3) -> None:
        self.engine = Engine(program(HOT), replace(site(), flood_limit=limit), UNIT)
        self.sequence, self.now_ns = 0, START
        self.last: dict[str, Alarm] = {}
        self.said: list[Output] = []
        self.to(0)

    def take(self, *inputs: object) -> None:
        outputs = self.engine.step(inputs)  # type: ignore[arg-type]
        self.said += outputs
        self.last |= {f"{one.rule}:{one.asset}": one for one in outputs if isinstance(one, Alarm)}

    def to(self, at_s: float) -> None:
        while self.now_ns < START + int(at_s * S):
            self.now_ns = min(self.now_ns + MIN, START + int(at_s * S))
            self.take(tick(self.now_ns))
        self.take(tick(self.now_ns))

    def heats(self, degrees: float, rack: str = "R1", gpus: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        self.sequence += 1
        self.take(frame(self.sequence, self.now_ns + MS, degrees, rack, gpus))
        self.to((self.now_ns - START) / S + 0.1)

    def states(self, rule: str = "gpu-hot") -> list[str]:
        return [one.state for name, one in sorted(self.last.items()) if name.startswith(f"{rule}:")]


def test_behind_the_limit_they_fold_and_one_alarm_says_so() -> None:
    row = Row()
    row.heats(85)
    assert row.states() == ["unacknowledged"] * 3 + ["suppressed"]
    assert row.last["gpu-hot:R1-T2-G2"].suppressed_by == "row:alarm-flood:heat"
    flood = row.last["alarm-flood:heat"]
    assert (flood.state, flood.severity, flood.message) == (
        "unacknowledged",
        "medium",
        "heat: 1 alarm is folded in a flood, 1 since it began",
    )
    assert sum(isinstance(one, Command) for one in row.said) == 4, "what is folded acts all the same"
    raised = [one for one in row.said if isinstance(one, Entry) and one.kind == "alarm-raised"]
    assert len(raised) == 5, "and stands in the journal"


def test_urgent_ones_pass_and_count() -> None:
    row = Row()
    row.heats(99, gpus=(0, 1, 2))
    assert row.states("gpu-burning") == ["unacknowledged"] * 3
    row.heats(99, "R2", gpus=(0,))
    assert row.states("gpu-burning") == ["unacknowledged"] * 4
    assert row.last["gpu-hot:R2-T1-G1"].state == "suppressed"


def test_how_many_are_folded_is_said_again() -> None:
    row = Row()
    row.heats(85)
    row.heats(85, "R2")
    row.to(10)
    assert row.last["alarm-flood:heat"].message == "heat: 5 alarms are folded in a flood, 5 since it began"


def test_what_stands_is_heard_when_the_flood_is_over_and_it_fits() -> None:
    row = Row()
    row.heats(85)
    row.heats(85, "R2")
    row.to(660)
    assert row.states().count("suppressed") == 5, "the flood is over, but five are more than three"
    row.heats(50, "R2", gpus=(0, 1, 2))
    row.to(680)
    assert row.last["alarm-flood:heat"].state == "returned-unacknowledged"
    assert row.states().count("suppressed") == 0
    assert row.states().count("unacknowledged") == 5


def test_what_is_over_while_it_is_folded_was_never_heard() -> None:
    row = Row()
    row.heats(85)
    row.heats(50)
    assert row.last["gpu-hot:R1-T2-G2"].state == "normal"


def test_without_a_limit_nothing_folds() -> None:
    row = Row(limit=0)
    row.heats(85)
    row.heats(85, "R2")
    assert row.states() == ["unacknowledged"] * 8


def test_a_restart_in_a_flood_changes_nothing() -> None:
    row, again = Row(), Row()
    for one in (row, again):
        one.heats(85)
        one.heats(85, "R2")
    image = again.engine.snapshot()
    again.engine = Engine(program(HOT), replace(site(), flood_limit=3), UNIT)
    again.engine.restore(image)
    for one in (row, again):
        one.heats(50, "R2", gpus=(0, 1, 2))
        one.to(700)
    assert row.said == again.said


def test_a_flood_ends_at_half_its_rate() -> None:
    flood = Flood(4)
    for second in range(5):
        assert flood.folds("low", second * S) == (second == 4)
        flood.count(second * S, second < 4)
    flood.pass_edge(590 * S)
    assert flood.is_on, "five arrived in the last ten minutes"
    flood.count(595 * S, False)
    flood.pass_edge(600 * S)
    assert not flood.is_on
    assert flood.folds("medium", 600 * S) is False


def test_rules_without_a_group_fold_together() -> None:
    row = Row()
    row.engine = Engine(program(HOT.replace("    group: heat\n", "")), replace(site(), flood_limit=3), UNIT)
    row.to(0)
    row.heats(85)
    assert row.last["gpu-hot:R1-T2-G2"].suppressed_by == "row:alarm-flood:row"
