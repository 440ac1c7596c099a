"""Run a scenario through the production engine, in event time, and hold what comes against what is expected.

Rules: the inputs are those that a gateway and a ticker would send (samples reach the log before the tick of their
time); an alarm of a rule whose signal the scenario gives, but which it does not expect, is a failure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from rules.engine.engine import Engine
from rules.engine.facts import parts_of
from rules.engine.inputs import Frame, Identity, Input, Readings, Tick
from rules.engine.outputs import Alarm, Command, Output
from rules.engine.tables import Compiled, compile_unit
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from rules.language.program import GPU_TYPE, Program
from rules.language.watched import AssetSignal, watching
from rules.quality import Quality
from rules.site.model import Site
from streams.facts import Courier
from streams.scenarios.model import Expectation, Occurrence, Scenario, Script, Trace
from streams.scenarios.signals import trace

START_NS: Final = 1_800_000_000_000_000_000
"""Event time of a scenario's start: a multiple of every tick that divides a second."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An alarm that came; times since the start."""

    rule: str
    asset: str
    raised_ns: int
    cleared_ns: int | None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a scenario. `problems` is empty when it was as expected; `seen` holds only watched alarms."""

    scenario: Scenario
    problems: tuple[str, ...]
    seen: tuple[Seen, ...]
    traces: Mapping[str, Trace] = field(default_factory=dict)
    """By `ASSET.SIGNAL`."""


class RulesUnderTest:
    """Rules and their site; compiled once for each unit, whatever the number of scenarios."""

    def __init__(self, program: Program, site: Site) -> None:
        self.program = program
        self.site = site
        self._facts = parts_of(program, site).facts()
        self._compiled: dict[str, Compiled] = {}

    def engine(self, unit: str) -> Engine:
        """An empty one."""
        if unit not in self._compiled:
            self._compiled[unit] = compile_unit(self.program, self.site, self.site.units[unit])
        return Engine(self._compiled[unit], self.site, unit)

    def told_by(self, units: Container[str]) -> list[str]:
        """The units that these tell something."""
        return [part.to for part in self._facts if part.unit in units]


def run(scenario: Scenario, rules: RulesUnderTest) -> Result:
    """Run it from an empty engine."""
    traces = {f"{s.asset}.{s.signal}": trace(s, scenario.duration_ns) for s in scenario.scripts}
    outputs = outputs_of(scenario, rules, traces)
    watched = _watched(scenario, rules.program)
    seen = _alarms(outputs, watched)
    commands = [output for output in outputs if isinstance(output, Command)]
    return Result(scenario, tuple(_problems(scenario, seen, commands)), tuple(seen), traces)


def outputs_of(scenario: Scenario, rules: RulesUnderTest, traces: Mapping[str, Trace]) -> list[Output]:
    """What engines of these rules say to a scenario's signals (`traces`, as in its result)."""
    site = rules.site
    given = dict.fromkeys(site.assets[script.asset].unit for script in scenario.scripts)
    told = rules.told_by(given)
    engines = {unit: rules.engine(unit) for unit in dict.fromkeys([*given, *told])}
    inputs: list[tuple[int, Input]] = []
    for unit in engines:
        scripts = [script for script in scenario.scripts if site.assets[script.asset].unit == unit]
        inputs += _inputs(site, unit, scripts, traces, scenario.duration_ns)
    outputs: list[Output] = []
    if not told:
        for unit, engine in engines.items():
            outputs += engine.step([value for _, value in inputs if value.unit == unit])
        return outputs
    courier = Courier()
    for _, value in sorted(inputs, key=lambda timed: timed[0]):
        said = engines[value.unit].step([*courier.due(value), value])
        courier.take(said)
        outputs += said
    return outputs


def _watched(scenario: Scenario, program: Program) -> set[tuple[str, str]]:
    """(rule, asset) of every condition that the scenario gives a signal to."""
    given = given_by(scenario)
    return {(rule.id, asset) for rule in program.rules for asset in watching(rule, given)}


def given_by(scenario: Scenario) -> set[AssetSignal]:
    """The signals that it gives, with their assets."""
    return {(script.asset, script.signal) for script in scenario.scripts}


def _inputs(
    site: Site, unit: str, scripts: Sequence[Script], traces: Mapping[str, Trace], duration_ns: int
) -> Iterator[tuple[int, Input]]:
    """In the order of the log: the tick of the start, then at each instant samples before their tick."""
    samples = _samples(site, unit, scripts, traces)
    instants = sorted({*samples, *range(0, duration_ns + 1, site.tick_ns)})
    yield -1, _tick(site, unit, 0)
    for at_ns in instants:
        for value in samples.get(at_ns, ()):
            yield at_ns, value
        if at_ns and at_ns % site.tick_ns == 0:
            yield at_ns, _tick(site, unit, at_ns)


def _tick(site: Site, unit: str, at_ns: int) -> Tick:
    time_ns = START_NS + at_ns
    return Tick(unit, Identity("ticker", 0, time_ns // site.tick_ns), time_ns)


def _samples(
    site: Site, unit: str, scripts: Sequence[Script], traces: Mapping[str, Trace]
) -> dict[int, list[Input]]:
    """Frames and readings by time. All fields of a GPU have one time: those without a sample then are missing."""
    points: dict[tuple[int, str], list[tuple[str, float, int]]] = defaultdict(list)
    gpus: dict[tuple[int, str], list[tuple[int, float, int]]] = defaultdict(list)
    for script in scripts:
        name = f"{script.asset}.{script.signal}"
        found = traces[name]
        for at_ns, value, quality in zip(
            found.time_ns.tolist(), found.values.tolist(), found.quality.tolist(), strict=True
        ):
            if site.assets[script.asset].type == GPU_TYPE:
                gpus[at_ns, script.asset].append((FIELD_INDEX[script.signal], value, quality))
            else:
                points[at_ns, site.points[name].source].append((name, value, quality))
    sources = site.gpu_sources
    sequences: Counter[str] = Counter()
    inputs: dict[int, list[Input]] = defaultdict(list)
    for at_ns, place in sorted([*points, *gpus]):
        of_point = points.get((at_ns, place))
        source = place if of_point else sources[place].id if place in sources else "scenario"
        sequences[source] += 1
        identity = Identity(source, 1, sequences[source])
        if of_point:
            inputs[at_ns].append(_readings(unit, identity, at_ns, of_point))
        else:
            inputs[at_ns].append(_frame(site, unit, identity, at_ns, place, gpus[at_ns, place]))
    return inputs


def _readings(unit: str, identity: Identity, at_ns: int, rows: list[tuple[str, float, int]]) -> Readings:
    names, values, quality = zip(*rows, strict=True)
    count, time_ns = len(rows), START_NS + at_ns
    return Readings(
        unit, identity, time_ns, tuple(names), np.full(count, time_ns), np.full(count, time_ns),
        np.array(values), np.array(quality, np.uint8), np.zeros(count, np.uint32),
    )  # fmt: skip


def _frame(
    site: Site, unit: str, identity: Identity, at_ns: int, gpu: str, fields: list[tuple[int, float, int]]
) -> Frame:
    """One sample of one GPU, as a frame of all GPUs of its unit would carry it."""
    values = np.full((1, 1, FIELD_COUNT), np.nan, np.float32)
    worst = Quality.GOOD
    for column, value, quality in fields:
        values[0, 0, column] = value
        # a field that a GPU lacks is no number; the GPU itself is as good as its other fields
        worst = max(worst, Quality(quality)) if quality != Quality.MISSING else worst
    time_ns = START_NS + at_ns
    lane = np.array([site.units[unit].gpu_lane[gpu]], np.uint16)
    return Frame(
        unit, identity, time_ns, unit, np.array([time_ns]), lane, values,
        np.full((1, 1), worst, np.uint8), np.full((1, 1), -1, np.int64),
    )  # fmt: skip


def _alarms(outputs: Sequence[Output], watched: set[tuple[str, str]]) -> list[Seen]:
    last = {output.raised_id: output for output in outputs if isinstance(output, Alarm)}
    return sorted(
        (
            Seen(
                alarm.rule,
                alarm.asset,
                alarm.raised_ns - START_NS,
                None if alarm.cleared_ns is None else alarm.cleared_ns - START_NS,
            )
            for alarm in last.values()
            if (alarm.rule, alarm.asset) in watched
        ),
        key=lambda seen: (seen.raised_ns, seen.rule, seen.asset),
    )


def _problems(scenario: Scenario, seen: Sequence[Seen], commands: Sequence[Command]) -> Iterator[str]:
    expected = {expectation.rule: expectation for expectation in scenario.expectations}
    for one in seen:
        if one.rule not in expected:
            yield f"{one.rule} on {one.asset}: raised at {seconds(one.raised_ns)}, which nobody expects"
    for expectation in scenario.expectations:
        yield from _of_rule(expectation, [one for one in seen if one.rule == expectation.rule], commands)


def _of_rule(expectation: Expectation, seen: Sequence[Seen], commands: Sequence[Command]) -> Iterator[str]:
    left = list(seen)
    for wanted in expectation.occurrences:
        found = next((one for one in left if one.asset == wanted.asset), None)
        name = f"{expectation.rule} on {wanted.asset}"
        if found is None:
            yield f"{name}: not raised, expected at {seconds(wanted.raised_ns)}"
            continue
        left.remove(found)
        yield from _times(name, wanted, found)
        made = [c for c in commands if (c.rule, c.asset) == (expectation.rule, wanted.asset)]
        if wanted.commands is not None and len(made) != wanted.commands:
            yield f"{name}: {len(made)} commands, expected {wanted.commands}"
        values = {command.actuator: command.value for command in made}
        for actuator, value in wanted.values.items():
            if values.get(actuator) != value:
                got = f"set to {values[actuator]:g}" if actuator in values else "not set"
                yield f"{name}: {actuator} was {got}, expected {value:g}"
    for one in left:
        yield f"{one.rule} on {one.asset}: raised at {seconds(one.raised_ns)}, expected " + (
            "no more" if expectation.occurrences else "never"
        )


def _times(name: str, wanted: Occurrence, found: Seen) -> Iterator[str]:
    within = f" (within {seconds(wanted.within_ns)})" if wanted.within_ns else ""
    if abs(found.raised_ns - wanted.raised_ns) > wanted.within_ns:
        yield f"{name}: raised at {seconds(found.raised_ns)}, expected {seconds(wanted.raised_ns)}{within}"
    if wanted.cleared_ns is None and found.cleared_ns is not None:
        yield f"{name}: cleared at {seconds(found.cleared_ns)}, expected to stand at the end"
    elif wanted.cleared_ns is not None and found.cleared_ns is None:
        yield f"{name}: stands at the end, expected to clear at {seconds(wanted.cleared_ns)}"
    elif (
        wanted.cleared_ns is not None
        and found.cleared_ns is not None
        and abs(found.cleared_ns - wanted.cleared_ns) > wanted.within_ns
    ):
        yield f"{name}: cleared at {seconds(found.cleared_ns)}, expected {seconds(wanted.cleared_ns)}{within}"


def seconds(time_ns: int) -> str:
    """A time since the start, for people."""
    return f"{time_ns / 1e9:g} s"
