"""Every topic of Headrace, and how a unit finds its partition. Nothing else knows a topic's name."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it should exist. `partitions` None: as many as the site's settings say."""

    name: str
    holds: str
    key: str
    partitions: int | None = None
    cleanup: Literal["delete", "compact"] = "delete"
    retention_ms: int = 7 * 24 * 3600 * 1000
    max_message_bytes: int = 1_048_576
    config: dict[str, str] = field(default_factory=dict)


EVENTS = Topic("events", "everything that the engine may react to, in one order per unit", key="unit")
KEPT_WHOLE = {"min.compaction.lag.ms": str(3600 * 1000)}
"""For an hour nothing is compacted: what wins is not always what came last (`owners`, `last_words`)."""

ALARMS = Topic(
    "alarms", "the last word on every alarm", key="unit:rule:asset", cleanup="compact", config=KEPT_WHOLE
)
COMMANDS = Topic("commands", "commands to actuators", key="unit", retention_ms=24 * 3600 * 1000)
JOURNAL = Topic("journal", "every transition, append-only", key="unit", retention_ms=400 * 24 * 3600 * 1000)
SNAPSHOTS = Topic("snapshots", "engine state per unit, in chunks", key="unit:chunk", cleanup="compact")
OWNERS = Topic(
    "owners", "which worker has which partitions of `events`, and its epoch", key="worker", partitions=1,
    cleanup="compact", config=KEPT_WHOLE,
)  # fmt: skip
RULE_SETS = Topic(
    "rule-sets", "site and rule files that activations name", key="digest", partitions=1, cleanup="compact"
)
DEAD_LETTERS = Topic("dead-letters", "records that nobody could read, with the reason", key="as it came")
STATUS = Topic(
    "status", "what every role says of itself once a second", key="role", partitions=1, cleanup="compact"
)

REPLAY_MARK = Topic(
    "replay-mark", "what makes a log a replay's", key="recording", partitions=1, retention_ms=-1
)
"""Only on a log that a recording was fed into (`streams/replay_mark.py`): none of the topics of a site."""

CONSUMER_OFFSETS: Final = "__consumer_offsets"
"""Kafka's own, which it makes for the first group: how far the workers' group has come. None of ours to create."""

TOPICS: tuple[Topic, ...] = (
    EVENTS, ALARMS, COMMANDS, JOURNAL, SNAPSHOTS, OWNERS, RULE_SETS, DEAD_LETTERS, STATUS,
)  # fmt: skip

BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}


def partition_of(unit: str, partitions: int) -> int:
    """The partition of a unit on `events`, `alarms`, `commands`, `journal` and `snapshots`.

    Named by Headrace rather than by a client's default partitioner, because every client must agree for ever.
    """
    return zlib.crc32(unit.encode()) % partitions
