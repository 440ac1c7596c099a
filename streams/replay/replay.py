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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from rules.engine.facts import parts_of
from rules.engine.inputs import FACT_SOURCE, Fact, Input
from rules.site.model import Site
from streams.facts import Courier
from streams.record import Headers, header
from streams.recording.recording import Recording
from streams.recording.segments import missed_before
from streams.replay.inputs import Reader, RecordedOutputs, Watch
from streams.replay.replayed import Replay, content_of, count, keep
from streams.replay.rules import ActivatedRules, Chosen
from streams.replay.start import WHOLE, Begin, Part, find_begin
from streams.replay.verification import FactsBegin, FactsEnd, InputsBegin, InputsEnd, compare
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
) -> Replay:
    """Run the recordings, one after the other as one log; `verify`: compare the outputs that they hold, if any.

    Recorded rules are replaced where the log activates others; rules that were given rule from end to end. A `part` of
    one recording begins at the snapshots before it, where the recording has them. `watch` looks on; who wants to see
    outputs as they come takes a `batch` of 1.
    """
    recorded = RecordedOutputs(part.units or chosen.site.units) if verify else None
    result = _run(recordings, chosen, part, watch, batch, recorded)
    result.damage = [line for recording in recordings for line in recording.damage]
    result.missed = missed_before(recordings)
    if recorded is not None and (recorded.said or recorded.behind):
        intact = (
            _run(recordings, chosen, part, watch, batch, only_intact=True) if result.behind_damage else result
        )
        facts = {
            key: {name: {content_of(fact)} for name, fact in told.items()}
            for key, told in intact.facts_recorded.items()
            if _sender(key) in intact.ends
        }
        result.verification = compare(
            {**recorded.said, **facts}, intact.outputs, _ends(intact), _begins(intact)
        )
        result.verification.not_compared = recorded.behind
    return result


def _run(
    recordings: Sequence[Recording],
    chosen: Chosen,
    part: Part,
    watch: Watch | None,
    batch: int,
    recorded_outputs: RecordedOutputs | None = None,
    only_intact: bool = False,
) -> Replay:
    """All inputs through the engines; `only_intact`: those before the first damage. `recorded_outputs`: to fill."""
    site, program, recorded = chosen
    result = Replay(site, program)
    activated = ActivatedRules(recordings, chosen)
    makes_facts = bool(parts_of(program, site).facts()) and not (recorded and has_facts(recordings))
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
    reader = Reader(recordings, result, part, begin, units, watch)
    events = reader.events(recorded_outputs, only_intact)
    if makes_facts:
        events = (value for value in events if not isinstance(value, Fact))
    for unit, inputs in _batches(events, result, last, 1 if makes_facts else batch):
        activated.offer(inputs, engines[unit])
        due: list[Input] = []
        if makes_facts:
            due = [fact for value in inputs for fact in courier.due(value)]
        outputs = engines[unit].step([*due, *inputs])
        if makes_facts:
            courier.take(outputs)
        for output in outputs:
            is_shown = output.unit in shown if not isinstance(output, Fact) else output.unit in units
            if is_shown and not (makes_facts and isinstance(output, Fact)):
                keep(output, result)
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
