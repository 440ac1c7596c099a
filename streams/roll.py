"""A log roll: what must survive goes from one log to an empty one.

Rules that this module obeys:
- The same act as restoring a site on an empty Kafka. Before it, publishers hold, the worker has read `events` to
  its end and stopped with final snapshots, the actuators have read `commands`, the recorder everything.
- Carried over: of `snapshots`, `alarms` and `rule-sets` what compaction would leave, commands that have not expired,
  the whole journal and all dead letters. `events` is not: the snapshots stand for it. Nor is `status`, which every role
  says anew within a second.
- What comes of a replay's log is one.
- Once the old log is given up, nothing may fail any more but the broker: what our producers would refuse, and a foreign
  one has put there, is left behind, and that is said.
- The id of the old log stays behind, while the snapshots keep it: on the new log their offsets mean nothing, so a
  worker starts at its first record.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import islice

from rules.engine.outputs import Command
from rules.errors import UndecodableError, UnreachableError
from streams.bus.bus import Bus, refuse_oversized, up_to_the_end
from streams.last_words import LastWords
from streams.record import Message, Record
from streams.replay_mark import mark_log, replay_of
from streams.snapshots import LOG_KEY, log_ids
from streams.topics import ALARMS, COMMANDS, DEAD_LETTERS, JOURNAL, OWNERS, RULE_SETS, SNAPSHOTS
from streams.wire import decode_output

log = logging.getLogger(__name__)

_SEND_WITHIN_S = 30.0
_SEND_AT_ONCE = 500
_PAUSE_S = 0.1


async def carry_over(
    old: Bus, fresh_log: Callable[[], Awaitable[Bus]], clock_ns: Callable[[], int] = time.time_ns
) -> int:
    """Carry over what must survive; how many records that were. UnreachableError.

    `fresh_log` is called when everything has been read: it may end the old log, and returns a bus of the new one,
    whose topics exist with as many partitions.
    """
    messages: list[Message] = []
    for topic in (SNAPSHOTS, OWNERS, ALARMS, RULE_SETS):
        messages += await _last_words(old, topic.name)
    now_ns = clock_ns()
    messages += [_copy(record) async for record in _records(old, COMMANDS.name) if _may_act(record, now_ns)]
    for topic in (JOURNAL, DEAD_LETTERS):
        messages += [_copy(record) async for record in _records(old, topic.name)]
    messages = [message for message in messages if _can_be_sent(message)]
    replay = await replay_of(old)
    new = await fresh_log()
    if replay is not None:
        await mark_log(new, replay)
    await _send_all(new, messages)
    return len(messages)


async def _send_all(new: Bus, messages: Sequence[Message]) -> None:
    """Every message in its order, again where one fails: the old log may be gone, so there is no second chance.

    One that failed may be on the log all the same, and is then there twice: the same bytes, which is fine everywhere.
    UnreachableError only when nothing arrives for `_SEND_WITHIN_S`.
    """
    left = deque(messages)
    until_s = time.monotonic() + _SEND_WITHIN_S
    identified = False
    while left or not identified:
        try:
            producer = await new.producer("roll")
            try:
                if not identified:
                    await log_ids(new, producer)
                    identified = True
                while left:
                    for arrived in [await producer.send(message) for message in islice(left, _SEND_AT_ONCE)]:
                        await arrived
                        left.popleft()
                        until_s = time.monotonic() + _SEND_WITHIN_S
            finally:
                await producer.close()
        except UnreachableError as error:
            if time.monotonic() > until_s:
                raise
            log.info("%s; %d records are still to be carried over", error, len(left))
            await asyncio.sleep(_PAUSE_S)


def _can_be_sent(message: Message) -> bool:
    """False, and said, for one that our producers refuse: none of ours has written it."""
    try:
        refuse_oversized(message)
    except ValueError as error:
        key = (message.key or b"")[:40]
        log.error("%s %d, key %r stays behind: %s", message.topic, message.partition, key, error)
        return False
    return True


async def _last_words(bus: Bus, topic: str) -> list[Message]:
    """What compaction would leave: the last record of each key, in the order of the log; no tombstones.

    Of an alarm it is the word that wins.
    """
    words = LastWords()
    last: dict[tuple[int, bytes | None], Record] = {}
    async for record in _records(bus, topic):
        if topic == ALARMS.name and not words.wins(record):
            continue
        last.pop((record.partition, record.key), None)
        last[record.partition, record.key] = record
    return [
        _copy(record)
        for (_, key), record in last.items()
        if record.value is not None and not (key or b"").startswith(LOG_KEY)
    ]


async def _records(bus: Bus, topic: str) -> AsyncIterator[Record]:
    """Every record of `topic`, up to where it ends now."""
    reader = await bus.reader([topic])
    try:
        async for record in up_to_the_end(bus, reader, topic):
            yield record
    finally:
        await reader.close()


def _may_act(record: Record, now_ns: int) -> bool:
    """Whether a command has not expired. What can't be read is nothing that an actuator could act on."""
    try:
        output = decode_output(record.headers, record.value)
    except UndecodableError:
        return False
    return isinstance(output, Command) and output.expires_ns > now_ns


def _copy(record: Record) -> Message:
    return Message(record.topic, record.partition, record.key, record.value, record.headers)
