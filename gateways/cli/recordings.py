"""`headrace recording info` and `check`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from gateways.cli.progress import progress, records_named
from gateways.printable import printable
from streams.recording.check import Checked, check_recordings
from streams.recording.recorded_site import refuse_two_sites
from streams.recording.recording import Recording
from streams.recording.segments import open_recordings
from streams.times import iso_utc
from streams.topics import EVENTS

SHOWN: Final = 20
"""So many findings of a kind are shown; `--json` has more."""


def show(path: Path, as_json: bool) -> int:
    """What the file holds; 1 when something is missing from it."""
    recording = Recording(path)
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    times: list[int] = []
    for log_ns, record in recording.timed_records():
        counts[record.topic] += 1
        sizes[record.topic] += len(record.value or b"")
        times = [times[0] if times else log_ns, log_ns]
    named: Counter[str] = Counter()
    for (topic, _), one in recording.named.items():
        named[topic] += one.records
    missing = named - counts
    body = {
        "site": recording.metadata.get("site"),
        "from": iso_utc(times[0]) if times else None,
        "to": iso_utc(times[1]) if times else None,
        "records": dict(sorted(counts.items())),
        "bytes": dict(sorted(sizes.items())),
        "attachments": {name: len(data) for name, data in sorted(recording.attachments.items())},
        "damage": recording.damage,
        "missing": dict(sorted(missing.items())),
    }
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(body) + b"\n")
    else:
        print(printable(f"{path}: site {body['site']}, {body['from']} to {body['to']}"))
        for topic, count in sorted(counts.items()):
            print(printable(f"  {topic:14} {count:>10,} records {sizes[topic]:>14,} bytes"))
        print(printable(f"  carries {', '.join(sorted(recording.attachments)) or 'no site and no rules'}"))
        for line in recording.damage:
            print(printable(f"  damaged: {line}"))
        for topic, count in sorted(missing.items()):
            print(printable(f"  missing: {count:,} of {named[topic]:,} records of {topic}, by the index"))
    return 1 if recording.damage else 0


def check(paths: list[Path], as_json: bool) -> int:
    """Whether recordings are whole, and where they are not; 1 when something is damaged or missing."""
    recordings = open_recordings(paths)
    refuse_two_sites(recordings)
    with progress("checking", records_named(recordings)) as advance:
        found = check_recordings(recordings, advance)
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(_checked(found)) + b"\n")
    else:
        for line in check_lines(found):
            print(printable(line))
    return 0 if found.is_whole else 1


def _checked(found: Checked) -> dict[str, Any]:
    return {
        "whole": found.is_whole,
        "files": [
            {
                "file": str(file.recording.path),
                "site": file.recording.metadata.get("site"),
                "records": file.records,
                "damage": file.damage,
                "index": file.index,
                "attachments": file.attachments,
                "unread": dict(sorted(file.unread.items())),
            }
            for file in found.files
        ],
        "missing": found.missing,
        "unknown_behind": [str(path) for path in found.unknown_behind],
        "missed": found.missed,
        "holes": [
            {
                "topic": topic,
                "partition": hole.partition,
                "records": hole.records,
                "first_offset": hole.first_offset,
                "last_offset": hole.last_offset,
                "from": iso_utc(hole.from_ns),
                "to": iso_utc(hole.to_ns),
            }
            for topic, hole in found.holes
        ],
        "lost_inputs": found.lost_inputs,
        "sequence_gaps": [
            {
                "unit": gap.unit,
                "source": gap.source,
                "epoch": gap.epoch,
                "sequence": gap.sequence,
                "missing": gap.missing,
                "partition": gap.partition,
                "offset": gap.offset,
                "at": iso_utc(gap.log_ns),
            }
            for gap in found.sequence_gaps
        ],
        "restarts": found.tracker.restarts,
        "duplicates": found.tracker.duplicates,
        "gaps": found.tracker.gaps,
        "undecodable": dict(sorted(found.undecodable.items())),
        "rolled": found.rolled,
    }


def check_lines(found: Checked) -> Iterator[str]:
    """What a check found, in words."""
    for file in found.files:
        yield f"{file.recording.path}: {file.records:,} records"
        for kind, lines in (
            ("damaged", file.damage),
            ("index", file.index),
            ("attachments", file.attachments),
        ):
            yield from (f"  {kind}: {line}" for line in lines[:SHOWN])
            if len(lines) > SHOWN:
                yield f"  {kind}: {len(lines) - SHOWN} more"
        for topic, count in sorted(file.unread.items()):
            yield f"  missing: {count:,} records of {topic}, by the index"
    yield from (f"missing: {line}" for line in found.missed)
    for topic, hole in found.holes[:SHOWN]:
        yield (
            f"missing: {hole.records:,} records of {topic}/{hole.partition}, offsets {hole.first_offset} to "
            f"{hole.last_offset}, between {iso_utc(hole.from_ns)} and {iso_utc(hole.to_ns)}"
        )
    for gap in found.sequence_gaps[:SHOWN]:
        yield (
            f"missing: {gap.missing:,} inputs of {gap.source} for {gap.unit}, epoch {gap.epoch}, from sequence "
            f"{gap.sequence} on, before {EVENTS.name}/{gap.partition} offset {gap.offset} at {iso_utc(gap.log_ns)}"
        )
    for path in found.unknown_behind:
        yield f"missing: nobody knows what lay behind the end of {path.name}, or how much"
    more = max(0, len(found.holes) - SHOWN) + max(0, len(found.sequence_gaps) - SHOWN)
    if more:
        yield f"missing: {more} more places: --json lists them"
    tracker = found.tracker
    yield (
        f"sources: {tracker.restarts} restarts, {tracker.gaps} gaps that they report themselves, "
        f"{tracker.duplicates} repeats, {sum(found.undecodable.values())} records that nobody can read"
    )
    if found.rolled:
        yield f"the log was rolled: offsets start again in {found.rolled} places"
    yield (
        "whole"
        if found.is_whole
        else f"not whole: {found.missing:,} records and {found.lost_inputs:,} inputs missing{_unknown(found)}"
    )


def _unknown(found: Checked) -> str:
    return ", and nobody knows how many more" if found.unknown_behind else ""
