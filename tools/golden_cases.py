"""What the golden set records (docs/golden.md): every fault of the simulated plant, and what no fault brings about.

Rules: the site is the example's with one tray of two GPUs in each rack, so that a recording is small; the rules are the
example's. Nothing is said to the plant but the fault: what happens is the same whenever it is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateways.bench.event_time_run import Step
from gateways.sim.event_time import START_NS, EventTimePlant
from gateways.sim.faults import parse_faults
from rules.engine.inputs import Frame, Gap, Identity, Input, Readings, Receipt
from rules.quality import BAD_NO_COMMUNICATION, Quality
from rules.site.model import Site
from streams.rule_sets.rule_set import RuleSet, activation, rule_set_of
from streams.site_folder import SITE_FILE, load_site
from tools.golden_waves import waves

ROOT: Final = Path(__file__).parents[1]
EXAMPLE: Final = ROOT / "examples" / "narvik"
FUNCTIONS: Final = ROOT / "tests" / "golden" / "functions"
S: Final = 1_000_000_000
_SMALLER: Final = (
    ("tick: 100 ms", "tick: 500 ms"),
    ("      - R01-T[02..18]\n", ""),
    ("      -T[01..18]: tray", "      -T01: tray"),
    ("      -G[1..4]: gpu", "      -G[1..2]: gpu"),
    # what the GPUs of the other trays drew is drawn all the same, or the rack's coolant would be far too much
    ("other_power: 20 kW ", "other_power: 120 kW "),
)
_OTHER: Final = (
    ("rules/plant.yaml", "RackLiquidFlow < 0.7 * design_flow", "RackLiquidFlow < 0.6 * design_flow"),
    ("rules/plant.yaml", "  cdu-stopped:", "  cdu-stands-still:"),
)
_FOREIGN: Final = ((SITE_FILE, "name: narvik", "name: another"),)

Disorder = Callable[[Iterable[Step], Site, Sequence[RuleSet]], Iterator[Step]]


@dataclass(frozen=True, slots=True)
class Case:
    """One recording. `faults`: as for `--fault`; `found_by`: the rule whose alarm finds the first of them.

    `gpu_s`, `plc_s`: how often GPUs and plant points are read; more rarely where a fault is slow.
    """

    name: str
    faults: str
    seconds: int
    found_by: str
    gpu_s: float = 1.0
    plc_s: int = 1
    disorder: Disorder | None = None
    site_dir: Path = EXAMPLE

    def rule_set(self) -> RuleSet:
        """Site and rules of the recording. Raises ValueError where the example has changed its words."""
        files = dict(rule_set_of(self.site_dir, load_site(self.site_dir)).files)
        if self.site_dir != EXAMPLE:
            return RuleSet(files)
        periods = (
            ("period: 100 ms", f"period: {self.gpu_s * 1000:g} ms"),
            ("period: 1 s", f"period: {self.plc_s} s"),
        )
        return RuleSet(_changed(files, [(SITE_FILE, *change) for change in (*_SMALLER, *periods)]))

    def others(self) -> list[RuleSet]:
        """What is activated in between: one with other rules, and one that is refused, as it is for another site."""
        if self.disorder is None:
            return []
        files = self.rule_set().files
        return [RuleSet(_changed(files, _OTHER)), RuleSet(_changed(files, _FOREIGN))]

    def steps(self, site: Site, others: Sequence[RuleSet]) -> Iterator[Step]:
        """The inputs in the order of their times."""
        if self.site_dir != EXAMPLE:
            return waves(site, self.seconds)
        steps = _of_the_plant(site, self.faults, self.seconds)
        return steps if self.disorder is None else self.disorder(steps, site, others)


def _changed(files: Mapping[str, str], changes: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    made = dict(files)
    for name, old, new in changes:
        if old not in made[name]:
            raise ValueError(f"{EXAMPLE / name} has no {old!r} any more: mend {__file__}")
        made[name] = made[name].replace(old, new)
    return made


def _of_the_plant(site: Site, faults: str, seconds: int) -> Iterator[Step]:
    plant = EventTimePlant(site, seed=1)
    for fault in parse_faults(faults):
        plant.inject(fault)
    while plant.now_ns < START_NS + seconds * S:
        inputs = plant.step()
        yield plant.now_ns, inputs


def _in_disorder(steps: Iterable[Step], site: Site, others: Sequence[RuleSet]) -> Iterator[Step]:
    """What a plant's network does to the log of `row-a`, and rules that are activated in all units."""
    activated = {45 * S: others[0].digest, 50 * S: others[1].digest}
    for now_ns, inputs in steps:
        at_ns = now_ns - START_NS
        row = [new for value in inputs["row-a"] for new in _disturbed(value, at_ns)]
        found = {**inputs, "row-a": row}
        if at_ns in activated:
            for unit in site.units:
                found[unit] = [*found[unit], activation(site, unit, activated[at_ns], now_ns)]
        yield now_ns, found


def _disturbed(value: Input, at_ns: int) -> list[Input]:
    """What becomes of an input of `row-a`: itself where nothing is in its way."""
    at_s, rest_ns = divmod(at_ns, S)
    if isinstance(value, Frame):
        return [value, value] if (at_s, rest_ns, value.asset) == (5, 0, "R01") else [value]
    if not isinstance(value, Readings):
        return [value]
    if at_s >= RESTART_S:
        return _after_restart(value, at_s)
    if at_s == 7:  # lost without a word
        return []
    if at_s == 10:  # by a clock that is not believed
        return [replace(value, time_ns=value.time_ns - 10 * S)]
    if at_s == 12:  # late
        return [replace(value, time_ns=value.time_ns - 10 * S, ingest_ns=value.ingest_ns - 10 * S)]
    if at_s == 15:  # as old as what came before it
        return [replace(value, time_ns=value.time_ns - S)]
    return [value]


RESTART_S: Final = 18
"""When the gateway of the plant's points is started again: the first input of its new epoch says what was lost."""


def _after_restart(old: Readings, at_s: int) -> list[Input]:
    source, at_ns = old.identity.source, old.ingest_ns
    value = replace(old, identity=Identity(source, 2, old.identity.sequence - RESTART_S + 2))
    if at_s == RESTART_S:
        return [Gap(value.unit, Identity(source, 2, 1), "restart", at_ns - S, at_ns, 0), value]
    if 22 <= at_s < 26:  # no alarm: nobody knows
        return [_bad(value, "R01.RackLiquidFlow", 0.0)]
    if 33 <= at_s < 36:  # its alarm stands, and whether it should is not known
        return [_bad(value, "R02.RackLiquidFlow", 158.0)]
    if at_s == 36:
        command, actuator = "row-a:rack-flow-low:R01:0:2", "R01-T01-G1.power_limit"
        identity = Identity("actuators", 1, 1)
        receipt = Receipt(value.unit, identity, command, actuator, "done", 500.0, 500.0, at_ns)
        return [value, receipt, receipt]
    if at_s == 39:
        return [replace(value, identity=Identity(f"{source}/backfill", 1, 1), backfill=True), value]
    return [value, value] if at_s == 41 else [value]


def _bad(value: Readings, point: str, shown: float) -> Readings:
    """A sensor that is not to be believed, whatever it shows."""
    values, quality, status = value.values.copy(), value.quality.copy(), value.status.copy()
    place = value.points.index(point)
    values[place], quality[place], status[place] = shown, Quality.BAD, BAD_NO_COMMUNICATION
    return replace(value, values=values, quality=quality, status=status)


CASES: Final = (
    Case("pump_trip", "pump_trip@10s, ~pump_trip@30s", 55, "rack-flow-low"),
    Case("feed_trip", "feed_trip@10s, ~feed_trip@25s", 45, "feed-voltage-low"),
    Case("chiller_trip", "chiller_trip@10s", 60, "chiller-stopped", gpu_s=2, plc_s=2),
    Case("leak", "leak@10s", 30, "rack-leak"),
    Case("sensor_frozen", "sensor_frozen:R01.RackLiquidFlow@70s", 135, "rack-flow-frozen", gpu_s=2, plc_s=2),
    Case(
        "sensor_drift",
        "sensor_drift:R01.RackLiquidFlow*20@60s",
        200,
        "rack-heat-balance-off",
        gpu_s=2,
        plc_s=2,
    ),
    # heard once in between; and then what it said last must not speak for a flow that is gone
    Case(
        "stale",
        "stale:R01.RackLiquidFlow@10s, ~stale@17.5s, stale:R01.RackLiquidFlow@18.5s, pump_trip@24s",
        34,
        "rack-flow-unknown",
    ),
    Case("valve_stuck", "valve_stuck@10s, ~valve_stuck@30s", 45, "cdu-valve-stuck"),
    Case("gpu_runaway", "gpu_runaway@10s, ~gpu_runaway@20s", 45, "gpu-runaway", gpu_s=0.5),
    Case("frequency_dip", "frequency_dip@10s, ~frequency_dip@22s", 50, "frequency-low-low"),
    Case("xid_storm", "xid_storm*2@10s, ~xid_storm@15s", 30, "gpu-xid-nvlink"),
    Case("heat_sink_lost", "heat_sink_lost@10s", 40, "heat-sink-flow-low"),
    Case("clock_skew", "clock_skew@10s, ~clock_skew@20s", 40, "source-clock"),
    # beside the faults: what another unit tells, and everything that can happen to a log at once
    Case(
        "cross_unit",
        "sensor_drift:FEED-A.ActivePower*-90@10s, ~sensor_drift@42s",
        55,
        "feeds-read-less-than-racks",
    ),
    Case("disorder", "pump_trip@28s, ~pump_trip@38s", 65, "rack-flow-low", disorder=_in_disorder),
    Case("functions", "", 80, "rack-avg", site_dir=FUNCTIONS),
)
