"""Replay: a recording through the engine that ran it, unit by unit, in the order of the log.

Rules: the site and rules are those that the recording carries, and later those that its log activates, unless others
are given; nothing here knows the time; outputs depend on the inputs on `events` alone, so that a copy without its
outputs gives the same ones; what can't be decoded is counted by its reason. Outputs that the recording holds are
compared (`verification`) up to the first record that is missing: what follows from inputs that nobody has can't be the
same. Facts are inputs as they were recorded. Where other rules were given, or none are recorded, they are made anew and
reach their units after a fixed delay (`streams/facts.py`); then the order of the log over all units decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from rules.engine.facts import parts_of
from rules.engine.inputs import FACT_SOURCE, Fact, Input
from rules.site.model import Site
from streams.facts import Courier
from streams.record import Headers, header
from streams.recording.recording import Recording
from streams.recording.segments import missed_before
from streams.replay.inputs import Reader, RecordedOutputs, Watch
from streams.replay.replayed import OUTPUT_TOPICS, Hear, Replay, count, keep
from streams.replay.rules import ActivatedRules, Chosen
from streams.replay.seek import Begin, find_begin
from streams.replay.start import WHOLE, Part, cut_from_ns
from streams.replay.verification import Comparison, FactsBegin, FactsEnd, InputsBegin, InputsEnd
from streams.topics import EVENTS

BATCH: Final = 128
"""Inputs per call of the engine: how they are cut changes no output."""


def replay(
    recordings: Sequence[Recording],
    chosen: Chosen,
    verify: bool,
    part: Part = WHOLE,
    watch: Watch | None = None,
    batch: int = BATCH,
    hear: Hear | None = None,
) -> Replay:
    """Run the recordings, one after the other as one log; `verify`: compare the outputs that they hold, if any.

    Recorded rules are replaced where the log activates others; rules that were given rule from end to end. A `part`
    begins at the snapshots before it, where the recordings have them, and a cut at its own. `watch` looks on, and
    `hear` hears every output; who wants them as they come takes a `batch` of 1.
    """
    part = replace(part, from_ns=part.from_ns or cut_from_ns(recordings))
    run = _Run(recordings, chosen, part)
    begin, shown, result = run.begin, set(run.shown), run.result
    recorded = None
    if verify and has_outputs(recordings):
        compared = begin.engines.keys() & shown if begin.engines else shown
        recorded = RecordedOutputs(Comparison(), compared, shown - compared)
    reader = Reader(recordings, result, part, begin, run.engines.keys(), recorded, watch)
    run.through(reader.until_damage(), batch, hear, recorded)
    if recorded is not None:
        # before what follows from inputs that nobody has, which can't be the same
        verification = recorded.comparison.finish(run.ends(), run.begins())
    run.through(reader.behind_damage(), batch, hear, None)
    run.close(reader.last_file)
    if recorded is not None and (recorded.comparison.has_recorded or recorded.behind):
        verification.not_compared = recorded.behind
        result.verification = verification
    result.damage = [line for recording in recordings for line in recording.damage]
    result.missed = missed_before(recordings[result.files[0] : result.files[1] + 1])
    return result


class _Run:
    """The engines of a replay, from where it begins."""

    def __init__(self, recordings: Sequence[Recording], chosen: Chosen, part: Part) -> None:
        site, program, recorded = chosen
        self.result = Replay(site, program, part)
        self.shown: Collection[str] = part.units or site.units.keys()
        self._activated = activated = ActivatedRules(recordings, chosen)
        self._makes_facts = bool(parts_of(program, site).facts()) and not (recorded and has_facts(recordings))
        # facts that are made anew come of units that nobody asks for, too
        units = site.units.keys() if self._makes_facts else self.shown
        self.begin = (
            find_begin(recordings, units, part.from_ns, activated.restored) if part.from_ns else Begin()
        )
        self.engines = {unit: self.begin.engines.get(unit) or activated.engine(unit) for unit in units}
        self._before = {unit: Counter(engine.counters) for unit, engine in self.engines.items()}
        self._last = {unit: engine.heard() for unit, engine in self.engines.items()}
        self._courier = Courier()
        for unit, engine in self.begin.engines.items():
            self.result.begins[unit] = InputsBegin(
                unit, engine.heard(), engine.now_ns, set(), _assets(site, unit), _ahead_ns(site)
            )

    def through(
        self, events: Iterator[Input], batch: int, hear: Hear | None, recorded: RecordedOutputs | None
    ) -> None:
        """Inputs through the engines; what those say that are compared goes to the comparison."""
        result, engines, courier = self.result, self.engines, self._courier
        if self._makes_facts:
            events, batch = (value for value in events if not isinstance(value, Fact)), 1
        for unit, inputs in _batches(events, result, self._last, batch):
            self._activated.offer(inputs, engines[unit])
            due = [fact for value in inputs for fact in courier.due(value)]
            outputs = engines[unit].step([*due, *inputs])
            if self._makes_facts:
                courier.take(outputs)
            compares = recorded.comparison.replay if recorded and unit in recorded.units else None
            for output in outputs:
                is_fact = isinstance(output, Fact)
                if output.unit in (engines if is_fact else self.shown) and not (
                    is_fact and self._makes_facts
                ):
                    keep(output, result, [one for one in (hear, compares) if one is not None])

    def ends(self) -> dict[str, InputsEnd | FactsEnd]:
        """Where the inputs of each unit, and what units tell each other, ends by now."""
        site, ends = self.result.site, dict[str, InputsEnd | FactsEnd]()
        for unit, engine in self.engines.items():
            last = dict(self._last[unit])
            ends[unit] = InputsEnd(unit, last, engine.now_ns, self._rules(unit), _assets(site, unit))
            ends |= {f"{told}:{FACT_SOURCE}{unit}": FactsEnd(engine.now_ns) for told in self.engines}
        return ends

    def begins(self) -> dict[str, InputsBegin | FactsBegin]:
        """What the restored states had said, with the rules that have ruled since."""
        begins = dict[str, InputsBegin | FactsBegin]()
        for unit, begin in self.result.begins.items():
            begins[unit] = begin._replace(rules=self._rules(unit))
            of_facts = FactsBegin(begin.now_ns, begin.ahead_ns)
            begins |= {f"{told}:{FACT_SOURCE}{unit}": of_facts for told in self.engines}
        return begins

    def _rules(self, unit: str) -> set[str]:
        return self._activated.rules(unit) | {rule.id for rule in self.result.program.rules}

    def close(self, last_file: int) -> None:
        """What is known at the end."""
        result = self.result
        result.files = self.begin.at.file, last_file
        result.facts_made = self._courier.delivered if self._makes_facts else None
        _leave_out(result)
        for unit, engine in self.engines.items():
            counts = engine.counters.items()
            result.counters[unit] = {name: count - self._before[unit][name] for name, count in counts}
            result.ends_ns[unit] = engine.now_ns
            result.silent |= engine.silent_points() if unit in self.shown else set()


def _assets(site: Site, unit: str) -> frozenset[str]:
    return frozenset(asset.id for asset in site.units[unit].assets)


def _ahead_ns(site: Site) -> int:
    return max((source.clock_tolerance_ns for source in site.sources.values()), default=0)


def _leave_out(result: Replay) -> None:
    """What ended before the part that is asked for: it was run to come to the state at its beginning."""
    from_ns = result.part.from_ns
    result.alarms = {
        id_: alarm
        for id_, alarm in result.alarms.items()
        if alarm.cleared_ns is None or alarm.cleared_ns >= from_ns
    }
    result.commands = [command for command in result.commands if command.cause_ns >= from_ns]


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
            count(value, result)
        batch = waiting[value.unit]
        batch.append(value)
        if len(batch) >= size:
            yield value.unit, batch
            waiting[value.unit] = []
    yield from waiting.items()


def has_facts(recordings: Iterable[Recording]) -> bool:
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


def has_outputs(recordings: Iterable[Recording]) -> bool:
    """Whether any of the recordings may hold what the run said."""
    topics = set(OUTPUT_TOPICS)
    return any(
        not one.places or any(place.topic in topics for place in one.places.values()) for one in recordings
    )
