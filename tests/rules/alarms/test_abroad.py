"""A cause in one unit explains alarms of another: told as a fact, and believed as long as it is told."""

from __future__ import annotations

import numpy as np

from rules.engine.engine import Engine
from rules.engine.inputs import Fact, Identity, Readings
from rules.engine.outputs import Alarm, Output
from tests.rules.engine.plant import MS, START, UNIT, S, flow, program, site, tick

HALL = "hall"
RULES = """
  feed-low:
    for: PowerMeter
    when: ActivePower < 10 kW
    severity: high
    message: "{asset}"
    suppresses: rack-low
  rack-low:
    for: Rack
    when: RackLiquidFlow < 70 L/min
    severity: low
    message: "{asset}"
"""


class Plant:
    """Two engines; what they tell each other arrives 100 ms later, unless the way is cut."""

    def __init__(self, rules: str = RULES) -> None:
        self.engines = {unit: Engine(program(rules), site(), unit) for unit in (UNIT, HALL)}
        self.now_ns, self.sequence, self.is_cut = START, 0, False
        self.last: dict[str, Alarm] = {}
        self.under_way: list[Fact] = []
        self.told: list[Fact] = []
        self.to(0)

    def hear(self, outputs: list[Output]) -> None:
        for one in outputs:
            if isinstance(one, Alarm):
                self.last[f"{one.rule}:{one.asset}"] = one
            elif isinstance(one, Fact):
                self.told.append(one)
                if not self.is_cut:
                    self.under_way.append(one)

    def to(self, at_s: float) -> None:
        until_ns = START + int(at_s * S)
        while True:
            for unit, engine in self.engines.items():
                self.hear(engine.step([tick(self.now_ns, unit)]))
            arrived, self.under_way = self.under_way, []
            for fact in arrived:
                self.hear(self.engines[fact.unit].step([fact]))
            if self.now_ns >= until_ns:
                return
            self.now_ns += 100 * MS

    def rack(self, litres: float) -> None:
        self.sequence += 1
        self.hear(self.engines[UNIT].step([flow(self.sequence, self.now_ns + MS, litres)]))

    def feed(self, kilowatts: float) -> None:
        self.sequence += 1
        one = np.array([self.now_ns + MS])
        readings = Readings(
            HALL, Identity("plant", 1, self.sequence), self.now_ns + 5 * MS, ("H.ActivePower",), one,
            np.zeros(1, np.int64), np.array([kilowatts]), np.zeros(1, np.uint8), np.zeros(1, np.uint32),
        )  # fmt: skip
        self.hear(self.engines[HALL].step([readings]))

    @property
    def state(self) -> tuple[str, str]:
        alarm = self.last["rack-low:R1"]
        return alarm.state, alarm.suppressed_by


def both_down() -> Plant:
    """The consequence is seen first, by half a second."""
    plant = Plant()
    plant.rack(60)
    plant.to(0.5)
    plant.feed(1)
    plant.to(1)
    return plant


def test_the_consequence_waits_and_is_explained() -> None:
    plant = both_down()
    assert plant.state == ("suppressed", "hall:feed-low:H")
    plant.to(20)
    assert plant.state == ("suppressed", "hall:feed-low:H")


def test_what_is_still_true_rises_when_the_cause_is_over() -> None:
    plant = both_down()
    plant.feed(500)
    plant.to(1.4)
    assert plant.state == ("unacknowledged", "")


def test_it_is_told_once_in_each_period() -> None:
    plant = both_down()
    plant.to(5.05)
    times = [(fact.time_ns - START) / S for fact in plant.told]
    assert times == [0.501, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_who_is_told_no_more_believes_no_more() -> None:
    plant = both_down()
    plant.is_cut = True
    plant.to(3.9)
    assert plant.state == ("suppressed", "hall:feed-low:H")
    plant.to(4.1)
    assert plant.state == ("unacknowledged", "")
    assert plant.last["rack-low:R1"].at_ns == START + 4 * S, "the last word was of second 1"


def test_what_is_believed_outlives_a_restart() -> None:
    plant = both_down()
    for unit, engine in plant.engines.items():
        again = Engine(program(RULES), site(), unit)
        again.restore(engine.snapshot())
        plant.engines[unit] = again
    plant.to(10)
    assert plant.state == ("suppressed", "hall:feed-low:H")
    plant.feed(500)
    plant.to(10.3)
    assert plant.state == ("unacknowledged", "")


def test_a_cause_of_other_rules_is_not_believed() -> None:
    plant = Plant()
    plant.engines[HALL] = Engine(program(RULES), site(), HALL, "others")
    plant.to(0)
    plant.feed(1)
    plant.to(0.5)
    plant.rack(60)
    plant.to(2)
    assert plant.state == ("unacknowledged", "")


def test_an_alarm_that_needs_facts_is_not_told() -> None:
    """What a unit tells hangs on nothing that it is told."""
    plant = Plant(RULES.replace("when: ActivePower < 10 kW", "when: sum(Rack.RackPower) < 10 kW"))
    plant.rack(60)
    plant.to(3)
    assert not [fact for fact in plant.told if fact.name.startswith("alarm:")]
