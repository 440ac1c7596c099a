"""The role `recorder`: every topic, from the earliest record on, into one MCAP file.

Rules: the file is whole up to the last second whenever the process dies; a stop first drains up to the ends that
the topics had at the stop; an existing file is moved aside, never overwritten; what could not be drained is said.

Options: `file` (required), `start` (`earliest`, or `latest`), `drain_s` (how long a stop may take, default 10;
0: end at once).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rules.errors import ConfigurationError, UnreachableError
from rules.findings import Finding
from streams.bus import Bus, Reader
from streams.output_file import move_aside, writable_file
from streams.record import TopicPartition
from streams.recorded_site import recording_metadata, site_attachments
from streams.recording import RecordingWriter
from streams.role import RoleContext
from streams.rule_set import newest_rule_set, rule_set_of
from streams.topics import RULE_SETS, TOPICS

FLUSH_EVERY_S: Final = 1.0
READ_S: Final = 0.2
REST_S: Final = 0.2
log = logging.getLogger(__name__)


async def run(context: RoleContext) -> None:
    """Record until the stop. Raises ConfigurationError without a usable file, UnreachableError without topics."""
    if "file" not in context.options:
        raise ConfigurationError(
            [Finding("recorder", 0, 0, "no file to record to", "--option file=run.mcap")]
        )
    path = writable_file(Path(context.options["file"]))
    drain_s = float(context.options.get("drain_s", "10"))
    topics = [topic.name for topic in TOPICS]
    missing = [topic for topic in topics if not await context.bus.partitions(topic)]
    if missing:
        raise UnreachableError(f"the broker has no topic {', '.join(missing)}: is the site running?")
    latest = context.options.get("start") == "latest"
    reader = await context.bus.reader(topics, await _from_now_on(context.bus) if latest else "earliest")
    aside = move_aside(path)
    if aside is not None:
        log.info("%s was there before: it is %s now", path, aside)
    rule_set = await newest_rule_set(context.bus) or rule_set_of(context.site_dir, context.site)
    attachments = site_attachments(rule_set)
    try:
        with RecordingWriter(
            path, attachments=attachments, metadata=recording_metadata(context.site, attachments)
        ) as writer:
            context.metrics.update(file=str(path), records=0, undrained=0)
            context.ready()
            await _record(context, reader, writer, drain_s)
    finally:
        await reader.close()
    log.info("%s: %d records", path, context.metrics["records"])


async def _record(context: RoleContext, reader: Reader, writer: RecordingWriter, drain_s: float) -> None:
    loop = asyncio.get_running_loop()
    flush_at = loop.time() + FLUSH_EVERY_S
    counts: dict[str, int] = {}
    context.metrics["topics"] = counts
    ends: Mapping[TopicPartition, int] | None = None
    give_up_at = 0.0
    while True:
        if context.stop.is_set() and ends is None:
            ends = await _ends(context.bus) if drain_s > 0 else {}
            give_up_at = loop.time() + drain_s
        if ends is not None:
            left = _left(ends, reader.positions())
            if not left or loop.time() > give_up_at:
                context.metrics["undrained"] = left
                if left:
                    log.warning("%d records that were in the log at the stop are not in the recording", left)
                return
        for record in await reader.read(READ_S, 2000):
            writer.write(record, time.time_ns())
            counts[record.topic] = counts.get(record.topic, 0) + 1
        context.metrics["records"] = writer.records
        if ends is None:
            # in no hurry: a fetch costs the embedded broker as much as its log is long (decision 0030)
            await asyncio.sleep(REST_S)
        if loop.time() >= flush_at:
            writer.flush()
            flush_at = loop.time() + FLUSH_EVERY_S


async def _from_now_on(bus: Bus) -> dict[TopicPartition, int]:
    """The ends of all topics, but every rule set: what is activated later may be an old one."""
    starts: dict[TopicPartition, int] = {}
    for topic in TOPICS:
        starts.update(await bus.ends(topic.name))
    return starts | {place: 0 for place in starts if place.topic == RULE_SETS.name}


async def _ends(bus: Bus) -> Mapping[TopicPartition, int]:
    ends: dict[TopicPartition, int] = {}
    try:
        for topic in TOPICS:
            ends.update(await bus.ends(topic.name))
    except UnreachableError as error:
        log.warning("the end of the log is not known (%s): the recording ends with what was read", error)
    return ends


def _left(ends: Mapping[TopicPartition, int], positions: Mapping[TopicPartition, int]) -> int:
    return sum(max(0, end - positions.get(partition, 0)) for partition, end in ends.items())
