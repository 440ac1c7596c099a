"""Scenario files: strict YAML to `Scenario`, with every finding at its place.

    scenarios:
      flow-lost:
        asset: R01
        for: 30 s
        signals:
          RackLiquidFlow:
            - 158 L/min                    # from the start
            - 5 s: 40 L/min                # from then on
            - 12 s: design_flow over 4 s   # in a straight line; constants of the asset are values too
        expect:
          rack-flow-low: {raised: 5500 ms, cleared: 26 s, commands: 72}
          rack-flow-unknown: never

Rules: text in, findings out; the one thing that is read is a recording that a scenario names. A signal is one of
`asset`, or of another one as `ASSET.SIGNAL`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.gpu_fields import FIELD_INDEX, GPU_FIELDS
from rules.language.expression import ExpressionError, parse_limit
from rules.language.program import GPU_TYPE, Program
from rules.language.quantities import number_in
from rules.language.watched import signals_read, watching
from rules.site.model import Asset, Site
from rules.strict_yaml import DURATION_NS, Node, load
from streams.importing.times import TimeReader
from streams.scenarios.model import Expectation, Occurrence, Scenario, Script, Shape, Step, Trace
from streams.scenarios.recorded import RecordedSignals

LONGEST_NS: Final = 7 * DURATION_NS["d"]
_WORDS: Final[tuple[Shape, ...]] = ("bad", "uncertain", "missing", "silent")
_OVER: Final = " over "
_OF_RECORDING: Final = ("recording", "point", "from", "to")


@dataclass(frozen=True, slots=True)
class _Signal:
    asset: Asset
    name: str
    unit: str
    period_ns: int


def load_scenarios(
    texts: Mapping[str, str], site: Site, program: Program
) -> tuple[list[Scenario], list[Finding]]:
    """The scenarios of all files (`texts`: file name to text) that are right, and every finding, by place."""
    scenarios: list[Scenario] = []
    findings: list[Finding] = []
    places: dict[str, str] = {}
    periods_ns = {gpu: source.period_ns for gpu, source in site.gpu_sources.items()}
    for file in sorted(texts):
        root, found = load(texts[file], file)
        fields = root.fields(("scenarios",), required=("scenarios",)) if root is not None else {}
        if "scenarios" in fields:
            for name, node in fields["scenarios"].as_mapping().items():
                key = fields["scenarios"].keys[name]
                if name in places:
                    key.report(f"duplicate scenario '{name}'", f"first given at {places[name]}")
                places.setdefault(name, f"{file}:{key.line}")
                scenario = _Reader(site, program, periods_ns, name, key, node).read()
                if scenario is not None:
                    scenarios.append(scenario)
        findings.extend(found)
    return scenarios, sorted(dict.fromkeys(findings))


class _Reader:
    """Reads one scenario; reports to its document and goes on as far as it can."""

    def __init__(
        self, site: Site, program: Program, periods_ns: Mapping[str, int], name: str, key: Node, node: Node
    ) -> None:
        self._site = site
        self._rules = {rule.id: rule for rule in program.rules}
        self._periods_ns = periods_ns
        self._name = name
        self._key = key
        self._node = node
        self._before = len(node.document.findings)
        keys = ("asset", "for", "signals", "expect")
        self._fields = node.fields(keys, required=keys)

    def read(self) -> Scenario | None:
        """The scenario, or None when something of it is wrong."""
        asset = self._asset(self._fields["asset"]) if "asset" in self._fields else None
        duration_ns = self._duration("for") or LONGEST_NS
        scripts, expectations = [], []
        if asset is not None and "signals" in self._fields:
            signals = self._fields["signals"]
            for name, node in signals.as_mapping().items():
                signal = self._signal(asset, name, signals.keys[name])
                if signal is not None:
                    scripts.append(self._script(signal, node, duration_ns))
            if signals.kind == "mapping" and not signals.entries:
                signals.report("no signal", "name the signals that the rules look at")
        if asset is not None and "expect" in self._fields:
            expect = self._fields["expect"]
            for rule, node in expect.as_mapping().items():
                expectations.append(self._expectation(asset, rule, expect.keys[rule], node, duration_ns))
                self._check_watched(rule, expect.keys[rule], scripts)
        if len(self._node.document.findings) > self._before:
            return None
        return Scenario(
            self._name,
            self._key.document.file,
            self._key.line,
            duration_ns,
            tuple(scripts),
            tuple(expectations),
        )

    def _duration(self, name: str) -> int | None:
        node = self._fields.get(name)
        return node.as_duration_ns(1_000_000, LONGEST_NS) if node else None

    def _asset(self, node: Node) -> Asset | None:
        name = node.as_text()
        if name is not None and name not in self._site.assets:
            node.report(f"the site has no asset '{name}'", nearest(name, self._site.assets))
        return self._site.assets.get(name) if name else None

    def _signal(self, asset: Asset, name: str, key: Node) -> _Signal | None:
        """`SIGNAL` of the scenario's asset, or `ASSET.SIGNAL`."""
        other, dot, rest = name.rpartition(".")
        if dot:
            found = self._site.assets.get(other)
            if found is None:
                key.report(f"the site has no asset '{other}'", nearest(other, self._site.assets))
                return None
            asset, name = found, rest
        if asset.type == GPU_TYPE:
            if name not in FIELD_INDEX:
                key.report(f"a GPU has no signal '{name}'", nearest(name, FIELD_INDEX))
                return None
            return _Signal(
                asset, name, GPU_FIELDS[FIELD_INDEX[name]].unit, self._periods_ns.get(asset.id, 10**9)
            )
        point = self._site.points.get(f"{asset.id}.{name}")
        if point is None:
            valid = [point.point_type for point in self._site.points.values() if point.asset == asset.id]
            hint = nearest(name, valid) or f"signals: {', '.join(valid) or 'none'}"
            key.report(f"{asset.id} has no signal '{name}'", hint)
            return None
        return _Signal(asset, name, point.engineering_unit, point.period_ns)

    def _script(self, signal: _Signal, node: Node, duration_ns: int) -> Script:
        """A list of steps, or a mapping with `steps`, `every`, `noise` and `seed`."""
        every_ns, noise, seed, steps = signal.period_ns, 0.0, 1, node
        if not node.entries.keys().isdisjoint(_OF_RECORDING) and "steps" not in node.entries:
            recorded = self._recorded(signal, node)
            return Script(signal.asset.id, signal.name, signal.unit, every_ns, (), recorded=recorded)
        if node.kind == "mapping":
            fields = node.fields(("steps", "every", "noise", "seed"), required=("steps",))
            steps = fields.get("steps", node)
            if "every" in fields:
                every_ns = fields["every"].as_duration_ns(1_000_000, LONGEST_NS) or every_ns
            if "noise" in fields:
                noise = self._number(
                    signal.asset, signal.unit, fields["noise"], fields["noise"].scalar, difference=True
                )
            if "seed" in fields:
                seed = fields["seed"].as_integer(0, 2**32 - 1) or 0
        # without `steps`, which was reported, the mapping has nothing else to read
        items = () if steps is node and node.kind == "mapping" else steps.as_list_or_one()
        found = [self._step(signal, item, duration_ns) for item in items]
        kept = [step for step in found if step is not None]
        for item, one, other in zip(steps.items[1:], kept, kept[1:], strict=False):
            if other.at_ns < one.at_ns + one.over_ns:
                item.report(
                    "begins before the step in front of it has ended", "put the steps in the order of time"
                )
                break
        return Script(signal.asset.id, signal.name, signal.unit, every_ns, tuple(kept), noise, seed)

    def _recorded(self, signal: _Signal, node: Node) -> Trace | None:
        """A slice of a recording, whose file is named from the scenario's own."""
        fields = node.fields(_OF_RECORDING, required=_OF_RECORDING)
        file, point = (fields[key].as_text() if key in fields else None for key in ("recording", "point"))
        from_ns, to_ns = (self._time(fields[key]) if key in fields else None for key in ("from", "to"))
        if file is None or point is None or from_ns is None or to_ns is None:
            return None
        if to_ns <= from_ns:
            fields["to"].report("this is not after 'from'")
            return None
        try:
            signals = RecordedSignals(Path(node.document.file).parent / file)
            wrong = signals.check(point, signal.unit)
            if any(wrong):
                fields["point"].report(*wrong)
                return None
            return signals.samples(point, signal.unit, from_ns, to_ns)
        except ConfigurationError as error:
            for finding in error.findings:
                fields["recording"].report(f"{finding.file}: {finding.message}", finding.hint)
            return None

    @staticmethod
    def _time(node: Node) -> int | None:
        text = node.as_text()
        try:
            return TimeReader().read(text) if text is not None else None
        except ValueError as problem:
            node.report(str(problem), "such as 2026-11-22T16:37:38Z, as `headrace recording info` says them")
            return None

    def _step(self, signal: _Signal, node: Node, duration_ns: int) -> Step | None:
        at_ns, written = 0, node
        if node.kind == "mapping":
            if len(node.entries) != 1:
                node.report("a step has one time and one value", "such as '- 5 s: 40 L/min'")
                return None
            ((text, written),) = node.entries.items()
            time = node.keys[text].as_duration_ns(0, duration_ns)
            if time is None:
                return None
            at_ns = time
        text = written.scalar
        if text in _WORDS:
            return Step(at_ns, text)
        before, over, after = text.partition(_OVER)
        over_ns = 0
        if over:
            ramp = Node(
                written.document,
                "text",
                written.line,
                written.column + len(before) + len(_OVER),
                after.strip(),
            )
            over_ns = ramp.as_duration_ns(1_000_000, LONGEST_NS) or 0
        return Step(at_ns, "value", self._number(signal.asset, signal.unit, written, before), over_ns)

    def _number(self, asset: Asset, unit: str, node: Node, text: str, difference: bool = False) -> float:
        """A number with its unit, or a constant of the asset, in `unit`; NaN, and reported, when it is none.

        A `difference` is noise: no word stands for it.
        """
        try:
            return number_in(asset, self._site, parse_limit(text), unit, difference)
        except ExpressionError as problem:
            words = "" if difference else f"or one of: {', '.join(_WORDS)}"
            node.report(problem.message, problem.hint or words, offset=problem.offset)
            return math.nan

    def _expectation(self, asset: Asset, rule: str, key: Node, node: Node, duration_ns: int) -> Expectation:
        if rule not in self._rules:
            key.report(f"the site has no rule '{rule}'", nearest(rule, self._rules))
        if node.kind == "text" and node.scalar == "never":
            return Expectation(rule, ())
        items = node.items if node.kind == "list" else (node,)
        return Expectation(rule, tuple(self._occurrence(asset, rule, item, duration_ns) for item in items))

    def _check_watched(self, rule: str, key: Node, scripts: Sequence[Script]) -> None:
        """A rule whose signal the scenario does not give can't say anything: `never` would hold for nothing."""
        known = self._rules.get(rule)
        given = {(script.asset, script.signal) for script in scripts}
        if known is not None and not watching(known, given):
            key.report(
                f"'{rule}' looks at {signals_read(known)}, which this scenario does not give",
                "add the signal",
            )

    def _occurrence(self, asset: Asset, rule: str, node: Node, duration_ns: int) -> Occurrence:
        if node.kind != "mapping":
            node.report(
                "expected 'never', or when the alarm is raised", "such as {raised: 5 s, cleared: 20 s}"
            )
            return Occurrence(asset.id, 0, None, 0, None, {})
        fields = node.fields(("raised", "cleared", "within", "commands", "on"), required=("raised",))
        times = {
            name: fields[name].as_duration_ns(0, duration_ns)
            for name in ("raised", "cleared", "within")
            if name in fields
        }
        on = (self._asset(fields["on"]) if "on" in fields else asset) or asset
        known = self._rules.get(rule)
        if known is not None and on.id not in known.assets:
            fields.get("on", node).report(
                f"rule '{rule}' does not watch {on.id}", f"it is for {known.asset_type}"
            )
        count: int | None = None
        values: dict[str, float] = {}
        if "commands" in fields and fields["commands"].kind == "mapping":
            for actuator, value in fields["commands"].entries.items():
                values.update(self._command(actuator, fields["commands"].keys[actuator], value))
        elif "commands" in fields:
            count = fields["commands"].as_integer(0, 1e6)
        return Occurrence(
            on.id, times.get("raised") or 0, times.get("cleared"), times.get("within") or 0, count, values
        )

    def _command(self, name: str, key: Node, node: Node) -> dict[str, float]:
        actuator = self._site.actuators.get(name)
        if actuator is None:
            key.report(f"the site has no actuator '{name}'", nearest(name, self._site.actuators))
            return {}
        asset = self._site.assets[actuator.asset]
        return {name: self._number(asset, actuator.engineering_unit, node, node.scalar)}
