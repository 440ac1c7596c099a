"""A recording into a log, so that consumers and workers see it as if it were now.

Rules: only into an empty log, or one that is a replay's already; it is marked before the first record, and each record
besides (`replay_mark`). Records are sent as they were recorded, event times and ids included, in the order of the file,
to the partition that their unit has in this log: so each unit's order is kept, whatever the number of partitions. The
log's own names and the workers' states (`snapshots`) stay behind: their offsets mean nothing here.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from rules.engine.inputs import Tick
from rules.engine.outputs import Alarm, Command, Entry
from rules.errors import ConfigurationError, UndecodableError, UnreachableError
from rules.findings import Finding
from streams.bus.bus import Bus
from streams.record import Message, header
from streams.recording.chunks import Stored
from streams.recording.missing import Missing, MissingRecords
from streams.recording.recording import Recording
from streams.recording.segments import missed_before
from streams.replay.inputs import ANSWER_NS, PATIENCE_NS, in_order
from streams.replay.replay import has_facts
from streams.replay.start import Part
from streams.replay_mark import Mark, Marking, mark_log, replay_of
from streams.topics import BY_NAME, DEAD_LETTERS, EVENTS, RULE_SETS, SNAPSHOTS, STATUS, TOPICS, partition_of
from streams.wire import decode_input, decode_output

Watch = Callable[[int], Awaitable[bool]]
"""Hears the event time (ns) of each tick before it is sent, may wait, and says whether to go on."""

UNACKNOWLEDGED: Final = 2000
"""Records that are sent ahead of the broker's word."""
_OF_NO_UNIT: Final = frozenset({RULE_SETS.name, STATUS.name, DEAD_LETTERS.name})


@dataclass(slots=True)
class Fed:
    """What went into the log: records by topic, `left_out` by reason, event time of the first and last tick (ns)."""

    partitions: int
    records: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    first_ns: int | None = None
    last_ns: int | None = None
    is_partial: bool = False
    damage: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    missing: dict[tuple[str, int], Missing] = field(default_factory=dict)


async def open_log(bus: Bus, recordings: Sequence[Recording], name: str, partitions: int) -> Mark:
    """Make the log ready for a replay of `name`: its topics, and its mark. `partitions` where it has no topics yet.

    Raises UnreachableError, and ConfigurationError for a log that has records of anything but replays, or of a replay
    with which this one can't share a log.
    """
    mark, before = Mark(name, has_facts(recordings)), await replay_of(bus)
    if before is None:
        await _refuse_used(bus)
    elif before.has_facts != mark.has_facts:
        text = f"the log is a replay of {before.recording}, and only one of the two has facts between units"
        raise ConfigurationError([Finding("--to-kafka", 0, 0, text, "give it a broker of its own")])
    await bus.create_topics(TOPICS, await bus.partitions(EVENTS.name) or partitions)
    await mark_log(bus, mark)
    return mark


async def _refuse_used(bus: Bus) -> None:
    for topic in TOPICS:
        if await bus.partitions(topic.name):
            records = sum((await bus.ends(topic.name)).values())
            if records:
                text = f"the log is in use, and no replay's: '{topic.name}' has had {records} records"
                raise ConfigurationError([Finding("--to-kafka", 0, 0, text, "give it a broker of its own")])


async def feed(
    recordings: Sequence[Recording], bus: Bus, mark: Mark, part: Part, watch: Watch | None = None
) -> Fed:
    """Send the recordings, one after the other as one log; returns when the broker has all of it. UnreachableError.

    Of a `part`, all that lies before it is sent, too: the state at its beginning comes of that.
    """
    counts = {topic.name: await bus.partitions(topic.name) for topic in TOPICS}
    fed = Fed(counts[EVENTS.name])
    producer = Marking(await bus.producer("replay"), mark)
    sent: deque[Awaitable[int]] = deque()
    end = _End(part)
    missing = MissingRecords({EVENTS.name})
    try:
        for _, _, stored in in_order(recordings, missing):
            if end.is_over(stored):
                break
            message = _message(stored, counts)
            why = _why_not(message, part) or end.why_not(message)
            if why:
                fed.left_out[why] += 1
                continue
            tick_ns = _tick_ns(message)
            if tick_ns is not None:
                if watch is not None and not await watch(tick_ns):
                    fed.is_partial = True
                    break
                fed.first_ns = tick_ns if fed.first_ns is None else fed.first_ns
                fed.last_ns = max(tick_ns, fed.last_ns or 0)
            try:
                sent.append(await producer.send(message))
            except ValueError:  # with its mark it is larger than any broker takes
                fed.left_out["too large"] += 1
                continue
            fed.records[message.topic] += 1
            if len(sent) > UNACKNOWLEDGED:
                await sent.popleft()
        for acknowledgement in sent:
            await acknowledgement
    except UnreachableError as error:
        text = (
            f"{error}; {fed.records.total()} records were sent, of which the last ones may not have arrived"
        )
        raise UnreachableError(text) from None
    finally:
        await producer.close()
    fed.damage = [line for recording in recordings for line in recording.damage]
    fed.missed, fed.missing = missed_before(recordings), missing.spans
    return fed


def _message(stored: Stored, counts: dict[str, int]) -> Message:
    """The record as it goes into the log. What has no key of ours keeps its partition as far as there are so many."""
    _, place, _, _, value = stored
    count = counts.get(place.topic, 1)
    partition = (
        place.partition % count if place.topic in _OF_NO_UNIT else partition_of(_unit(place.key), count)
    )
    return Message(place.topic, partition, place.key, value, place.headers)


def _unit(key: bytes | None) -> str:
    """Keys begin with the unit: `unit`, `unit:rule:asset`."""
    return (key or b"").decode("utf-8", "replace").partition(":")[0]


def _why_not(message: Message, part: Part) -> str:
    """Why a record stays behind, whenever it comes; empty where it goes along."""
    if message.topic not in BY_NAME:
        return "of no topic of a site"
    if message.topic == SNAPSHOTS.name:
        return "snapshots"
    is_asked = message.topic in _OF_NO_UNIT or part.units is None or _unit(message.key) in part.units
    return "" if is_asked else "of other units"


def _tick_ns(message: Message) -> int | None:
    """Event time of a tick, None for every other record."""
    if message.topic != EVENTS.name or header(message.headers, "schema") != b"tick/1":
        return None
    try:
        value = decode_input(message.key, message.headers, message.value)
    except UndecodableError:
        return None
    return value.time_ns if isinstance(value, Tick) else None


class _End:
    """Where a part ends: each unit's log at its first tick behind it, and what was said to it 5 s later."""

    def __init__(self, part: Part) -> None:
        self._to_ns = part.to_ns
        self._units: set[str] = set()
        self._passed: set[str] = set()
        self._until_log_ns: int | None = None
        self._log_ns = 0

    def is_over(self, stored: Stored) -> bool:
        """Whether nothing that is asked for can follow."""
        self._log_ns = stored[0]
        return self._until_log_ns is not None and self._log_ns > self._until_log_ns

    def why_not(self, message: Message) -> str:
        """As `_why_not`, of what lies behind the end."""
        if self._to_ns is None:
            return ""
        unit = _unit(message.key)
        if message.topic == EVENTS.name:
            tick_ns = _tick_ns(message)
            if tick_ns is not None:
                self._see(unit, tick_ns, self._to_ns)
            return "behind the end" if unit in self._passed else ""
        return "behind the end" if _said_ns(message) > self._to_ns else ""

    def _see(self, unit: str, tick_ns: int, to_ns: int) -> None:
        self._units.add(unit)
        if tick_ns <= to_ns:
            return
        self._passed.add(unit)
        is_over = self._passed == self._units or tick_ns > to_ns + PATIENCE_NS
        if is_over and self._until_log_ns is None:
            self._until_log_ns = self._log_ns + ANSWER_NS


def _said_ns(message: Message) -> int:
    """Event time of what an output says; 0 for every other record."""
    try:
        output = decode_output(message.headers, message.value)
    except UndecodableError:
        return 0
    if isinstance(output, Alarm):
        return output.at_ns
    if isinstance(output, Command):
        return output.cause_ns
    return output.at_ns if isinstance(output, Entry) else 0
