"""The fault table of the plant's field knowledge, as far as the simulated plant can make it, and what came of it.

Rules: a fault is found by the first alarm of its unit after the injection that tells of it: silence tells of a stale
sensor, and nothing of a pump. Its time is that from the first sample that meets the rule's condition, so that it is the
rule's own: how long a pump takes to run down is the plant's. Where a condition is first met is said by the same rules
without delays (`without_delays`), run over the same inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateways.sim.effects import targets_of
from gateways.sim.layout import layout_of
from rules.engine.outputs import Alarm
from rules.engine.sources import CLOCK_DELAY_NS
from rules.language.program import SOURCE_CLOCK, Program, make_program
from rules.site.model import Site

Mode = Literal["live", "event time"]
Tells = Literal["signals", "silence", "clock"]
QUICK_S: Final = 120.0
"""What may take longer runs in event time: nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table. `detect_s`: its time; `patience_s`: how long after the injection an alarm is waited for.

    `point_type`: which point a fault of a sensor is aimed at; without it the kind's first one of the site.
    `told_by`: what the rules are about that can find it: what signals say, their silence, or a clock.
    """

    row: str
    fault: str
    detect_s: float
    patience_s: float
    point_type: str = ""
    told_by: Tells = "signals"

    @property
    def is_quick(self) -> bool:
        """Whether it is shown live."""
        return self.patience_s <= QUICK_S


CASES: Final = (
    Case("hydro feed trip", "feed_trip", 1, 30),
    Case("grid frequency", "frequency_dip", 2, 30),
    Case("pump trip", "pump_trip", 1, 30),
    Case("valve stuck", "valve_stuck", 15, 60),
    Case("chiller trip", "chiller_trip", 60, 90),
    Case("leak", "leak", 1, 30),
    Case("frozen sensor", "sensor_frozen", 60, 100, "RackLiquidFlow"),
    # nobody can know before its power has changed: at the next checkpoint of the row's job, in 15 minutes at most
    Case("frozen sensor", "sensor_frozen", 60, 1100, "RackLiquidReturnTemperature"),
    Case("sensor drift", "sensor_drift", 3600, 3660, "RackLiquidFlow"),
    Case("GPU runaway", "gpu_runaway", 2, 30),
    Case("XID storm", "xid_storm", 10, 30),
    Case("heat sink lost", "heat_sink_lost", 30, 60),
    Case("stale data", "stale", 3, 30, "RackLiquidFlow", "silence"),
    Case("clock skew", "clock_skew", 1, 30, told_by="clock"),
)
NOT_SIMULATED: Final = ("cavitation", "fouled exchanger", "synchronous oscillation", "condensation")


@dataclass(frozen=True, slots=True)
class Planned:
    """A case with its target of the site. `unit`: where its alarms come, None for anywhere."""

    case: Case
    target: str
    unit: str | None

    def fault(self, at_s: float) -> str:
        """In its short form."""
        target = f":{self.target}" if self.target else ""
        return f"{self.case.fault}{target}@{at_s:g}s"

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.case.fault}:{self.target}" if self.target else self.case.fault

    def raised(self, alarms: Iterable[Alarm], from_ns: int) -> list[Alarm]:
        """The alarms of its unit since `from_ns`, in the order in which they were raised."""
        mine = (a for a in alarms if a.raised_ns >= from_ns and self.unit in (None, a.unit))
        return sorted(mine, key=lambda alarm: (alarm.raised_ns, alarm.rule, alarm.asset))

    def first(self, alarms: Iterable[Alarm], from_ns: int, tells: Mapping[str, Tells]) -> Alarm | None:
        """The one that finds it. `tells`: what each rule can tell of."""
        mine = self.raised(alarms, from_ns)
        return next((alarm for alarm in mine if tells.get(alarm.rule) == self.case.told_by), None)


def plan(site: Site, cases: Iterable[Case]) -> list[list[Planned]]:
    """Runs in which every fault has a unit, and so its alarms, to itself. A case without a target is left out."""
    runs: list[list[Planned]] = []
    for case in cases:
        choices = _choices(site, case)
        for run in runs:
            free = [one for one in choices if _is_free(one.unit, run)]
            if free:
                run.append(free[0])
                break
        else:
            runs += [[one] for one in choices[:1]]
    return runs


def _is_free(unit: str | None, run: Sequence[Planned]) -> bool:
    taken = {planned.unit for planned in run}
    return unit is not None and None not in taken and unit not in taken


def _choices(site: Site, case: Case) -> list[Planned]:
    layout = layout_of(site)
    if case.fault == "frequency_dip":
        return [Planned(case, "", None)]
    found = []
    for target in targets_of(layout, case.fault):
        point = site.points.get(target)
        asset = point.asset if point else target
        if not case.point_type or (point is not None and point.point_type == case.point_type):
            found.append(Planned(case, target, site.assets[asset].unit if asset in site.assets else None))
    return found


def what_rules_tell(program: Program) -> dict[str, Tells]:
    """What each rule can tell of, by its id; the engine's `source-gap` tells of no fault of the plant."""
    tells: dict[str, Tells] = {SOURCE_CLOCK: "clock"}
    for rule in program.rules:
        tells[rule.id] = "signals" if rule.silent is None else "silence"
    return tells


def without_delays(program: Program) -> Program:
    """The rules that are true as soon and as long as their `when` is, and command nothing."""
    rules = {
        rule.id: dataclasses.replace(rule, until=None, on_delay_ns=0, off_delay_ns=0, targets={})
        for rule in program.rules
    }
    return make_program(rules, program.site_digest)


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave: its alarms as they were raised, those of the rules `without_delays`, and when, in event time.

    `on_log_ns`: when a live alarm stood on the log, by its id.
    """

    mode: Mode
    seed: int
    injected_ns: int
    alarms: Sequence[Alarm]
    met: Sequence[Alarm]
    on_log_ns: dict[str, int] = dataclasses.field(default_factory=dict)


def outcome(planned: Planned, run: Run, program: Program) -> dict[str, Any]:
    """One line of the answer. Times in s; `ok`: an alarm came, and in the table's time."""
    mine = planned.raised(run.alarms, run.injected_ns)
    first = planned.first(run.alarms, run.injected_ns, what_rules_tell(program))
    answer: dict[str, Any] = {
        "row": planned.case.row,
        "fault": planned.case.fault,
        "target": planned.target,
        "mode": run.mode,
        "seed": run.seed,
        "alarms": list(dict.fromkeys(alarm.rule for alarm in mine)),
        "first": None,
        "lag_s": None,
        "on_delay_s": None,
        "detected_s": None,
        "from_injection_s": None,
        "on_log_s": None,
        "table_s": planned.case.detect_s,
        "before": sorted({alarm.rule for alarm in run.alarms if alarm.raised_ns < run.injected_ns}),
        "ok": False,
    }
    if first is not None:
        delay_ns, met_ns = _met(first, run, program)
        detected_s = (first.raised_ns - met_ns) / 1e9
        on_log_ns = run.on_log_ns.get(first.id)
        answer |= {
            "first": f"{first.rule} {first.asset}",
            "lag_s": round(detected_s - delay_ns / 1e9, 3),
            "on_delay_s": delay_ns / 1e9,
            "detected_s": round(detected_s, 3),
            "from_injection_s": round((first.raised_ns - run.injected_ns) / 1e9, 3),
            "on_log_s": None if on_log_ns is None else round((on_log_ns - met_ns) / 1e9, 3),
            "ok": round(detected_s, 3) <= planned.case.detect_s,
        }
    return answer


def _met(alarm: Alarm, run: Run, program: Program) -> tuple[int, int]:
    """The delay of an alarm's rule, and when its condition was first met after the injection.

    Of a rule about silence these are its time, and the last sample that came.
    """
    rule = next((rule for rule in program.rules if rule.id == alarm.rule), None)
    if rule is None:
        delay_ns = CLOCK_DELAY_NS if alarm.rule == SOURCE_CLOCK else 0
        return delay_ns, alarm.raised_ns - delay_ns
    if rule.silent is not None:
        delay_ns = rule.timeouts_ns[alarm.asset]
        return delay_ns, alarm.raised_ns - delay_ns
    met = [one.raised_ns for one in run.met if (one.rule, one.asset) == (alarm.rule, alarm.asset)]
    # met before the injection, and ever since: it counts from there
    return rule.on_delay_ns, min((at for at in met if at >= run.injected_ns), default=run.injected_ns)
