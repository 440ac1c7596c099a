"""The inputs of a replay out of recordings, in the order of the log, and beside them what was said to them.

Rules: what can't be decoded is counted by its reason; what is of units that nobody asks for is passed by; what a
restored state has is skipped by its offset; reading ends soon after the end of the part that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from rules.engine.inputs import Fact, Input, Tick
from rules.errors import UndecodableError
from streams.recording.chunks import Place, Stored
from streams.recording.missing import MissingRecords
from streams.recording.recording import Recording
from streams.recording.segments import MISSED_KEY
from streams.replay.replayed import OUTPUT_TOPICS, Replay, note_fact
from streams.replay.start import Begin, Part
from streams.topics import EVENTS
from streams.wire import decode_input, decode_output

Watch = Callable[[int], bool]
"""Hears the event time (ns) of each tick before it is taken in, may wait, and says whether to read on."""

PATIENCE_NS: Final = 60_000_000_000
"""How far one unit's ticks may be behind another's where a part ends."""
ANSWER_NS: Final = 5_000_000_000
"""How long after the last input of a part, by the recorder's clock, what was said to it is awaited."""


@dataclass(slots=True)
class RecordedOutputs:
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


def _in_order(
    recordings: Iterable[Recording], missing: MissingRecords, chunk: int
) -> Iterator[tuple[bool, Stored]]:
    """Every record of the topics of `missing`, which looks on, and whether all before it could be read.

    From a `chunk` on, what lies before is not missed.
    """
    is_intact = True
    for number, recording in enumerate(recordings):
        is_intact = is_intact and not (number and MISSED_KEY in recording.metadata)
        if not chunk:
            missing.begin(recording, is_intact)
        for stored in recording.stored(missing.topics, chunk):
            is_intact = is_intact and not recording.lacks_records
            log_ns, place, offset, _, _ = stored
            missing.pass_by(place[:2], offset, log_ns, is_intact)
            is_intact = is_intact and not missing.spans
            yield is_intact, stored
        is_intact = is_intact and not recording.lacks_records
        missing.end(recording)


@dataclass(slots=True)
class Reader:
    """Reads what a part of the log needs, and no further: the log of one unit may be behind that of another."""

    recordings: Sequence[Recording]
    result: Replay
    part: Part
    begin: Begin
    units: Collection[str]
    watch: Watch | None = None
    passed: set[str] = field(default_factory=set)
    """Units whose ticks have passed the end of the part."""

    until_log_ns: int | None = None
    """When all have: for how long what they said is still awaited."""

    def events(self, recorded: RecordedOutputs | None, only_intact: bool) -> Iterator[Input]:
        """The inputs of the part. What was said to them goes to `recorded`."""
        result = self.result
        missing = MissingRecords({EVENTS.name, *(OUTPUT_TOPICS if recorded is not None else ())})
        others = {unit.encode() for unit in result.site.units if unit not in self.units}
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
            if place.key in others:
                continue
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
                    note_fact(made, result)
            elif made.unit in self.units:
                if self.part.to_ns is not None and self._is_behind(made, self.part.to_ns, log_ns):
                    continue
                if self.watch is not None and type(made) is Tick and not self.watch(made.time_ns):
                    result.is_partial = True
                    break
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
