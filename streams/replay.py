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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from rules.engine.engine import Engine
from rules.engine.facts import parts_of
from rules.engine.inputs import FACT_SOURCE, Activation, Fact, Frame, Gap, Identity, Input, Readings
from rules.engine.outputs import Alarm, Command, Output
from rules.engine.tables import Compiled
from rules.errors import UndecodableError
from rules.language.program import Program
from rules.quality import Quality
from rules.site.model import Site
from streams.facts import Courier
from streams.missing import Missing, MissingRecords
from streams.record import Record
from streams.recorded_site import recorded_rules
from streams.recording import Recording
from streams.rule_folder import load_program
from streams.rule_set import UNKNOWN, RuleSet, note_rule_set
from streams.segments import MISSED_KEY, missed_before
from streams.site_folder import SITE_FILE, load_site
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL, RULE_SETS
from streams.verification import FactsEnd, InputsEnd, Said, Verification, compare
from streams.wire import decode_input, decode_output, encode_input, encode_output

OUTPUT_TOPICS: Final = (ALARMS.name, COMMANDS.name, JOURNAL.name)
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
    verification: Verification | None = None
    damage: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    """What nobody recorded of logs that were replaced by fresh ones."""

    missing: Mapping[tuple[str, int], Missing] = field(default_factory=dict)
    """Records of `events` that are missing, by topic and partition."""

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


def replay(recordings: Sequence[Recording], chosen: Chosen, verify: bool) -> Replay:
    """Run the recordings, one after the other as one log; `verify`: compare the outputs that they hold, if any.

    Recorded rules are replaced where the log activates others; rules that were given rule from end to end.
    """
    result = _run(recordings, chosen, only_intact=False)
    result.damage = [line for recording in recordings for line in recording.damage]
    result.missed = missed_before(recordings)
    if verify:
        recorded, behind = _recorded_outputs(recordings)
        if recorded or behind:
            intact = _run(recordings, chosen, only_intact=True) if result.behind_damage else result
            facts = {
                key: {name: {_content(fact)} for name, fact in told.items()}
                for key, told in intact.facts_recorded.items()
            }
            result.verification = compare({**recorded, **facts}, intact.outputs, _ends(intact))
            result.verification.not_compared = behind
    return result


class _Activated:
    """The rule sets that the log activates, as the recordings have them."""

    def __init__(self, recordings: Sequence[Recording], chosen: Chosen) -> None:
        self._recordings = recordings
        self._site = chosen.site
        self._keeps = chosen.recorded is None
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
                if SITE_FILE in recording.attachments:  # the segment of its publication may be long gone
                    carried = recorded_rules(recording)
                    self._found[carried.digest] = carried
                for _, record in recording.timed_records({RULE_SETS.name}):
                    note_rule_set(record, self._found)
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


def _run(recordings: Sequence[Recording], chosen: Chosen, only_intact: bool) -> Replay:
    """All inputs through the engines; `only_intact`: those before the first damage."""
    site, program, recorded = chosen
    result = Replay(site, program)
    digest = recorded.digest if recorded else ""
    engines = {unit: Engine(program, site, unit, digest) for unit in site.units}
    activated = _Activated(recordings, chosen)
    last: dict[str, dict[str, tuple[int, int]]] = {unit: {} for unit in site.units}
    makes_facts = bool(parts_of(program, site).facts()) and not (recorded and _has_facts(recordings))
    courier = Courier()
    events = _events(recordings, result, only_intact)
    if makes_facts:
        events = (value for value in events if not isinstance(value, Fact))
    for unit, inputs in _batches(events, result, last, 1 if makes_facts else BATCH):
        activated.offer(inputs, engines[unit])
        due = [fact for value in inputs for fact in courier.due(value)]
        outputs = engines[unit].step([*due, *inputs])
        if makes_facts:
            courier.take(outputs)
        for output in outputs:
            if not (makes_facts and isinstance(output, Fact)):
                _keep(output, result)
    result.facts_made = courier.delivered if makes_facts else None
    result.counters = {unit: dict(engine.counters) for unit, engine in engines.items()}
    for unit, engine in engines.items():
        rules = activated.rules(unit) | {rule.id for rule in program.rules}
        assets = frozenset(asset.id for asset in site.units[unit].assets)
        result.ends[unit] = InputsEnd(unit, last[unit], engine.now_ns, rules, assets)
    return result


def _in_order(recordings: Iterable[Recording], missing: MissingRecords) -> Iterator[tuple[bool, Record]]:
    """Every record of the topics of `missing`, which looks on, and whether all before it could be read."""
    is_intact = True
    for number, recording in enumerate(recordings):
        is_intact = is_intact and not (number and MISSED_KEY in recording.metadata)
        missing.begin(recording, is_intact)
        for log_ns, record in recording.timed_records(missing.topics):
            is_intact = is_intact and not recording.lacks_records
            missing.pass_by(record, log_ns, is_intact)
            is_intact = is_intact and not missing.spans
            yield is_intact, record
        is_intact = is_intact and not recording.lacks_records
        missing.end(recording)


def _events(recordings: Iterable[Recording], result: Replay, only_intact: bool) -> Iterator[Input]:
    missing = MissingRecords({EVENTS.name})
    for is_intact, record in _in_order(recordings, missing):
        if not is_intact:
            if only_intact:
                return
            result.behind_damage += 1
        try:
            value = decode_input(record.key, record.headers, record.value)
        except UndecodableError as error:
            result.undecodable[error.reason] += 1
            continue
        if value.unit not in result.site.units:
            result.undecodable["unknown-unit"] += 1
            result.unknown_units.add(value.unit)
            continue
        yield value
    result.missing = missing.spans


def _batches(
    inputs: Iterable[Input], result: Replay, last: Mapping[str, dict[str, tuple[int, int]]], size: int
) -> Iterator[tuple[str, list[Input]]]:
    """`last`: (epoch, sequence) by unit and source, kept up to date."""
    waiting: dict[str, list[Input]] = {unit: [] for unit in result.site.units}
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
    if isinstance(value, Readings | Frame) and len(value.time_ns):
        first_ns, last_ns = int(value.time_ns.min()), int(value.time_ns.max())
        result.first_ns = first_ns if result.first_ns is None else min(result.first_ns, first_ns)
        result.last_ns = last_ns if result.last_ns is None else max(result.last_ns, last_ns)
    if isinstance(value, Readings):
        missing = int(np.count_nonzero(value.quality == Quality.MISSING))
        result.not_available += missing
        result.readings += len(value.points) - missing
    elif isinstance(value, Frame):
        missing = int(np.count_nonzero(np.isnan(value.values)))
        result.frames += 1
        result.not_available += missing
        result.readings += value.values.size - missing
    elif isinstance(value, Gap):
        result.gaps.append(value)
    elif isinstance(value, Fact):
        result.facts_recorded.setdefault(_told_to(value), {})[_name_of(value)] = value


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
    return any(
        any(name == "source" and value.startswith(FACT_SOURCE.encode()) for name, value in record.headers)
        for recording in recordings
        for _, record in recording.timed_records({EVENTS.name})
    )


def _told_to(fact: Fact) -> tuple[str, str]:
    return EVENTS.name, f"{fact.unit}:{fact.identity.source}"


def _name_of(fact: Fact) -> str:
    """What is told, and when: a recording that began later counts the sender's facts otherwise."""
    return f"{fact.unit}:{fact.identity.source}:{fact.name}:{fact.time_ns}"


def _content(fact: Fact) -> bytes:
    return encode_input(replace(fact, identity=Identity(fact.identity.source, 0, 0)), 1).value or b""


def _ends(intact: Replay) -> dict[str, InputsEnd | FactsEnd]:
    ends: dict[str, InputsEnd | FactsEnd] = {**intact.ends}
    for (_, told_to), facts in intact.facts_recorded.items():
        sender = told_to.rpartition(FACT_SOURCE)[2]
        now_ns = intact.ends[sender].now_ns if sender in intact.ends else 0
        ends[told_to] = FactsEnd(now_ns, {name: fact.time_ns for name, fact in facts.items()})
    return ends


def _recorded_outputs(recordings: Iterable[Recording]) -> tuple[Said, int]:
    """What the run said before the first damage, and how many outputs are recorded behind it or lost to it."""
    said: dict[tuple[str, str], dict[str, set[bytes]]] = {}
    behind = 0
    missing = MissingRecords(OUTPUT_TOPICS)
    for is_intact, record in _in_order(recordings, missing):
        if record.value is None:
            continue
        try:
            output = decode_output(record.headers, record.value)
        except UndecodableError:
            continue  # garbage on an output topic is no word of the engine
        if is_intact:
            said.setdefault((record.topic, output.unit), {}).setdefault(output.id, set()).add(record.value)
        else:
            behind += 1
    return said, behind + sum(one.records for one in missing.spans.values())
