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
from functools import partial
from typing import Final, NamedTuple

from rules.engine.facts import parts_of
from rules.engine.inputs import FACT_SOURCE, Fact, Input
from rules.site.model import Site
from streams.facts import Courier
from streams.record import Headers, header
from streams.recording.recording import Recording
from streams.recording.segments import missed_before
from streams.replay.inputs import Reader, RecordedOutputs, Watch
from streams.replay.processes import shares_of, side_by_side
from streams.replay.replayed import OUTPUT_TOPICS, Hear, Replay, count, keep
from streams.replay.rules import ActivatedRules, Chosen
from streams.replay.seek import Begin, find_begin
from streams.replay.start import WHOLE, Part, Share, cut_from_ns
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
    jobs: int = 1,
) -> Replay:
    """Run the recordings, one after the other as one log; `verify`: compare the outputs that they hold, if any.

    Recorded rules are replaced where the log activates others; rules that were given rule from end to end. A `part`
    begins at the snapshots before it, where the recordings have them, and a cut at its own. `watch` looks on, and
    `hear` hears every output; who wants them as they come takes a `batch` of 1. `jobs` processes have a share of the
    units each, where nobody hears and no facts are made anew. UnreachableError where one of them has died.
    """
    part = replace(part, from_ns=part.from_ns or cut_from_ns(recordings))
    site, program, recorded = chosen
    makes_facts = bool(parts_of(program, site).facts()) and not (recorded and has_facts(recordings))
    # facts that are made anew come of units that nobody asks for, too
    units = site.units.keys() if makes_facts else part.units or site.units.keys()
    shares = shares_of(units, site, 1 if makes_facts or hear is not None else jobs)
    work = partial(
        _run,
        chosen=chosen,
        part=part,
        units=tuple(units),
        verifies=verify and has_outputs(recordings),
        makes_facts=makes_facts,
        batch=batch,
        hear=hear,
    )
    return _together(side_by_side(work, recordings, shares, watch), site, tuple(units))


class _Ran(NamedTuple):
    """What a share of the units came to. `last`, `now_ns`: where their inputs end, or the first damage is.

    `rules`: ids of the rules of each unit that is asked for, as far as the share has seen them activated by then.
    """

    result: Replay
    recorded: RecordedOutputs | None
    last: Mapping[str, Mapping[str, tuple[int, int]]]
    now_ns: Mapping[str, int]
    rules: Mapping[str, set[str]]


def _run(
    recordings: Sequence[Recording],
    share: Share,
    watch: Watch | None,
    *,
    chosen: Chosen,
    part: Part,
    units: Collection[str],
    verifies: bool,
    makes_facts: bool,
    batch: int,
    hear: Hear | None,
) -> _Ran:
    """A share of the units through their engines."""
    run = _Run(recordings, share, chosen, part, units, makes_facts)
    result, recorded = run.result, None
    if verifies:
        shown = share.units & set(run.shown)
        compared = shown & run.begin.next_places.keys() if run.begin.next_places else shown
        recorded = RecordedOutputs(Comparison(), compared, shown - compared)
    reader = Reader(recordings, result, part, run.begin, units, share, recorded, watch)
    run.through(reader.until_damage(), batch, hear, recorded)
    # before what follows from inputs that nobody has, which can't be the same
    ran = run.ran(recorded)
    run.through(reader.behind_damage(), batch, hear, None)
    run.close(reader.last_file)
    result.damage = [line for recording in recordings for line in recording.damage]
    result.missed = missed_before(recordings[result.files[0] : result.files[1] + 1])
    return ran


def _together(ran: Sequence[_Ran], site: Site, units: Collection[str]) -> Replay:
    """What all shares came to, and how the recorded outputs compare with it."""
    result, recorded = ran[0].result, ran[0].recorded
    for other in ran[1:]:
        result.add(other.result)
        if recorded is not None and other.recorded is not None:
            recorded.add(other.recorded)
    result.put_in_order()
    if recorded is None or not (recorded.comparison.has_recorded or recorded.behind):
        return result
    rules = {unit: set[str]().union(*(one.rules[unit] for one in ran)) for unit in units}
    ends, begins = dict[str, InputsEnd | FactsEnd](), dict[str, InputsBegin | FactsBegin]()
    for one in ran:
        for unit, now_ns in one.now_ns.items():
            ends[unit] = InputsEnd(unit, one.last[unit], now_ns, rules[unit], _assets(site, unit))
            ends |= {f"{told}:{FACT_SOURCE}{unit}": FactsEnd(now_ns) for told in units}
    for unit, begin in result.begins.items():
        begins[unit] = begin._replace(rules=rules[unit])
        begins |= {f"{told}:{FACT_SOURCE}{unit}": FactsBegin(begin.now_ns, begin.ahead_ns) for told in units}
    result.verification = recorded.comparison.finish(ends, begins)
    result.verification.not_compared = recorded.behind
    return result


class _Run:
    """The engines of a share of a replay's units, from where it begins."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        share: Share,
        chosen: Chosen,
        part: Part,
        units: Collection[str],
        makes_facts: bool,
    ) -> None:
        site, program, _ = chosen
        self.result = Replay(site, program, part)
        self.shown: Collection[str] = part.units or site.units.keys()
        self._units = units
        self._activated = activated = ActivatedRules(recordings, chosen)
        self._makes_facts = makes_facts
        # where one unit has no snapshot, all begin at the beginning, whose share they are
        found = find_begin(recordings, units, part.from_ns, activated.restored) if part.from_ns else Begin()
        own = {unit: engine for unit, engine in found.engines.items() if unit in share.units}
        self.begin = replace(found, engines=own)
        self.engines = {
            unit: own.get(unit) or activated.engine(unit) for unit in units if unit in share.units
        }
        self._before = {unit: Counter(engine.counters) for unit, engine in self.engines.items()}
        self._last = {unit: engine.heard() for unit, engine in self.engines.items()}
        self._courier = Courier()
        for unit, engine in own.items():
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
            due = [fact for value in inputs for fact in courier.due(value)] if self._makes_facts else []
            outputs = engines[unit].step([*due, *inputs])
            if self._makes_facts:
                courier.take(outputs)
            compares = recorded.comparison.replay if recorded and unit in recorded.units else None
            for output in outputs:
                is_fact = isinstance(output, Fact)
                if output.unit in (self._units if is_fact else self.shown) and not (
                    is_fact and self._makes_facts
                ):
                    keep(output, result, [one for one in (hear, compares) if one is not None])

    def ran(self, recorded: RecordedOutputs | None) -> _Ran:
        """How far it has come by now; what it goes on to find is added to the same result."""
        if recorded is not None:
            recorded.comparison.rest()
        own = {rule.id for rule in self.result.program.rules}
        return _Ran(
            self.result,
            recorded,
            {unit: dict(last) for unit, last in self._last.items()},
            {unit: engine.now_ns for unit, engine in self.engines.items()},
            {unit: self._activated.rules(unit) | own for unit in self._units},
        )

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
