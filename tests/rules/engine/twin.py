"""The engine's slow and obvious twin: one Python object per (rule, asset), dictionaries, no kernel, no batches.

It shares with the engine only inputs, outputs and the program. Written from docs/architecture.md, not from the
engine. What a rule computes is in `twin_conditions`, functions of time in `twin_functions`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import orjson

from rules.engine.inputs import (
    AccessList,
    Action,
    Activation,
    Fact,
    Frame,
    Gap,
    Identity,
    Input,
    Readings,
    Receipt,
    Tick,
)
from rules.engine.outputs import Command, Entry, Output
from rules.gpu_fields import GPU_FIELDS
from rules.language.program import GPU_TYPE, Program, Rule
from rules.site.model import Site
from tests.rules.engine.twin_access import TwinAccess
from tests.rules.engine.twin_alarms import TwinAlarms
from tests.rules.engine.twin_conditions import (
    Condition,
    Heard,
    Moment,
    Numbers,
    Said,
    Sample,
    looks,
    names_below,
    tellings,
)
from tests.rules.engine.twin_flood import STEP
from tests.rules.engine.twin_ids import Ids, numbered

S = 1_000_000_000


def rendered(template: str, asset: str, numbers: Numbers) -> str:
    """A message: `{NAME}` or `{NAME:FORMAT}`, without a format in four significant digits."""

    def one(found: re.Match[str]) -> str:
        name, form = found.groups()
        if name == "asset":
            return asset
        number = numbers.get(name)
        return "no value" if number is None else format(number, form or ".4g")

    return re.sub(r"\{(\w+)(?::([^{}]*))?\}", one, template)


def known(number: float, good: bool) -> float | None:
    return number if good and math.isfinite(number) else None


class Waiting(NamedTuple):
    """A transition that no tick has passed; the first four are its order."""

    at: int
    rank: int
    rule: str
    place: int
    condition: Condition
    event: Said


class Twin(TwinAlarms, TwinAccess):
    """The whole engine, the slow way."""

    def __init__(
        self,
        program: Program,
        site: Site,
        unit_id: str,
        offers: Mapping[str, Program | str] | None = None,
        ruling: str = "",
    ) -> None:
        self.site, self.unit = site, site.units[unit_id]
        self.offers, self.ruling = offers or {}, ruling
        self.now: int | None = None
        self.last: dict[str, tuple[int, int]] = {}
        self.first_epoch: dict[str, int] = {}
        self.newest: dict[str, int] = {}
        self.no_alarms()
        self.no_list()
        self.notes: Counter[tuple[str, str]] = Counter()
        self.off: dict[str, tuple[int, int]] = {}
        self.counters: Counter[str] = Counter()
        self.points: dict[str, Sample] = {}
        self.looks = looks(program.rules, self.unit.gpus)
        self.kept: dict[tuple[str, str], Sample] = {}
        self.facts: dict[str, Heard] = {}
        self.tellings = tellings(program.rules, site)
        self.begun = self.passed = 0
        self.waiting: list[Waiting] = []
        self.number, self.previous = 0, ""
        self.told: Counter[str] = Counter()
        self.place = {asset.id: index for index, asset in enumerate(self.unit.assets)}
        self.conditions = self.conditions_of(program)
        self.rules = program.rules

    def conditions_of(self, program: Program) -> list[Condition]:
        return [
            Condition(rule, asset)
            for rule in sorted(program.rules, key=lambda rule: rule.id)
            for asset in sorted(set(rule.assets) & set(self.place), key=lambda asset: self.place[asset])
        ]

    def step(self, inputs: list[Input]) -> list[Output]:
        out: list[Output] = []
        for value in inputs:
            self.counters["inputs"] += 1
            self.out, self.said = out, 0
            identity = value.identity
            self.prefix = f"{self.unit.id}:{identity.source}:{identity.epoch}:{identity.sequence}"
            if isinstance(value, Tick):
                self.tick(value)
            elif isinstance(value, Action | AccessList | Activation) and self.is_forged(value, self.unit.id):
                continue
            elif self.admit(value):
                self.take(value)
        return out

    def id_of(self) -> str:
        self.said += 1
        return f"{self.prefix}:{self.said - 1}"

    def entry(self, kind: str, at: int, detail: dict[str, Any], name: str | None = None) -> None:
        self.number += 1
        line = Entry(name or self.id_of(), self.unit.id, kind, at, detail, self.number, self.previous)
        body = {"kind": kind, "at_ns": at, "detail": detail, "number": self.number, "previous": self.previous}
        value = {"schema": "entry/1", "id": line.id, "unit": line.unit, "body": body}
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        self.previous = hashlib.sha256(text).hexdigest()
        self.out.append(line)

    # identity

    def admit(self, value: Input) -> bool:
        identity = value.identity
        source, epoch, sequence = identity.source, identity.epoch, identity.sequence
        last = self.last.get(source)
        if last is not None and (epoch, sequence) <= last:
            self.counters["repeats"] += 1
            self.notes[source, "repeat"] += 1
            return False
        self.last[source] = (epoch, sequence)
        self.first_epoch.setdefault(source, epoch)
        is_data = isinstance(value, Frame | Readings) and not source.endswith("/backfill")
        due = 1 if last is None or epoch > last[0] else last[1] + 1
        if last is None:
            if sequence > 1:
                detail = {"source": source, "epoch": epoch, "sequence": sequence}
                self.entry("joined", self.time_of(value), detail)
                return True
        elif sequence > due or (epoch > last[0] and is_data):
            missing = sequence - due
            self.counters["inputs_missing"] += missing
            reason, text = "restart-unannounced", f"{source}: started again without a word on what it lost"
            first = 0
            if missing:
                reason, first = "sequence", due
                text = f"{source}: {missing} inputs missing, sequence {due} to {sequence - 1}"
            detail = {
                "source": source,
                "reason": reason,
                "epoch": epoch,
                "first_missing": first,
                "missing": missing,
            }
            self.gap(source, self.time_of(value), float(missing), text, detail)
            return True
        if not isinstance(value, Gap) and ("source-gap", source) in self.active:
            raised = self.active["source-gap", source]
            at = max(self.time_of(value), raised.raised_ns)
            self.clear("source-gap", source, at, 0.0, f"{source}: complete again", self.id_of)
        return True

    def time_of(self, value: Input) -> int:
        match value:
            case Frame() | Readings():
                at = value.ingest_ns
            case Receipt() | Action():
                at = value.at_ns
            case Gap():
                at = value.to_ns
            case _:
                at = self.now if self.now is not None else 0
        return at if self.now is None else min(at, self.now + S)

    def gap(self, source: str, at: int, size: float, text: str, detail: dict[str, Any]) -> None:
        self.counters["gaps"] += 1
        self.entry("gap", at, detail)
        if ("source-gap", source) not in self.active:
            self.raise_("source-gap", source, "medium", at, size, text, self.id_of)

    # alarms

    def say(self, condition: Condition, events: list[Said], is_time: bool = False) -> None:
        """What a sample or, `is_time`, the time that has come makes of a condition; what hangs on others waits."""
        rule, asset = condition.rule, condition.asset
        for event in events:
            own = numbered(self.unit.id, rule.id, asset, event.at)
            if is_time or (event.at > self.passed and self.waits(rule.id)):
                self.waiting.append(
                    Waiting(event.at, self.rank(rule.id), rule.id, self.place[asset], condition, event)
                )
                by_time = is_time or event.by_deadline
                if by_time:
                    own(), own()  # of the alarm
                self.command(rule, asset, event, own if by_time else self.id_of)
                continue
            ids = own if event.by_deadline else self.id_of
            self.take_transition(rule, asset, event, ids)
            self.command(rule, asset, event, ids)
            if event.kind == "raised":
                self.suppress(rule, asset, event.at, ids)

    def take_transition(self, rule: Rule, asset: str, event: Said, ids: Ids) -> None:
        kind, at, _, numbers = event
        value, text = numbers.get("value"), rendered(rule.message, asset, numbers)
        if kind in ("unknown", "known"):
            self.unknown(rule.id, asset, at, value, text, kind, ids)
        elif kind == "cleared":
            self.clear(rule.id, asset, at, value, text, ids)
            if rule.suppresses:
                self.let_go(at, ids)
        else:
            self.raise_(rule.id, asset, rule.severity, at, value, text, ids)

    def command(self, rule: Rule, asset: str, event: Said, ids: Ids) -> None:
        for target in rule.targets.get(asset, ()) if event.kind == "raised" else ():
            self.counters["commands"] += 1
            self.out.append(
                Command(
                    ids(),
                    self.unit.id,
                    rule.id,
                    asset,
                    target.actuator,
                    target.value,
                    target.engineering_unit,
                    event.at,
                    event.at + target.expiry_ns,
                    rendered(rule.message, asset, event.numbers),
                )
            )

    def waits(self, rule: str) -> bool:
        return bool(self.site.flood_limit) or any(
            rule in one.suppresses or (one.id == rule and (one.suppresses or one.group)) for one in self.rules
        )

    def rank(self, rule: str) -> int:
        """Causes come first."""
        return max((1 + self.rank(one.id) for one in self.rules if rule in one.suppresses), default=0)

    def tell_fact(self, to: str, key: tuple[str, str], at: int, is_true: bool) -> None:
        self.told[to] += 1
        self.counters["facts_told"] += 1
        identity = Identity(f"fact:{self.unit.id}", self.begun, self.told[to])
        name = f"alarm:{key[0]}:{key[1]}"
        self.out.append(Fact(to, identity, name, key[1], at, float(is_true), 1, 0, self.ruling))

    def needs_facts(self, rule: str) -> bool:
        now = self.moment(0, set())
        return any(
            names_below(term, condition.asset, now) & self.heard_of()
            for condition in self.conditions
            if condition.rule.id == rule
            for term in condition.rule.terms
        )

    def take_waiting(self, after: int, until: int) -> None:
        """In the order of time, with all that time brings: waits that end, what is told again or not told again."""
        of: dict[tuple[str, str, int], Ids] = {}
        period = self.site.fact_period_ns
        edge, step = (after // period + 1) * period, (after // STEP + 1) * STEP
        while True:
            end = min([until, *self.holds.values(), *self.believed.values(), edge, step])
            if self.waiting and min(self.waiting, key=lambda one: one[:4]).at <= end:
                self.take_next(of)
            elif end in self.holds.values():
                self.end_holds(end)
            elif end in self.believed.values():
                self.lapse(end)
            elif end == edge:
                for key in sorted(self.telling):
                    for to in self.others_of(key):
                        self.tell_fact(to, key, edge, True)
                edge += period
            elif end == step:
                self.see_to_floods(step)
                step += STEP
            else:
                return

    def take_next(self, of: dict[tuple[str, str, int], Ids]) -> None:
        next_one = min(self.waiting, key=lambda one: one[:4])
        self.waiting.remove(next_one)
        condition, event = next_one.condition, next_one.event
        rule, asset = condition.rule, condition.asset
        key = rule.id, asset, event.at
        ids = of.setdefault(key, numbered(self.unit.id, *key))
        self.take_transition(rule, asset, event, ids)
        if event.kind == "raised":
            for _ in rule.targets.get(asset, ()):
                ids()
            self.suppress(rule, asset, event.at, ids)

    # time

    def tick(self, value: Tick) -> None:
        identity = value.identity
        last = self.last.get(identity.source)
        if last is not None and (identity.epoch, identity.sequence) <= last:
            self.counters["repeats"] += 1
            return
        self.last[identity.source] = (identity.epoch, identity.sequence)
        self.counters["ticks"] += 1
        if self.now is None:
            self.begun = value.time_ns
            self.listen(self.conditions, value.time_ns)
        self.now = value.time_ns if self.now is None else max(self.now, value.time_ns)
        self.fire(self.now)
        for (source, kind), count in sorted(self.notes.items()):
            self.entry(kind, self.now, {"source": source, "count": count})
        self.notes.clear()

    def listen(self, conditions: list[Condition], at: int) -> None:
        """What was never heard is silent from here on, with a grace."""
        for condition in conditions:
            if condition.rule.silent is not None:
                condition.deadline = at + condition.rule.timeouts_ns[condition.asset] + 30 * S

    def fire(self, until: int) -> None:
        self.fire_conditions(until)
        after, self.passed = self.passed, max(self.passed, until)
        if not after:
            after = until - 10 * S
        self.take_waiting(after, until)

    def fire_conditions(self, until: int) -> None:
        due = [c for c in self.conditions if c.deadline is not None and c.deadline <= until]
        for condition in sorted(due, key=lambda c: (c.deadline, c.rule.id, self.place[c.asset])):
            self.say(condition, condition.fire(), is_time=True)

    # rule sets

    def activation(self, value: Activation) -> None:
        self.counters["activations"] += 1
        detail: dict[str, Any] = {"site_digest": value.site_digest, "rules_digest": value.rules_digest}
        if self.people:
            detail |= {"signed": True, "signer": value.signer}
        at = 0 if self.now is None else min(max(self.now, value.at_ns), self.now + S)
        offered = self.offers.get(value.rules_digest)
        if isinstance(offered, str):
            self.counters["activations_refused"] += 1
            self.entry("activation-refused", at, {**detail, "reason": offered})
            return
        closed: list[Condition] = []
        if offered is not None and self.ruling != value.rules_digest:
            self.fire(at)
            of: dict[tuple[str, str, int], Ids] = {}
            while self.waiting:
                self.take_next(of)
            old = self.conditions
            self.take_up(offered, at)
            means = {(c.rule.id, c.rule.definition) for c in self.conditions}
            meant = {(c.rule.id, c.rule.definition) for c in old}
            gone = [c for c in old if (c.rule.id, c.rule.definition) in meant - means]
            closed = [c for c in gone if (c.rule.id, c.asset) in self.active | self.returned]
            if self.now is not None:
                detail |= {
                    "rules_kept": len(means & meant),
                    "rules_new": len(means - meant),
                    "rules_gone": len(meant - means),
                    "alarms_closed": len(closed),
                }
            self.ruling = value.rules_digest
        self.entry("activation", at, detail)
        for c in sorted(closed, key=lambda c: (c.rule.id, c.asset)):
            self.close(c.rule.id, c.asset, at)
        self.let_go(at, self.id_of)

    def take_up(self, program: Program, at: int) -> None:
        """A rule of the same meaning goes on; a function of a GPU goes on when any rule looked at it before."""
        known = {(c.rule.definition, c.asset): c for c in self.conditions}
        functions = {
            (c.asset, name): function
            for c in self.conditions
            if c.rule.asset_type == GPU_TYPE
            for name, function in c.functions.items()
        }
        for (_, gpu), look in self.looks.items():
            functions |= {(gpu, name): function for name, function in look.functions.items()}
        seen = set(self.looks)
        self.looks = looks(program.rules, self.unit.gpus)
        self.kept = {key: sample for key, sample in self.kept.items() if key in self.looks and key in seen}
        for (_, gpu), look in self.looks.items():
            for name in look.functions:
                look.functions[name] = deepcopy(functions.get((gpu, name), look.functions[name]))
        told, self.tellings = self.tellings, tellings(program.rules, self.site)
        self.tellings |= {key: old for key, old in told.items() if key in self.tellings}
        for name in self.facts.keys() - self.heard_of():
            del self.facts[name], self.newest[name]
        self.rules = program.rules
        self.believed = {key: until for key, until in self.believed.items() if self.may_believe(key)}
        fresh: list[Condition] = []
        self.conditions = self.conditions_of(program)
        self.telling = {key for key in self.active if key[1] in self.site.assets and self.others_of(key)}
        for index, new in enumerate(self.conditions):
            old = known.get((new.rule.definition, new.asset))
            if old is not None:
                old.rule, self.conditions[index] = new.rule, old
                continue
            fresh.append(new)
            for name in new.functions if new.rule.asset_type == GPU_TYPE else ():
                new.functions[name] = deepcopy(functions.get((new.asset, name), new.functions[name]))
        if self.now is not None:
            self.listen(fresh, at)

    def corrected(self, t: int, ingest: int, tolerance: int) -> tuple[int, bool]:
        assert self.now is not None
        good = True
        if abs(t - ingest) > tolerance:
            t, good = ingest, False
        if t > self.now + tolerance:
            t, good = self.now, False
        return t, good

    # data

    def take(self, value: Input) -> None:
        match value:
            case Frame() | Readings():
                self.data(value)
            case Gap():
                self.counters["readings_lost"] += value.readings if value.reason != "spooled" else 0
                source = value.identity.source
                detail = {
                    "source": source,
                    "reason": value.reason,
                    "from_ns": value.from_ns,
                    "to_ns": value.to_ns,
                    "readings": value.readings,
                }
                met = value.identity.epoch == self.first_epoch[source] and value.identity.sequence == 1
                if met and value.reason == "restart":
                    self.entry("joined", self.time_of(value), detail)
                else:
                    text = f"{source}: {value.readings} readings not delivered ({value.reason})"
                    self.gap(source, self.time_of(value), float(value.readings), text, detail)
            case Receipt():
                self.counters["receipts"] += 1
                names = ("command", "actuator", "status", "value", "read_back", "detail")
                self.entry("receipt", value.at_ns, {name: getattr(value, name) for name in names})
            case Activation():
                self.activation(value)
            case Fact():
                self.fact(value)
            case AccessList():
                self.access_list(value)
            case Action():
                if self.now is not None:
                    self.fire(self.at(value.at_ns))
                self.action(value)

    def data(self, value: Frame | Readings) -> None:
        source = value.identity.source
        readings = value.values.size
        self.counters["readings"] += readings
        if isinstance(value, Frame):
            self.counters["frames"] += 1
        if source.removesuffix("/backfill") not in self.site.sources:
            self.counters["unknown_sources"] += 1
        if value.backfill or source.endswith("/backfill"):
            self.counters["backfill"] += readings
        elif self.now is None:
            self.counters["before_first_tick"] += readings
        else:
            self.clock(value)
            self.frame(value) if isinstance(value, Frame) else self.readings(value)

    def clock(self, value: Frame | Readings) -> None:
        """Off for 1 s, later than 10 s after the first input, is an alarm, right for 10 s its end; an off input after
        10 s without one begins anew.
        """
        source, at = value.identity.source, self.time_of(value)
        off = max(int(t) for t in value.time_ns) - value.ingest_ns
        first, last = self.off.setdefault(source, (at + 10 * S, at))
        is_active = ("source-clock", source) in self.active
        if abs(off) > self.allowances(source)[0]:
            first = at if at - last > 10 * S else first
            self.off[source] = first, max(last, at)
            if not is_active and at - first >= S:
                where = "ahead of" if off > 0 else "behind"
                text = f"{source}: times are {abs(off / 1e9):.1f} s {where} their arrival"
                self.raise_("source-clock", source, "medium", at, off / 1e9, text, self.id_of)
        elif is_active and at - last >= 10 * S:
            self.clear("source-clock", source, at, off / 1e9, f"{source}: times are right again", self.id_of)

    def allowances(self, source: str) -> tuple[int, int]:
        known = self.site.sources.get(source)
        if known is None:
            return S, (60 if source.startswith("fact:") else 2) * S
        return known.clock_tolerance_ns, known.lateness_ns

    def frame(self, value: Frame) -> None:
        tolerance, lateness = self.allowances(value.identity.source)
        newest = max(int(t) for t in value.time_ns)
        corrected, believed = self.corrected(newest, value.ingest_ns, tolerance)
        low, high = self.unit.gpu_range.get(value.asset, (0, 0))
        for s, time_ns in enumerate(value.time_ns):
            t = int(time_ns) + corrected - newest
            sampled: dict[str, dict[str, float | None]] = {}
            for g, index in enumerate(value.gpu):
                if low + int(index) >= high:
                    self.counters["unknown_gpus"] += 24
                    continue
                asset = self.unit.gpus[low + int(index)]
                bad = bool(value.quality[s, g] != 0)
                if self.accepted(value.identity.source, asset, t, believed, bad, lateness, 24):
                    sampled[asset] = {
                        field.name: known(float(number), believed and not bad)
                        for field, number in zip(GPU_FIELDS, value.values[s, g], strict=True)
                    }
            for condition in self.conditions:
                if condition.rule.asset_type == GPU_TYPE and condition.asset in sampled:
                    now = Moment(self.site, t, sampled[condition.asset], self.points, None)
                    self.say(condition, condition.sample(now))
            for (name, gpu), look in self.looks.items():
                if gpu in sampled:
                    self.kept[name, gpu] = look.sample(Moment(self.site, t, sampled[gpu], self.points, None))
            self.watching(t, set(sampled))

    def readings(self, value: Readings) -> None:
        tolerance, lateness = self.allowances(value.identity.source)
        for i, point in enumerate(value.points):
            if point not in self.site.points or self.site.points[point].asset not in self.place:
                self.counters["unknown_points"] += 1
                continue
            t, believed = self.corrected(int(value.time_ns[i]), value.ingest_ns, tolerance)
            bad = bool(value.quality[i] != 0)
            if not self.accepted(value.identity.source, point, t, believed, bad, lateness, 1):
                continue
            self.points[point] = Sample(t, known(float(value.values[i]), believed and not bad))
            self.watching(t, {point})

    def heard_of(self) -> set[str]:
        return {name for _, to, name in self.tellings if to == self.unit.id}

    def fact(self, value: Fact) -> None:
        self.counters["facts"] += 1
        source = value.identity.source
        if value.name.startswith("alarm:"):
            self.alarm_elsewhere(value)
        elif value.name not in self.heard_of():
            self.counters["unknown_facts"] += 1
        elif self.now is None:
            self.counters["before_first_tick"] += 1
        else:
            tolerance, lateness = self.allowances(source)
            t, believed = self.corrected(value.time_ns, value.time_ns, tolerance)
            bad = value.quality != 0 or value.rules_digest != self.ruling
            if self.accepted(source, value.name, t, believed, bad, lateness, 1):
                self.facts[value.name] = Heard(t, value.value, value.known if believed and not bad else 0)
                self.watching(t, {value.name})

    def may_believe(self, key: tuple[str, str]) -> bool:
        asset = self.site.assets.get(key[1])
        explains = any(rule.id == key[0] and rule.suppresses for rule in self.rules)
        return asset is not None and asset.unit != self.unit.id and explains

    def alarm_elsewhere(self, value: Fact) -> None:
        _, rule, asset = value.name.split(":")
        at = min(value.time_ns, self.passed)
        if not self.may_believe((rule, asset)):
            self.counters["unknown_facts"] += 1
        elif self.now is None:
            self.counters["before_first_tick"] += 1
        elif value.rules_digest != self.ruling:
            self.counters["not_good"] += 1
        elif at + 3 * self.site.fact_period_ns <= self.passed:
            self.counters["late"] += 1
        else:
            self.told_elsewhere((rule, asset), at, value.value > 0)

    def moment(self, t: int, sampled: set[str]) -> Moment:
        return Moment(
            self.site,
            t,
            {},
            self.points,
            sampled,
            kept=self.kept,
            unit=self.unit.id,
            facts=self.facts,
        )

    def watching(self, t: int, sampled: set[str]) -> None:
        """Conditions of the plant that read something that comes now, then what others must know of it."""
        for condition in self.conditions:
            now = self.moment(t, sampled)
            if condition.watches(now):
                self.say(condition, condition.sample(now))
        for (unit, to, name), telling in self.tellings.items():
            now = self.moment(t, sampled)
            if unit != self.unit.id or not names_below(telling.part, telling.asset, now) & sampled:
                continue
            told = telling.sample(now)
            if told is not None:
                self.told[to] += 1
                self.counters["facts_told"] += 1
                identity = Identity(f"fact:{unit}", self.begun, self.told[to])
                quality = 0 if told[1] else 2
                self.out.append(
                    Fact(to, identity, name, telling.asset, telling.t, *told, quality, self.ruling)
                )

    def accepted(
        self, source: str, channel: str, t: int, believed: bool, bad: bool, lateness: int, readings: int
    ) -> bool:
        """Whether one sample, of a GPU or of a point, counts; notes why it does not."""
        assert self.now is not None
        if t < self.now - lateness:
            self.counters["late"] += readings
            self.notes[source, "late"] += readings
            return False
        if channel in self.newest and t <= self.newest[channel]:
            self.counters["out_of_order"] += readings
            self.notes[source, "out-of-order"] += readings
            return False
        self.newest[channel] = t
        self.counters["clock_corrected"] += 0 if believed else readings
        self.counters["not_good"] += readings if bad else 0
        return True
