"""The engine of one unit: `step(inputs) -> outputs`, `offer()`, `snapshot()`, `restore()`; nothing else is its face.

Rules that it obeys (docs/architecture.md says them in full):
- No clock, I/O, randomness: `now` is the last tick; the same inputs give the same outputs, byte for byte,
  however they are cut into batches and wherever a snapshot falls between them.
- Unknown neither raises nor clears. Nothing is dropped without being counted in `counters`.
- Without a tick there is no now: what comes before the first one is counted, not evaluated.
- A rule set takes effect at the place of its activation in the log. State that still means the same is kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from rules.access.access import SIGNED, Access
from rules.alarms.abroad import NAME as OF_ALARM
from rules.alarms.abroad import PERIODS, key_of
from rules.engine import snapshot
from rules.engine.cause import FORGED, Cause, input_cause
from rules.engine.chain import ChainEnd
from rules.engine.columns import F32, F64, I64, U8, Samples, frame_times, plain
from rules.engine.facts import Told
from rules.engine.inputs import (
    FACT_SOURCE,
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
    Signed,
    Tick,
)
from rules.engine.kernel import codes, faces
from rules.engine.kernel.arrays import Events
from rules.engine.kernel.codes import CONDITION, NEVER, SAMPLE
from rules.engine.kernel.compiling import entry
from rules.engine.outputs import Output
from rules.engine.register import Detail
from rules.engine.sources import AHEAD_NS, Sources, SourceState, sane
from rules.engine.statements import Statements
from rules.engine.tables import LONG_AGO, Compiled, Spoken, State, compile_unit, fresh_state, fresh_work
from rules.engine.waiting import Transition
from rules.errors import InvariantError
from rules.gpu_fields import FIELD_COUNT
from rules.language.program import OWN_RULES, Program
from rules.quality import Quality
from rules.site.model import Site

EVENT_ROOM: Final = 4096
NOWHERE: Final = -1
_KINDS: Final[Mapping[int, Literal["raised", "cleared", "unknown", "known"]]] = {
    codes.RAISED: "raised",
    codes.CLEARED: "cleared",
    codes.UNKNOWN: "unknown",
    codes.KNOWN: "known",
}
_SAID: Final[Mapping[type[Any], tuple[str, str]]] = {
    Action: ("action", "actions"),
    AccessList: ("access-list", "access_lists"),
    Activation: ("activation", "activations"),
}
"""What the journal and the counters call them."""
_NO_LANES: Final = np.zeros(0, np.int64)
# Not compared with their signatures at each call: `plain` and the tables see to the types.
_FRAME: Final = entry(faces.frame)
_READINGS: Final = entry(faces.readings)
_DUE: Final = entry(faces.due)

COUNTERS: Final = (
    "inputs", "frames", "readings", "ticks", "facts", "receipts", "activations",
    "repeats", "gaps", "inputs_missing", "readings_lost", "late", "out_of_order", "clock_corrected",
    "not_good", "backfill", "unknown_points", "unknown_gpus", "unknown_sources", "before_first_tick",
    "alarms_raised", "alarms_cleared", "alarms_unknown", "commands", "unknown_facts", "facts_told", "actions",
    "actions_refused", "access_lists", "access_lists_refused", "activations_refused",
)  # fmt: skip
"""All that the engine counts. Inputs: frames, ticks, facts, receipts, activations, actions, access_lists (and of these
three the refused ones), repeats, inputs_missing.
Readings (a GPU's sample is 24): readings, readings_lost, late, out_of_order, clock_corrected, not_good,
backfill, unknown_points, unknown_gpus, before_first_tick. `readings` counts all but repeats, evaluated or
not. A fact that is late, out of order, corrected, not good or before the first tick counts as one reading there."""


class Engine:
    """One unit's rules and their state. `counters` and `rules_digest` may be read at any time.

    `rules_digest`: what activations call the rules that it begins with; then that of the last one that took effect.
    """

    def __init__(self, rules: Program | Compiled, site: Site, unit_id: str, rules_digest: str = "") -> None:
        self._site = site
        self.unit = site.units[unit_id]
        self.rules_digest = rules_digest
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self.now_ns = LONG_AGO
        self._begun_ns = 0
        """The first tick that this state saw: an engine that lost its state tells facts in a later epoch."""
        self._told: Counter[str] = Counter()
        """The last sequence of the facts for each unit."""
        self._statements = Statements(self.unit, site, self.counters, self._tell)
        self._sources = Sources(site, self._statements)
        self._access = Access(site)
        self._forged = (0, 0)
        """Time of the last forgeries, and how many there were then: their ids are made of it."""
        self._counts = np.zeros(4, np.int64)
        compiled = rules if isinstance(rules, Compiled) else compile_unit(rules, site, self.unit)
        self._begin_with(compiled, fresh_state(compiled))
        self._offers: dict[str, Compiled | str] = {rules_digest: self._compiled}
        self._lanes = {
            asset: np.arange(low, high, dtype=np.int64) for asset, (low, high) in self.unit.gpu_range.items()
        }
        self._last_points: dict[str, tuple[tuple[str, ...], NDArray[np.int64]]] = {}
        self._last_lanes: dict[str, tuple[bytes, NDArray[np.int64]]] = {}
        self._take: dict[type[Any], Callable[[Any, Cause, list[Output]], None]] = {
            Frame: self._frame,
            Readings: self._readings,
            Gap: self._gap,
            Receipt: self._receipt,
            Activation: self._activation,
            Fact: self._fact,
            Action: self._action,
            AccessList: self._access_list,
        }

    def _begin_with(self, compiled: Compiled, state: State) -> None:
        """These rules with a state of theirs."""
        self._compiled = compiled
        self._statements.begin_with(compiled.rules, compiled.suppresses)
        most = len(compiled.assets)
        room = max(EVENT_ROOM, 4 * (most + len(compiled.told)))
        self._events = Events(np.empty((room, 5), np.int64), np.empty((room, compiled.shown)))
        self._due = np.empty(most, np.int64)
        self._work = fresh_work(compiled)
        self._go_on_with(state)

    def _go_on_with(self, state: State) -> None:
        """The same rules with another state of theirs."""
        self._state, compiled = state, self._compiled
        gpus, plant = self._work
        self._held = faces.hold(
            compiled.gpu_code, state.gpus, gpus, compiled.plant_code, state.plant, plant, state.points,
            state.soonest, self._events, self._counts,
        )  # fmt: skip

    def offer(self, rules_digest: str, rules: Compiled | str) -> None:
        """What an activation of `rules_digest` means: these rules, or why it has to be refused.

        Part of the log's meaning, so the same whenever the log is run: the last offer of each digest stands. An engine
        that is offered nothing keeps the rules that it has, whatever is activated.
        """
        self._offers[rules_digest] = rules

    def withdraw_offers(self) -> None:
        """All but that of the rules that rule: tables are large, and who runs for months would keep them all."""
        self._offers = {self.rules_digest: self._compiled}

    def lacks(self, rules_digest: str) -> bool:
        """Whether an activation of `rules_digest` would find no offer."""
        return rules_digest not in self._offers

    def believes(self, value: Activation) -> bool:
        """Whether an activation that came next would count as its signer's word: else an offer would be for nothing."""
        return not self._access.forgery(value, self._tick_ns)

    @property
    def access_digest(self) -> str:
        """Of the access list that rules, "" where there is none."""
        return self._access.digest

    def heard(self) -> dict[str, tuple[int, int]]:
        """The last (epoch, sequence) of each source that it has taken in."""
        return self._sources.heard()

    def chain_end(self) -> ChainEnd:
        """The last line that it has said for the journal."""
        return self._statements.chain_end

    def silent_points(self) -> frozenset[str]:
        """Points of the unit of which it never took in a sample."""
        times = self._state.points.times
        return frozenset(point for point, row in self._compiled.point_index.items() if times[row] == LONG_AGO)

    def step(self, inputs: Sequence[Input]) -> list[Output]:
        """Take `inputs` in their order in the log; everything that follows from them, in a fixed order."""
        out: list[Output] = []
        unit = self.unit.id
        for value in inputs:
            if value.unit != unit:
                raise InvariantError(f"an input of unit '{value.unit}' reached the engine of '{unit}'")
            if type(value) is Tick:
                self._tick(value, out)
                continue
            if isinstance(value, SIGNED) and self._is_forged(value, out):
                continue
            cause = Cause(unit, *value.identity)
            if self._sources.is_new(value, self.now_ns, cause, out):
                self._take[type(value)](value, cause, out)
        self.counters["inputs"] += len(inputs)
        return out

    def snapshot(self) -> bytes:
        """All that the engine remembers, as bytes: equal states give equal bytes."""
        header = {
            "unit": self.unit.id,
            "rules_digest": self.rules_digest,
            "now_ns": self.now_ns,
            "begun_ns": self._begun_ns,
            "told": dict(self._told),
            "counters": dict(self.counters),
            "sources": self._sources.saved(),
            "alarms": self._statements.saved(),
            "access": self._access.saved(),
            "forged": [*self._forged],
        }
        return snapshot.pack(header, self._compiled, self._state)

    def restore(self, data: bytes) -> None:
        """Take over what a snapshot holds, but its rules. A rule whose definition has changed since starts afresh.

        Raises HeadraceError for bytes that are no snapshot, are damaged, or belong to another unit.
        """
        header, state, kept = snapshot.unpack(data, self.unit.id, self._compiled)
        self._go_on_with(state)
        self.now_ns = header["now_ns"]
        self._begun_ns = header["begun_ns"]
        self._told = Counter(header["told"])
        self.counters.clear()
        self.counters.update(dict.fromkeys(COUNTERS, 0) | header["counters"])
        self._sources.adopt(header["sources"])
        rules = (rule for rule in self._compiled.rules if rule.id in kept)
        self._statements.restore(header["alarms"], rules)
        self._access.adopt(header["access"])
        at_ns, count = header["forged"]
        self._forged = at_ns, count
        if self.now_ns != LONG_AGO:
            self._begin(self.now_ns)

    # -- time

    def _tick(self, tick: Tick, out: list[Output]) -> None:
        if not self._sources.is_new_tick(tick.identity):
            return
        self.counters["ticks"] += 1
        first = self.now_ns == LONG_AGO
        self.now_ns = max(self.now_ns, sane(tick.time_ns))
        if first:
            self._begun_ns = self.now_ns
            self._begin(self.now_ns)
        self._fire(self.now_ns, out)
        if self._sources.notes_due or not self._statements.is_settled:
            cause = input_cause(self.unit.id, tick.identity)
            self._statements.settle(out, cause, self.now_ns)
            self._sources.say_notes(self.now_ns, cause, out)

    def _begin(self, at_ns: int) -> None:
        """What was never seen is silent from `at_ns` on."""
        compiled, state = self._compiled, self._state
        faces.begin(at_ns, compiled.gpu_code, state.gpus, state.soonest)
        faces.begin(at_ns, compiled.plant_code, state.plant, state.soonest)

    def _fire(self, until_ns: int, out: list[Output]) -> None:
        """What is due up to `until_ns`: deadlines of conditions, then what waits for them and ends of silences."""
        self._fire_conditions(until_ns, out)
        self._statements.advance(out, until_ns)

    def _fire_conditions(self, until_ns: int, out: list[Output]) -> None:
        state = self._state
        if state.soonest[0] > until_ns:
            return
        base = self._compiled.gpu_conditions
        state.soonest[0] = NEVER
        of_gpus = _DUE(until_ns, state.gpus, 0, state.soonest, self._due, 0)
        count = _DUE(until_ns, state.plant, base, state.soonest, self._due, of_gpus)
        if not count:
            return
        due = self._due[:count]
        order = self._compiled.order[due]
        deadlines = state.gpus.deadlines.ravel(), state.plant.deadlines.ravel()
        at = np.concatenate([deadlines[0][due[:of_gpus]], deadlines[1][due[of_gpus:] - base]])
        due = due[np.lexsort((order[:, 1], order[:, 0], at))]
        for start in range(0, count, len(self._events.values)):
            part = due[start : start + len(self._events.values)]
            self._say(faces.fire(part, state.gpus, state.plant, self._events), None, out)

    # -- data

    def _frame(self, value: Frame, cause: Cause, out: list[Output]) -> None:
        samples, gpus = value.quality.shape
        source = self._sources[value.identity.source]
        self.counters["frames"] += 1
        self.counters["readings"] += samples * gpus * FIELD_COUNT
        if not self._evaluated(value, source, samples * gpus * FIELD_COUNT):
            return
        # Python's numbers: a frame has few samples, and they can't overflow.
        given_ns = value.time_ns.tolist()
        if given_ns:
            self._sources.clock(value, max(given_ns), self.now_ns, cause, out)
        lanes = self._gpu_lanes(value, samples)
        times_ns, verdicts = frame_times(value, given_ns, source, self.now_ns)
        values = plain(value.values, F32)
        quality = plain(value.quality, U8)
        sample = 0
        while sample < samples:
            count, sample = _FRAME(times_ns, verdicts, lanes, values, quality, sample, self._held)
            if count:  # the kernel says block after block and rule after rule: by sample, rule, lane instead
                order = np.lexsort(self._events.what[:count, (CONDITION, SAMPLE)].T)
                self._say(count, cause, out, order)
        self._count(source, FIELD_COUNT)

    def _gpu_lanes(self, value: Frame, samples: int) -> NDArray[np.int64]:
        """Lane of each GPU of a frame, -1 (and counted) for one that the unit lacks."""
        # A gateway sends the same GPUs each time: those of an asset's last frame are looked up once.
        which = value.gpu.tobytes()
        last = self._last_lanes.get(value.asset)
        if last is not None and last[0] == which:
            return last[1]
        below = self._lanes.get(value.asset, _NO_LANES)
        index = value.gpu.astype(np.int64)
        if len(index) and int(index.max()) < len(below):
            self._last_lanes[value.asset] = (which, below[index])
            return below[index]
        known = index < len(below)
        lanes = np.full(len(index), -1, np.int64)
        lanes[known] = below[index[known]]
        self.counters["unknown_gpus"] += int(np.count_nonzero(~known)) * samples * FIELD_COUNT
        return lanes

    def _readings(self, value: Readings, cause: Cause, out: list[Output]) -> None:
        total = len(value.points)
        source = self._sources[value.identity.source]
        self.counters["readings"] += total
        if not self._evaluated(value, source, total):
            return
        if total:
            self._sources.clock(value, int(value.time_ns.max()), self.now_ns, cause, out)
        index = self._point_index(value)
        self.counters["unknown_points"] += int(np.count_nonzero(index < 0))
        samples = Samples(
            index,
            plain(value.time_ns, I64),
            plain(value.values, F64),
            plain(value.quality, U8),
        )
        self._take_samples(samples, sane(value.ingest_ns), source, cause, out)
        self._count(source, 1)

    def _point_index(self, value: Readings) -> NDArray[np.int64]:
        """Place of each point in the tables, -1 for one that the unit lacks."""
        # A gateway reads the same points each time: those of a source's last readings are looked up once.
        source = value.identity.source
        last = self._last_points.get(source)
        if last is not None and last[0] == value.points:
            return last[1]
        found = map(self._compiled.point_index.get, value.points, repeat(-1))
        index = np.fromiter(found, np.int64, len(value.points))
        self._last_points[source] = value.points, index
        return index

    def _take_samples(
        self, samples: Samples, ingest_ns: int, source: SourceState, cause: Cause, out: list[Output]
    ) -> None:
        place = 0
        while place < len(samples.rows):
            count, place = _READINGS(
                *samples, ingest_ns, self.now_ns, source.tolerance_ns, source.lateness_ns, place, self._held,
            )  # fmt: skip
            self._say(count, cause, out)

    def _evaluated(self, value: Frame | Readings, source: SourceState, readings: int) -> bool:
        if not source.is_known:
            self.counters["unknown_sources"] += 1
        if value.backfill or source.is_backfill:
            self.counters["backfill"] += readings
            return False
        if self.now_ns == LONG_AGO:
            self.counters["before_first_tick"] += readings
            return False
        return True

    def _count(self, source: SourceState, readings_each: int) -> None:
        """Take what the kernel has counted."""
        counts = self._counts.tolist()
        if not any(counts):
            return
        out_of_order, not_good, late, corrected = (count * readings_each for count in counts)
        self._counts[:] = 0
        self.counters["out_of_order"] += out_of_order
        self.counters["not_good"] += not_good
        self.counters["late"] += late
        self.counters["clock_corrected"] += corrected
        self._sources.note(source, "out-of-order", out_of_order)
        self._sources.note(source, "late", late)

    def _say(
        self, count: int, cause: Cause | None, out: list[Output], order: NDArray[np.intp] | None = None
    ) -> None:
        """The kernel's events as outputs, in `order` where it is not that of the kernel."""
        if not count:
            return
        what, numbers = self._events.what[:count], self._events.values[:count]
        if order is not None:
            what, numbers = what[order], numbers[order]
        for (c, transition, at_ns, by_deadline, _), row in zip(what.tolist(), numbers.tolist(), strict=True):
            if transition == codes.FACT:
                out.append(self._tell(self._compiled.told[c - len(self._compiled.assets)], at_ns, *row[:2]))
                continue
            rule, asset = self._compiled.rules[self._compiled.rule_of[c]], self._compiled.assets[c]
            shown = {
                name: number if math.isfinite(number) else None
                for name, number in zip(rule.shown, row, strict=False)
            }
            heard = Transition(at_ns, rule, asset, _KINDS[transition], shown)
            self._statements.hear(out, cause, bool(by_deadline), heard)

    # -- the rest

    def _gap(self, value: Gap, cause: Cause, out: list[Output]) -> None:
        self._sources.gap(value, self.now_ns, cause, out)

    def _receipt(self, value: Receipt, cause: Cause, out: list[Output]) -> None:
        self.counters["receipts"] += 1
        detail: Detail = {
            "command": value.command,
            "actuator": value.actuator,
            "status": value.status,
            "value": value.value,
            "read_back": value.read_back,
            "detail": value.detail,
        }
        self._statements.entry(out, cause, "receipt", value.at_ns, detail)

    def _action(self, value: Action, cause: Cause, out: list[Output]) -> None:
        """What a person does, from its own time on: what was due before it has been."""
        self.counters["actions"] += 1
        at_ns = self._effective_ns(value.at_ns)
        if at_ns:
            self._fire(at_ns, out)
        denied, signers = self._access.refusal(value, self._tick_ns), self._access.signers(value)
        rule = self._rule(value.rule, value.asset)
        self._statements.act(out, cause, value, rule, at_ns, denied, signers)

    @property
    def _tick_ns(self) -> int | None:
        return None if self.now_ns == LONG_AGO else self.now_ns

    def _is_forged(self, value: Signed, out: list[Output]) -> bool:
        """Whether an input is not its signer's word; says so, with an id that is not made of its identity."""
        reason = self._access.forgery(value, self._tick_ns)
        if not reason:
            return False
        kind, counted = _SAID[type(value)]
        self.counters[counted] += 1
        self.counters[f"{counted}_refused"] += 1
        at_ns = self._tick_ns or 0
        self._forged = at_ns, self._forged[1] + 1 if self._forged[0] == at_ns else 1
        cause = Cause(self.unit.id, FORGED, *self._forged)
        self._statements.entry(out, cause, f"{kind}-refused", at_ns, self._access.of_forged(value, reason))
        return True

    def _access_list(self, value: AccessList, cause: Cause, out: list[Output]) -> None:
        """A list that an admin has signed rules from here on."""
        self.counters["access_lists"] += 1
        detail = self._access.take(value, self._tick_ns)
        is_refused = "reason" in detail
        self.counters["access_lists_refused"] += is_refused
        kind = "access-list-refused" if is_refused else "access-list"
        self._statements.entry(out, cause, kind, self._effective_ns(value.at_ns), detail)

    def _rule(self, rule_id: str, asset: str) -> Spoken | None:
        """A rule that has an alarm for the asset; None where there can't be one."""
        for row, rule in enumerate(self._compiled.rules):
            if rule.id == rule_id:
                of_rule = np.flatnonzero(self._compiled.rule_of == row)
                return rule if asset in {self._compiled.assets[c] for c in of_rule} else None
        return None

    def _effective_ns(self, at_ns: int) -> int:
        """When something takes effect that was said at a time: not before now, nor far ahead of it. 0 without a now."""
        return 0 if self.now_ns == LONG_AGO else min(max(at_ns, self.now_ns), self.now_ns + AHEAD_NS)

    def _activation(self, value: Activation, cause: Cause, out: list[Output]) -> None:
        """From its own time on: deadlines before it are the old rules', and alarms of rules that go end with it."""
        self.counters["activations"] += 1
        detail: Detail = {
            "site_digest": value.site_digest,
            "rules_digest": value.rules_digest,
            **self._access.activator(value),
        }
        at_ns = self._effective_ns(value.at_ns)
        offered = self._offers.get(value.rules_digest)
        if isinstance(offered, str):
            self.counters["activations_refused"] += 1
            self._statements.entry(out, cause, "activation-refused", at_ns, {**detail, "reason": offered})
            return
        if offered is not None and value.rules_digest != self.rules_digest:
            detail = {**detail, **self._take_up(offered, at_ns, out)}
            self.rules_digest = value.rules_digest
        self._statements.entry(out, cause, "activation", at_ns, detail)
        self._statements.settle(out, cause, at_ns)

    def _take_up(self, rules: Compiled, at_ns: int, out: list[Output]) -> Detail:
        """Go on with other rules; how many are the same, new or changed, gone or changed."""
        self._fire(at_ns, out)
        self._statements.take_all(out)
        before = {(rule.id, rule.definition) for rule in self._compiled.rules}
        state, kept = snapshot.carried_over(self._compiled, self._state, rules)
        self._begin_with(rules, state)
        self._statements.leave(kept | OWN_RULES)
        if self.now_ns == LONG_AGO:
            return {}  # what had not begun has left nothing: who starts at the log's beginning may have any rules
        self._begin(at_ns)
        after = {(rule.id, rule.definition) for rule in rules.rules}
        return {
            "rules_kept": len(before & after),
            "rules_new": len(after - before),
            "rules_gone": len(before - after),
            "alarms_closed": len(self._statements.orphans),
        }

    def _tell(self, part: Told, at_ns: int, value: float, known: float) -> Fact:
        self._told[part.to] += 1
        self.counters["facts_told"] += 1
        identity = Identity(FACT_SOURCE + self.unit.id, self._begun_ns, self._told[part.to])
        said = (value, int(known), Quality.GOOD) if math.isfinite(value) else (0.0, 0, Quality.BAD)
        return Fact(part.to, identity, part.name, part.asset, at_ns, *said, self.rules_digest)

    def _fact(self, value: Fact, cause: Cause, out: list[Output]) -> None:
        self.counters["facts"] += 1
        of_alarm = value.name.startswith(OF_ALARM)
        row = self._compiled.fact_rows.get(value.name, NOWHERE)
        if row == NOWHERE and not (of_alarm and self._statements.abroad.may_believe(key_of(value.name))):
            self.counters["unknown_facts"] += 1
            return
        if self.now_ns == LONG_AGO:
            self.counters["before_first_tick"] += 1
            return
        is_ours = value.rules_digest == self.rules_digest
        if of_alarm:
            self._alarm_elsewhere(value, is_ours, cause, out)
            return
        at_ns = sane(value.time_ns)
        samples = Samples(
            np.array([row, row + 1]),
            np.full(2, at_ns),
            np.array([value.value, value.known], np.float64),
            np.full(2, value.quality if is_ours else max(value.quality, Quality.UNCERTAIN), np.uint8),
        )
        source = self._sources[value.identity.source]
        self._take_samples(samples, at_ns, source, cause, out)
        self._counts //= 2  # a fact is one, with two numbers
        self._count(source, 1)

    def _alarm_elsewhere(self, value: Fact, is_ours: bool, cause: Cause, out: list[Output]) -> None:
        """Another unit's alarm that may explain some of this one: believed as long as its word is fresh."""
        passed_ns = self._statements.passed_ns
        at_ns = min(sane(value.time_ns), passed_ns)
        if not is_ours:  # units take rules up at different moments
            self.counters["not_good"] += 1
        elif at_ns + PERIODS * self._site.fact_period_ns <= passed_ns:
            self.counters["late"] += 1
        else:
            self._statements.told(out, cause, key_of(value.name), at_ns, value.value > 0)
