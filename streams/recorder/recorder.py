"""The role `recorder`: every topic, from the earliest record on, into a folder of segments or one MCAP file.

Rules: what was read is whole on disk up to the last second whenever the process dies; a stop first drains up to the
ends that the topics had at the stop; an existing file is moved aside, never overwritten; a folder goes on behind its
last segment, keeps what its settings say, and pauses while the disk has no room; what could not be drained is said.

Options: `file`, or `folder` (without either the setting `recorder.folder`, else `recordings` in the run folder);
`start` (`earliest`, or `latest`; a folder that has segments goes on where they end), `drain_s` (how long a stop may
take, default 10; 0: end at once).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rules.errors import UnreachableError
from streams.bus.bus import Bus, Reader, Start
from streams.output_file import move_aside, writable_file, writable_folder
from streams.record import TopicPartition
from streams.recorder.retention import Retention
from streams.recorder.space import space_points, tell_space
from streams.recorder.tape import FileTape, Tape, open_segments
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.segments import sole_writer
from streams.role import RoleContext
from streams.rule_sets.rule_set import newest_rule_set, rule_set_of
from streams.run_folder import working_in
from streams.topics import RULE_SETS, TOPICS

FLUSH_EVERY_S: Final = 1.0
READ_S: Final = 0.2
REST_S: Final = 0.2
log = logging.getLogger(__name__)


async def run(context: RoleContext) -> None:
    """The role: record, and tell the engine how much room there is, where the site has a point for it.

    Raises as `record` does.
    """
    points = space_points(context)
    if "file" in context.options or not points:
        await record(context)
        return
    retention = Retention(_folder(context), context.settings.recorder, context.clock)
    tasks = [
        asyncio.create_task(record(context)),
        asyncio.create_task(tell_space(context, points, retention)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for result in ended:
        if isinstance(result, Exception):
            raise result


async def record(context: RoleContext) -> None:
    """Record until the stop.

    Raises ConfigurationError without a usable file or folder, UnreachableError without topics or where the disk takes
    no more.
    """
    try:
        await _record(context)
    except OSError as error:
        raise UnreachableError(f"the recording can't be written: {error}") from None


def _folder(context: RoleContext) -> Path:
    """Raises ConfigurationError where it can't be written."""
    if given := context.options.get("folder") or context.settings.recorder.folder:
        return writable_folder(Path(given))
    run_dir = context.settings.run_dir
    with working_in(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
    return writable_folder(run_dir / "recordings")


async def _record(context: RoleContext) -> None:
    file = context.options.get("file")
    path = _folder(context) if file is None else writable_file(Path(file))
    missing = [topic.name for topic in TOPICS if not await context.bus.partitions(topic.name)]
    if missing:
        raise UnreachableError(f"the broker has no topic {', '.join(missing)}: is the site running?")
    start: Start | Mapping[TopicPartition, int] = "earliest"
    if context.options.get("start") == "latest":
        start = await _from_now_on(context.bus)
    context.metrics.update(records=0, undrained=0, missed=0)
    if file is not None:
        reader = await context.bus.reader([topic.name for topic in TOPICS], start)
        await _keep_recording(context, reader, await _open_file(context, path))
        return
    with sole_writer(path):
        retention = Retention(path, context.settings.recorder, context.clock)
        if await _room(context, retention):
            tape, reader = await open_segments(context, path, start, retention)
            await _keep_recording(context, reader, tape)


async def _open_file(context: RoleContext, path: Path) -> FileTape:
    aside = move_aside(path)
    if aside is not None:
        log.info("%s was there before: it is %s now", path, aside)
    rule_set = await newest_rule_set(context.bus, context.site) or rule_set_of(context.site_dir, context.site)
    attachments = site_attachments(rule_set)
    return FileTape(path, recording_metadata(context.site, attachments), attachments, context.clock)


async def _keep_recording(context: RoleContext, reader: Reader, tape: Tape) -> None:
    """From the reader to the tape; both are closed at the end."""
    context.metrics["file"] = str(tape.file)
    context.ready()
    try:
        await _read_on(context, reader, tape)
    finally:
        tape.close()
        await reader.close()
    log.info("%s: %d records", tape.file, context.metrics["records"])


async def _read_on(context: RoleContext, reader: Reader, tape: Tape) -> None:
    drain_s = float(context.options.get("drain_s", "10"))
    loop = asyncio.get_running_loop()
    look_at = loop.time() + FLUSH_EVERY_S
    counts: dict[str, int] = {}
    context.metrics["topics"] = counts
    ends: Mapping[TopicPartition, int] | None = None
    give_up_at = 0.0
    has_room = True
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
        records = await reader.read(READ_S, 2000) if has_room else ()
        await tape.take(records)
        for record in records:
            counts[record.topic] = counts.get(record.topic, 0) + 1
        context.metrics["records"] += len(records)
        if ends is None or not has_room:
            # in no hurry: a fetch costs the embedded broker as much as its log is long (decision 0030)
            await asyncio.sleep(REST_S)
        if loop.time() >= look_at:
            had_room, has_room = has_room, await tape.look()
            if has_room != had_room:
                _say_room(context, has_room)
            context.metrics["file"] = str(tape.file)
            look_at = loop.time() + FLUSH_EVERY_S


async def _room(context: RoleContext, retention: Retention) -> bool:
    """Wait until there is room to begin; False: it was stopped before."""
    has_room = retention.make_room()
    if not has_room:
        _say_room(context, has_room)
    while not has_room and not context.stop.is_set():
        await asyncio.sleep(REST_S)
        has_room = retention.make_room()
    return has_room


def _say_room(context: RoleContext, has_room: bool) -> None:
    context.metrics["disk_full"] = not has_room
    if has_room:
        log.warning("there is room on the disk again: recording goes on")
    else:
        log.error(
            "recording stops: the disk has less than recorder.reserve_mb (%.0f MB) left, and nothing may be deleted "
            "but incidents; it goes on when there is room",
            context.settings.recorder.reserve_mb,
        )


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
