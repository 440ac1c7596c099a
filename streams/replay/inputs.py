"""The inputs of a replay out of recordings, in the order of the log, and beside them what was said to them.

Rules: what can't be decoded is counted by its reason; what is of units that nobody asks for is passed by; what a
restored state has is skipped by its offset; reading ends soon after the end of the part that is asked for. Who has a
share of the units hears the ticks of all, so that every share ends at the same record.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from rules.engine.inputs import FACT_SOURCE, Fact, Input, Tick
from rules.errors import UndecodableError
from streams.record import header
from streams.recording.chunks import Place, Stored
from streams.recording.logs import LogPlace, Logs, logs_of
from streams.recording.missing import MissingRecords
from streams.recording.recording import Recording
from streams.recording.segments import heads_of
from streams.replay.replayed import OUTPUT_TOPICS, Replay, compared, told
from streams.replay.seek import BEGINNING, Begin, ChunkPlace
from streams.replay.start import Part, Share
from streams.replay.verification import Comparison
from streams.topics import EVENTS
from streams.wire import decode_input, decode_output

Watch = Callable[[int], bool]
"""Hears the event time (ns) of each tick before it is taken in, may wait, and says whether to read on."""

_TICK: Final = b"tick/1"

PATIENCE_NS: Final = 60_000_000_000
"""How far one unit's ticks may be behind another's where a part ends."""
ANSWER_NS: Final = 5_000_000_000
"""How long after the last input of a part, by the recorder's clock, what was said to it is awaited."""


@dataclass(slots=True)
class RecordedOutputs:
    """What the run said up to the first damage goes to the comparison; `behind`: outputs behind it, or lost to it.

    `units`: those that are compared; `others`: those that are asked for, and can't be.
    """

    comparison: Comparison
    units: Collection[str]
    others: Collection[str] = ()
    behind: int = 0

    def take(self, place: Place, value: bytes | None, is_intact: bool) -> None:
        """A record of an output topic."""
        if value is None:
            return
        try:
            output = decode_output(place.headers, value)
        except UndecodableError:
            return  # garbage on an output topic is no word of the engine
        if output.unit in self.units and is_intact:
            self.comparison.has_recorded = True
            self.comparison.record(place.topic, output.unit, output.id, compared(output, value))
        elif output.unit in self.units or output.unit in self.others:
            self.behind += 1

    def add(self, other: RecordedOutputs) -> None:
        """What was said of other units."""
        self.comparison.add(other.comparison)
        self.behind += other.behind

    def take_fact(self, fact: Fact, is_intact: bool) -> None:
        """What one unit has told another."""
        if is_intact and fact.identity.source.removeprefix(FACT_SOURCE) in self.units:
            self.comparison.record(*told(fact))


def in_order(
    recordings: Sequence[Recording],
    missing: MissingRecords,
    begin: ChunkPlace = BEGINNING,
    topics: Collection[str] | None = None,
) -> Iterator[tuple[bool, int, Stored]]:
    """Every record of `topics` (None: all), whether all before it could be read, and its file; `missing` looks on.

    What lies before the place at which reading begins is not missed.
    """
    is_intact = True
    for number in range(begin.file, len(recordings)):
        recording, is_first = recordings[number], number == begin.file
        heads, log = heads_of(recording), -1
        chunk = begin.chunk if is_first else 0
        missing.begin(recording, is_intact, is_part=is_first and begin != BEGINNING)
        for stored in recording.stored(topics, chunk):
            log_ns, place, offset, _, _ = stored
            if place.topic not in missing.topics:
                yield is_intact, number, stored
                continue
            is_intact = is_intact and not recording.lacks_records
            if place.log != log:
                is_begin = log < 0 and is_first
                log = place.log
                is_intact = is_intact and (is_begin or log >= len(heads) or not heads[log].missed)
            missing.pass_by(place[:2], offset, log_ns, is_intact, place.log)
            is_intact = is_intact and not missing.spans
            yield is_intact, number, stored
        is_intact = is_intact and not recording.lacks_records
        missing.end(recording)
        recording.let_go_of_index()


@dataclass(slots=True)
class Reader:
    """Reads what a part of the log needs, and no further: the log of one unit may be behind that of another.

    `units`: all that are asked for; `share`: those whose inputs are given.
    """

    recordings: Sequence[Recording]
    result: Replay
    part: Part
    begin: Begin
    units: Collection[str]
    share: Share
    recorded: RecordedOutputs | None = None
    watch: Watch | None = None
    is_over: bool = False
    passed: set[str] = field(default_factory=set)
    """Units whose ticks have passed the end of the part."""

    last_file: int = 0
    """The recording that is read, or was the last that was."""

    until_log_ns: int | None = None
    """When all have: for how long what they said is still awaited."""

    _missing: MissingRecords = field(init=False)
    _records: Iterator[tuple[bool, int, Stored]] = field(init=False)
    _logs: Logs = field(init=False)
    _keys: frozenset[bytes] = field(init=False)
    """Of the units of the share."""

    _elsewhere: frozenset[bytes] = field(init=False)
    """Keys of the other units that are asked for."""

    _site_keys: frozenset[bytes] = field(init=False)
    _tellers: frozenset[bytes] = field(init=False)
    """The sources of facts that units of the share tell."""

    def __post_init__(self) -> None:
        topics = {EVENTS.name, *(OUTPUT_TOPICS if self.recorded is not None else ())}
        self._missing = MissingRecords(topics)
        self._records = in_order(self.recordings, self._missing, self.begin.at, topics)
        self._logs = logs_of(self.recordings) if self.begin.next_places else Logs([], [])
        self._keys = frozenset(unit.encode() for unit in self.share.units)
        self._elsewhere = frozenset(unit.encode() for unit in self.units) - self._keys
        self._site_keys = frozenset(unit.encode() for unit in self.result.site.units)
        self._tellers = frozenset(f"{FACT_SOURCE}{unit}".encode() for unit in self.share.units)

    def until_damage(self) -> Iterator[Input]:
        """The inputs of the part up to the first record that is missing."""
        for item in self._items():
            if not item[0]:
                self._records = chain([item], self._records)
                return
            made = self._input(item)
            if made is not None:
                yield made

    def behind_damage(self) -> Iterator[Input]:
        """Those that follow it; then all is read."""
        for item in self._items():
            self.result.behind_damage += item[2][1].topic == EVENTS.name
            made = self._input(item)
            if made is not None:
                yield made
        spans = self._missing.spans.items()
        self.result.missing = {place: one for place, one in spans if place[0] == EVENTS.name}
        if self.recorded is not None and self.share.is_first:
            self.recorded.behind += sum(one.records for place, one in spans if place[0] != EVENTS.name)

    def _items(self) -> Iterator[tuple[bool, int, Stored]]:
        while not self.is_over and (item := next(self._records, None)) is not None:
            log_ns = item[2][0]
            if self.until_log_ns is not None and (self.recorded is None or log_ns > self.until_log_ns):
                return
            yield item

    def _input(self, item: tuple[bool, int, Stored]) -> Input | None:
        """What of the part a record is, if it is an input of it. What was said to inputs goes to `recorded`."""
        is_intact, self.last_file, (log_ns, place, offset, _, value) = item
        result, recorded = self.result, self.recorded
        if place.topic != EVENTS.name:
            if recorded is not None:
                recorded.take(place, value, is_intact)
            return None
        is_ours = place.key in self._keys or (self.share.is_first and place.key not in self._site_keys)
        if not is_ours and not self._concerns(place):
            return None
        try:
            made = decode_input(place.key, place.headers, value)
        except UndecodableError as error:
            if is_ours:
                result.undecodable[error.reason] += 1
            return None
        if made.unit not in result.site.units:
            result.undecodable["unknown-unit"] += 1
            result.unknown_units.add(made.unit)
            return None
        is_covered = made.unit in self.begin.next_places and self.begin.covers(
            made.unit, LogPlace(self._logs.of(self.last_file, place), offset)
        )
        if not is_covered:
            if self.part.to_ns is not None and self._is_behind(made, self.part.to_ns, log_ns):
                return None
            if self.watch is not None and type(made) is Tick and not self.watch(made.time_ns):
                result.is_partial = self.is_over = True
                return None
        if recorded is not None and isinstance(made, Fact):  # who told it may have begun before who was told
            recorded.take_fact(made, is_intact)
        return made if is_ours and not is_covered else None

    def _concerns(self, place: Place) -> bool:
        """Whether the share needs an input of another unit: its ticks, and what units of the share have told it."""
        return place.key in self._elsewhere and (
            header(place.headers, "schema") == _TICK or header(place.headers, "source") in self._tellers
        )

    def _is_behind(self, value: Input, to_ns: int, log_ns: int) -> bool:
        """Whether an input lies behind the part: from a unit's first tick after its end on."""
        if isinstance(value, Tick) and value.time_ns > to_ns:
            self.passed.add(value.unit)
            is_over = len(self.passed) == len(self.units) or value.time_ns > to_ns + PATIENCE_NS
            if is_over and self.until_log_ns is None:
                self.until_log_ns = log_ns + ANSWER_NS
        return value.unit in self.passed
