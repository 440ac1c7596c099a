"""Replay: a recording through the engine that ran it, unit by unit, in the order of the log.

Rules: the site and rules are those that the recording carries, and later those that its log activates, unless others
are given; nothing here knows the time; outputs depend on the inputs on `events` alone, so that a copy without its
outputs gives the same ones; what can't be decoded is counted by its reason. Outputs that the recording holds are
compared (`verification`) up to the first record that is missing: what follows from inputs that nobody has can't be the
same. Facts are inputs as they were recorded. Where other rules were given, or none are recorded, they are made anew and
reach their units after a fixed delay (`streams/facts.py`); then the order of the log over all units decides.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from rules.engine.engine import Engine
from rules.engine.facts import parts_of
from rules.engine.inputs import FACT_SOURCE, Activation, Fact, Frame, Gap, Identity, Input, Readings, Tick
from rules.engine.outputs import Alarm, Command, Output
from rules.engine.tables import Compiled, compile_unit
from rules.errors import HeadraceError, UndecodableError
from rules.language.program import Program
from rules.quality import Quality
from rules.site.model import Site
from streams.facts import Courier
from streams.missing import Missing, MissingRecords
from streams.record import Headers, header
from streams.recorded_site import recorded_rules
from streams.recording import Recording
from streams.recording_chunks import Place, Stored, record_of
from streams.replay_start import WHOLE, Begin, Part, find_begin
from streams.rule_folder import load_program
from streams.rule_set import UNKNOWN, RuleSet, note_rule_set
from streams.site_folder import load_site
from streams.snapshots import Snapshot
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL, RULE_SETS
from streams.verification import FactsBegin, FactsEnd, InputsBegin, InputsEnd, Verification, compare
from streams.wire import decode_input, decode_output, encode_input, encode_output

OUTPUT_TOPICS: Final = (ALARMS.name, COMMANDS.name, JOURNAL.name)
PATIENCE_NS: Final = 60_000_000_000
"""How far one unit's ticks may be behind another's where a part ends."""
ANSWER_NS: Final = 5_000_000_000
"""How long after the last input of a part, by the recorder's clock, what was said to it is awaited."""
BATCH: Final = 512
"""Inputs per call of the engine: how they are cut changes no output."""


@dataclass(slots=True)
class Replay:
    """What came in, and what came of it. `readings`: values that were there, without `not_available`."""

    site: Site
    program: Program
    frames: int = 0
    readings: int = 0
    not_available: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    gaps: list[Gap] = field(default_factory=list)
    undecodable: Counter[str] = field(default_factory=Counter)
    unknown_units: set[str] = field(default_factory=set)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    outputs: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    """Bytes by id, in the order of the engine, by (topic, unit)."""

    raised: dict[str, Alarm] = field(default_factory=dict)
    alarms: dict[str, Alarm] = field(default_factory=dict)
    """First and last word on each occurrence of an alarm, by the id of its raising."""

    commands: list[Command] = field(default_factory=list)
    ends: dict[str, InputsEnd] = field(default_factory=dict)
    begins: dict[str, InputsBegin] = field(default_factory=dict)
    """Of the units that were restored from a snapshot: all else here is of what came behind it."""

    verification: Verification | None = None
    damage: list[str] = field(default_factory=list)
    missing: Mapping[tuple[str, int], Missing] = field(default_factory=dict)
    """Records of `events` that damage has cost, by topic and partition."""

    facts_recorded: dict[tuple[str, str], dict[str, Fact]] = field(default_factory=dict)
    """Told while it was recorded, by what they say, by (topic, who told whom)."""

    facts_made: int | None = None
    """How many reached their units anew; None where the recorded ones, if any, were the inputs."""

    behind_damage: int = 0
    """Records of `events` that follow the first damage."""

    def digest(self, topic: str) -> str:
        """SHA-256 of a topic's outputs in the order of their ids."""
        outputs: dict[str, bytes] = {}
        for (name, _), said in self.outputs.items():
            outputs.update(said if name == topic else {})
        lines = (id_.encode() + b"\0" + outputs[id_] + b"\n" for id_ in sorted(outputs))
        return hashlib.sha256(b"".join(lines)).hexdigest()

    def counter(self, name: str) -> int:
        """An engine's counter, summed over the units."""
        return sum(counters[name] for counters in self.counters.values())

    @property
    def is_foreign(self) -> bool:
        """Whether the site knows none of the recorded units, or none of their points and GPUs."""
        unknown = self.counter("unknown_points") + self.counter("unknown_gpus")
        not_evaluated = self.counter("backfill") + self.counter("before_first_tick")
        known = self.counter("readings") - not_evaluated - unknown
        return known <= 0 < unknown + self.undecodable["unknown-unit"]


class Chosen(NamedTuple):
    """With what a recording is replayed. `recorded`: the rule set that it carries, None where others were given."""

    site: Site
    program: Program
    recorded: RuleSet | None = None


def choose_site(recording: Recording, site_dir: Path | None, rules: Path | None) -> Chosen:
    """The recorded site and rules, or those of `site_dir`, or other `rules` (a folder or file) for either."""
    if site_dir is not None:
        site = load_site(site_dir)
        return Chosen(site, load_program(site_dir, site, rules))
    recorded = recorded_rules(recording)
    site, program = recorded.load(f"{recording.path}:")
    if rules is not None:
        return Chosen(site, load_program(Path(), site, rules))
    return Chosen(site, program, recorded)


def replay(recordings: Sequence[Recording], chosen: Chosen, verify: bool, part: Part = WHOLE) -> Replay:
    """Run the recordings, one after the other as one log; `verify`: compare the outputs that they hold, if any.

    Recorded rules are replaced where the log activates others; rules that were given rule from end to end. A `part` of
    one recording begins at the snapshots before it, where the recording has them.
    """
    recorded = _Recorded(part.units or chosen.site.units) if verify else None
    result = _run(recordings, chosen, part, recorded)
    result.damage = [line for recording in recordings for line in recording.damage]
    if recorded is not None and (recorded.said or recorded.behind):
        intact = _run(recordings, chosen, part, only_intact=True) if result.behind_damage else result
        facts = {
            key: {name: {_content(fact)} for name, fact in told.items()}
            for key, told in intact.facts_recorded.items()
            if _sender(key) in intact.ends
        }
        result.verification = compare(
            {**recorded.said, **facts}, intact.outputs, _ends(intact), _begins(intact)
        )
        result.verification.not_compared = recorded.behind
    return result


class _Activated:
    """The rule sets that the log activates, as the recordings have them."""

    def __init__(self, recordings: Sequence[Recording], chosen: Chosen) -> None:
        self._recordings = recordings
        self._site = chosen.site
        self._program = chosen.program
        self._keeps = chosen.recorded is None
        self._first_digest = chosen.recorded.digest if chosen.recorded else ""
        self._compiled: dict[str, Compiled] = {}
        self._found: dict[str, RuleSet] | None = None
        self._made: dict[str, dict[str, Compiled] | str] = {}

    def offer(self, inputs: Iterable[Input], engine: Engine) -> None:
        """What the activations among `inputs` mean to an engine."""
        for value in inputs:
            if isinstance(value, Activation) and not self._keeps and engine.lacks(value.rules_digest):
                made = self._meaning(value.rules_digest)
                engine.offer(value.rules_digest, made if isinstance(made, str) else made[value.unit])

    def _meaning(self, digest: str) -> dict[str, Compiled] | str:
        if self._found is None:
            self._found = {}
            for recording in self._recordings:
                for stored in recording.of_topic(RULE_SETS.name):
                    note_rule_set(record_of(stored), self._found)
        if digest not in self._made:
            rule_set = self._found.get(digest)
            self._made[digest] = (
                UNKNOWN if rule_set is None else rule_set.compiled_for(self._site.digest, self._site.units)
            )
        return self._made[digest]

    def rules(self, unit: str) -> set[str]:
        """Ids of all rules that may have ruled."""
        offered = (made[unit] for made in self._made.values() if not isinstance(made, str))
        return {rule.id for compiled in offered for rule in compiled.rules}

    def engine(self, unit: str) -> Engine:
        """An empty one, with the rules that the replay begins with."""
        return Engine(self._first(unit), self._site, unit, self._first_digest)

    def restored(self, snapshot: Snapshot) -> Engine | None:
        """The engine of a snapshot, with the rules that ruled then or with those that were given."""
        rules, digest = self._first(snapshot.unit), self._first_digest
        if not self._keeps and snapshot.rules_digest not in ("", digest):
            digest = snapshot.rules_digest
            made = self._meaning(digest)
            if isinstance(made, str):
                return None
            rules = made[snapshot.unit]
        engine = Engine(rules, self._site, snapshot.unit, digest)
        try:
            engine.restore(snapshot.state)
        except HeadraceError:
            return None  # another version's
        return engine

    def _first(self, unit: str) -> Compiled:
        if unit not in self._compiled:
            self._compiled[unit] = compile_unit(self._program, self._site, self._site.units[unit])
        return self._compiled[unit]


def _run(
    recordings: Sequence[Recording],
    chosen: Chosen,
    part: Part,
    recorded_outputs: _Recorded | None = None,
    only_intact: bool = False,
) -> Replay:
    """All inputs through the engines; `only_intact`: those before the first damage. `recorded_outputs`: to fill."""
    site, program, recorded = chosen
    result = Replay(site, program)
    activated = _Activated(recordings, chosen)
    makes_facts = bool(parts_of(program, site).facts()) and not (recorded and _has_facts(recordings))
    shown = part.units or site.units
    # facts that are made anew come of units that nobody asks for, too
    units = site.units if makes_facts else shown
    begin = Begin()
    if part.from_ns and len(recordings) == 1:
        begin = find_begin(recordings[0], units, part.from_ns, activated.restored)
    engines = {unit: begin.engines.get(unit) or activated.engine(unit) for unit in units}
    before = {unit: Counter(engine.counters) for unit, engine in engines.items()}
    last = {unit: engine.heard() for unit, engine in engines.items()}
    for unit, engine in begin.engines.items():
        result.begins[unit] = InputsBegin(
            unit, engine.heard(), engine.now_ns, set(), _assets(site, unit), _ahead_ns(site)
        )
    courier = Courier()
    reader = _Reader(recordings, result, part, begin, units)
    events = reader.events(recorded_outputs, only_intact)
    if makes_facts:
        events = (value for value in events if not isinstance(value, Fact))
    for unit, inputs in _batches(events, result, last, 1 if makes_facts else BATCH):
        activated.offer(inputs, engines[unit])
        due = [fact for value in inputs for fact in courier.due(value)]
        outputs = engines[unit].step([*due, *inputs])
        if makes_facts:
            courier.take(outputs)
        for output in outputs:
            is_shown = output.unit in shown if not isinstance(output, Fact) else output.unit in units
            if is_shown and not (makes_facts and isinstance(output, Fact)):
                _keep(output, result)
    result.facts_made = courier.delivered if makes_facts else None
    _leave_out(result, part.from_ns)
    for unit, engine in engines.items():
        counters = {name: count - before[unit][name] for name, count in engine.counters.items()}
        result.counters[unit] = counters
        rules = activated.rules(unit) | {rule.id for rule in program.rules}
        result.ends[unit] = InputsEnd(unit, last[unit], engine.now_ns, rules, _assets(site, unit))
        if unit in result.begins:
            result.begins[unit] = result.begins[unit]._replace(rules=rules)
    return result


def _assets(site: Site, unit: str) -> frozenset[str]:
    return frozenset(asset.id for asset in site.units[unit].assets)


def _ahead_ns(site: Site) -> int:
    return max((source.clock_tolerance_ns for source in site.sources.values()), default=0)


def _leave_out(result: Replay, from_ns: int) -> None:
    """What ended before the part that is asked for: it was run to come to the state at its beginning."""
    result.alarms = {
        id_: alarm
        for id_, alarm in result.alarms.items()
        if alarm.cleared_ns is None or alarm.cleared_ns >= from_ns
    }
    result.commands = [command for command in result.commands if command.cause_ns >= from_ns]


def _in_order(
    recordings: Iterable[Recording], missing: MissingRecords, chunk: int
) -> Iterator[tuple[bool, Stored]]:
    """Every record of the topics of `missing`, which looks on, and whether all before it could be read.

    From a `chunk` on, what lies before is not missed.
    """
    is_intact = True
    for recording in recordings:
        if not chunk:
            missing.begin(recording, is_intact)
        for stored in recording.stored(missing.topics, chunk):
            is_intact = is_intact and not recording.lacks_records
            log_ns, place, offset, _, _ = stored
            missing.pass_by(place[:2], offset, log_ns, is_intact)
            yield is_intact, stored
        is_intact = is_intact and not recording.lacks_records
        missing.end(recording)


@dataclass(slots=True)
class _Reader:
    """Reads what a part of the log needs, and no further: the log of one unit may be behind that of another."""

    recordings: Sequence[Recording]
    result: Replay
    part: Part
    begin: Begin
    units: Collection[str]
    passed: set[str] = field(default_factory=set)
    """Units whose ticks have passed the end of the part."""

    until_log_ns: int | None = None
    """When all have: for how long what they said is still awaited."""

    def events(self, recorded: _Recorded | None, only_intact: bool) -> Iterator[Input]:
        """The inputs of the part. What was said to them goes to `recorded`."""
        result = self.result
        missing = MissingRecords({EVENTS.name, *(OUTPUT_TOPICS if recorded is not None else ())})
        for is_intact, (log_ns, place, offset, _, value) in _in_order(
            self.recordings, missing, self.begin.chunk
        ):
            if not is_intact and only_intact:
                return
            if self.until_log_ns is not None and (recorded is None or log_ns > self.until_log_ns):
                break
            if place.topic != EVENTS.name:
                if recorded is not None:
                    recorded.take(place, value, is_intact)
                continue
            result.behind_damage += not is_intact
            try:
                made = decode_input(place.key, place.headers, value)
            except UndecodableError as error:
                result.undecodable[error.reason] += 1
                continue
            if made.unit not in result.site.units:
                result.undecodable["unknown-unit"] += 1
                result.unknown_units.add(made.unit)
            elif made.unit in self.units and self.begin.covers(made.unit, offset):
                if isinstance(made, Fact):  # who told it may have begun before who was told
                    _note_fact(made, result)
            elif made.unit in self.units:
                if self.part.to_ns is not None and self._is_behind(made, self.part.to_ns, log_ns):
                    continue
                yield made
        result.missing = {place: one for place, one in missing.spans.items() if place[0] == EVENTS.name}
        if recorded is not None:
            lost = sum(one.records for place, one in missing.spans.items() if place[0] != EVENTS.name)
            recorded.behind += lost

    def _is_behind(self, value: Input, to_ns: int, log_ns: int) -> bool:
        """Whether an input lies behind the part: from a unit's first tick after its end on."""
        if isinstance(value, Tick) and value.time_ns > to_ns:
            self.passed.add(value.unit)
            is_over = len(self.passed) == len(self.units) or value.time_ns > to_ns + PATIENCE_NS
            if is_over and self.until_log_ns is None:
                self.until_log_ns = log_ns + ANSWER_NS
        return value.unit in self.passed


def _batches(
    inputs: Iterable[Input], result: Replay, last: Mapping[str, dict[str, tuple[int, int]]], size: int
) -> Iterator[tuple[str, list[Input]]]:
    """`last`: (epoch, sequence) by unit and source, kept up to date."""
    waiting: dict[str, list[Input]] = {unit: [] for unit in last}
    for value in inputs:
        identity = value.identity
        known, number = last[value.unit], (identity.epoch, identity.sequence)
        if number > known.get(identity.source, (-1, 0)):
            # what comes twice is counted once, as the engine takes it once
            known[identity.source] = number
            _count(value, result)
        batch = waiting[value.unit]
        batch.append(value)
        if len(batch) >= size:
            yield value.unit, batch
            waiting[value.unit] = []
    yield from waiting.items()


def _count(value: Input, result: Replay) -> None:
    if isinstance(value, Frame):
        missing = int(np.count_nonzero(np.isnan(value.values)))
        result.frames += 1
        result.not_available += missing
        result.readings += value.values.size - missing
        _note_times(value.time_ns.tolist(), result)
    elif isinstance(value, Readings):
        missing = int(np.count_nonzero(value.quality == Quality.MISSING))
        result.not_available += missing
        result.readings += len(value.points) - missing
        if len(value.points):
            _note_times([int(value.time_ns.min()), int(value.time_ns.max())], result)
    elif isinstance(value, Gap):
        result.gaps.append(value)
    elif isinstance(value, Fact):
        _note_fact(value, result)


def _note_fact(fact: Fact, result: Replay) -> None:
    result.facts_recorded.setdefault(_told_to(fact), {})[_name_of(fact)] = fact


def _note_times(times_ns: list[int], result: Replay) -> None:
    if times_ns:
        first_ns, last_ns = min(times_ns), max(times_ns)
        result.first_ns = first_ns if result.first_ns is None else min(result.first_ns, first_ns)
        result.last_ns = last_ns if result.last_ns is None else max(result.last_ns, last_ns)


def _keep(output: Output, result: Replay) -> None:
    if isinstance(output, Fact):
        result.outputs.setdefault(_told_to(output), {})[_name_of(output)] = _content(output)
        return
    message = encode_output(output, 1)
    result.outputs.setdefault((message.topic, output.unit), {})[output.id] = message.value or b""
    if isinstance(output, Alarm):
        result.raised.setdefault(output.raised_id, output)
        result.alarms[output.raised_id] = output
    elif isinstance(output, Command):
        result.commands.append(output)


def _has_facts(recordings: Iterable[Recording]) -> bool:
    """Whether units told each other something while it was recorded."""
    for recording in recordings:
        places = [place for place in recording.places.values() if place.topic == EVENTS.name]
        if any(_is_told(place.headers) for place in places):
            return True
        # what no index names, or what lies where channels say nothing of it, has to be looked for
        if not places or any(place.is_wrapped for place in places):
            found = recording.stored({EVENTS.name})
            if any(_is_told(place.headers) for _, place, _, _, _ in found):
                return True
    return False


def _is_told(headers: Headers) -> bool:
    return (header(headers, "source") or b"").startswith(FACT_SOURCE.encode())


def _told_to(fact: Fact) -> tuple[str, str]:
    return EVENTS.name, f"{fact.unit}:{fact.identity.source}"


def _name_of(fact: Fact) -> str:
    """What is told, and when: a recording that began later counts the sender's facts otherwise."""
    return f"{fact.unit}:{fact.identity.source}:{fact.name}:{fact.time_ns}"


def _content(fact: Fact) -> bytes:
    return encode_input(replace(fact, identity=Identity(fact.identity.source, 0, 0)), 1).value or b""


def _sender(place: tuple[str, str]) -> str:
    return place[1].rpartition(FACT_SOURCE)[2]


def _begins(intact: Replay) -> dict[str, InputsBegin | FactsBegin]:
    begins: dict[str, InputsBegin | FactsBegin] = {**intact.begins}
    for place, facts in intact.facts_recorded.items():
        sender = intact.begins.get(_sender(place))
        if sender is not None:
            times_ns = {name: fact.time_ns for name, fact in facts.items()}
            begins[place[1]] = FactsBegin(sender.now_ns, sender.ahead_ns, times_ns)
    return begins


def _ends(intact: Replay) -> dict[str, InputsEnd | FactsEnd]:
    ends: dict[str, InputsEnd | FactsEnd] = {**intact.ends}
    for place, facts in intact.facts_recorded.items():
        told_to, sender = place[1], _sender(place)
        now_ns = intact.ends[sender].now_ns if sender in intact.ends else 0
        ends[told_to] = FactsEnd(now_ns, {name: fact.time_ns for name, fact in facts.items()})
    return ends


@dataclass(slots=True)
class _Recorded:
    """What the run said before the first damage; `behind`: outputs recorded behind it, or lost to it."""

    units: Collection[str]
    said: dict[tuple[str, str], dict[str, set[bytes]]] = field(default_factory=dict)
    behind: int = 0

    def take(self, place: Place, value: bytes | None, is_intact: bool) -> None:
        """A record of an output topic."""
        if value is None:
            return
        try:
            output = decode_output(place.headers, value)
        except UndecodableError:
            return  # garbage on an output topic is no word of the engine
        if output.unit not in self.units:
            return
        if is_intact:
            self.said.setdefault((place.topic, output.unit), {}).setdefault(output.id, set()).add(value)
        else:
            self.behind += 1
