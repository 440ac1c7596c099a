"""`headrace recording strip`, `cut`, `merge`, `repair` and `export`: copies of recordings.

Rules: a copy takes its name when it is whole, so that an interruption leaves nothing that looks like one; what stood
there is moved aside, never overwritten; words go to stderr.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from gateways.cli.moments import begin_ns, end_ns
from gateways.cli.progress import progress, records_named
from gateways.cli.recordings import check_lines
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from streams.output_file import finished_file, finished_folder
from streams.record import Record
from streams.recording.check import check_recordings
from streams.recording.cut import cut_records, plan_cut
from streams.recording.export import Format, read_key
from streams.recording.export import export as run_export
from streams.recording.merge import merged_records, plan_merge
from streams.recording.recorded_site import refuse_two_sites
from streams.recording.recording import CUT, Recording, RecordingWriter, watched
from streams.recording.segments import without_head
from streams.times import iso_utc
from streams.topics import BY_NAME, EVENTS

_EVER_NS = (1 << 63) - 1


def strip(path: Path, output: Path, topics: str, as_json: bool) -> int:
    """A copy without some topics; 1 when the original is damaged (the copy holds what could be read)."""
    left_out = {topic.strip() for topic in topics.split(",") if topic.strip()}
    wrong = [topic for topic in sorted(left_out) if topic not in BY_NAME]
    if wrong:
        raise ConfigurationError(
            [
                Finding("--topics", 0, 0, f"unknown topic '{topic}'", nearest(topic, BY_NAME))
                for topic in wrong
            ]
        )
    _refuse_itself(output, [path])
    recording = Recording(path)
    with progress("copying", records_named([recording])) as advance:
        everything = watched(recording.timed_records(), advance)
        records = (item for item in everything if item[1].topic not in left_out)
        kept = _copy(records, output, recording.attachments, recording.metadata)
    _say(output, kept, recording.damage, as_json)
    return 1 if recording.damage else 0


def cut(path: Path, from_: str | None, to: str | None, output: Path, as_json: bool) -> int:
    """A part that can be replayed; 1 when the original is damaged, so that something may be missing from the part."""
    _refuse_itself(output, [path])
    recording = Recording(path)
    from_ns, until_ns = begin_ns([recording], from_), end_ns([recording], to)
    to_ns = _EVER_NS if until_ns is None else until_ns
    if from_ns > to_ns:
        raise ConfigurationError([Finding("--to", 0, 0, f"{to} lies before {from_}")])
    with progress("cutting", records_named([recording], 3)) as advance:
        plan = plan_cut(recording, from_ns, to_ns, advance)
        if not plan.begin:
            raise ConfigurationError([Finding(str(path), 0, 0, "no tick of the recording lies in that time")])
        span = f"{'' if from_ is None else iso_utc(from_ns)}/{'' if until_ns is None else iso_utc(until_ns)}"
        records = cut_records(recording, plan, advance)
        kept = _copy(records, output, recording.attachments, {**without_head(recording.metadata), CUT: span})
    said = {
        "cut": span,
        "snapshots": sorted(plan.snapshots),
        "without_snapshot": plan.without_snapshot,
    }
    if plan.without_snapshot:
        print(
            f"no snapshot before the cut: engines of {', '.join(plan.without_snapshot)} start from nothing",
            file=sys.stderr,
        )
    _say(output, kept, recording.damage, as_json, said)
    return 1 if recording.damage else 0


def merge(paths: list[Path], output: Path, as_json: bool) -> int:
    """One recording of several; 1 when one of them is damaged, so that something may be missing."""
    _refuse_itself(output, paths)
    recordings = [Recording(path) for path in paths]
    refuse_two_sites(recordings)
    recordings.sort(key=lambda recording: recording.first_ns)
    first = recordings[0]
    digest = first.metadata.get("site_digest")
    for other in recordings[1:]:
        if other.metadata.get("site_digest") != digest:
            text = f"its site file is another than that of {first.path}"
            raise ConfigurationError([Finding(str(other.path), 0, 0, text)])
    metadata = without_head(first.metadata)
    cuts = [recording.metadata.get(CUT, "/").split("/") for recording in recordings]
    if any(CUT in recording.metadata for recording in recordings):
        ends = [end for _, end in cuts]
        metadata[CUT] = f"{min(begin for begin, _ in cuts)}/{max(ends) if all(ends) else ''}"
    with progress("merging", records_named(recordings, 2)) as advance:
        plan = plan_merge(recordings, advance)
        kept = _copy(merged_records(recordings, plan, advance), output, first.attachments, metadata)
    damage = [f"{one.path}: {line}" for one in recordings for line in one.damage]
    _say(output, kept, damage, as_json, {"repeated": plan.repeated})
    return 1 if damage else 0


def repair(path: Path, output: Path, as_json: bool) -> int:
    """A sound file with all that can be read; 1 when something is lost for good."""
    _refuse_itself(output, [path])
    recording = Recording(path)
    with progress("repairing", records_named([recording], 2)) as advance:
        found = check_recordings([recording], advance)
        records = watched(recording.timed_records(), advance)
        kept = _copy(records, output, recording.attachments, recording.metadata)
    (file,) = found.files
    lost = {
        "unread": dict(sorted(file.unread.items())),
        "missing": found.missing,
        "lost_inputs": found.lost_inputs,
        "attachments": file.attachments,
    }
    for line in check_lines(found):
        print(line, file=sys.stderr)
    _say(output, kept, file.damage, as_json, {"lost": lost, "index": file.index})
    return 1 if recording.lacks_records or file.attachments else 0


def export(path: Path, output: Path, kind: Format, key_file: Path | None, as_json: bool) -> int:
    """Tables for other tools; 1 when the recording is damaged (the tables hold what could be read)."""
    key = None if key_file is None else read_key(key_file)
    recording = Recording(path)
    with progress("exporting", records_named([recording])) as advance, finished_folder(output) as part:
        exported = run_export(recording, part, kind, key, advance)
    if as_json:
        body = {
            "output": str(output),
            "rows": dict(sorted(exported.rows.items())),
            "repeats": exported.repeats,
            "undecodable": dict(sorted(exported.undecodable.items())),
            "damage": recording.damage,
        }
        sys.stdout.buffer.write(orjson.dumps(body) + b"\n")
    rows = ", ".join(f"{count:,} {name}" for name, count in sorted(exported.rows.items()))
    print(f"{output}: {rows or 'no rows'}", file=sys.stderr)
    for line in recording.damage:
        print(f"damaged: {line}", file=sys.stderr)
    return 1 if recording.damage else 0


def _refuse_itself(output: Path, inputs: Sequence[Path]) -> None:
    if output.exists() and any(path.exists() and output.samefile(path) for path in inputs):
        raise ConfigurationError([Finding("--output", 0, 0, "the copy would take the recording's place")])


def _copy(
    records: Iterable[tuple[int, Record]],
    output: Path,
    attachments: Mapping[str, bytes],
    metadata: Mapping[str, str],
) -> Counter[str]:
    """Write them; how many of each topic."""
    kept: Counter[str] = Counter()
    with (
        finished_file(output) as part,
        RecordingWriter(part, attachments=attachments, metadata=metadata) as writer,
    ):
        for log_ns, record in records:
            writer.write(record, log_ns)
            kept[record.topic] += 1
    return kept


def _say(
    output: Path,
    kept: Counter[str],
    damage: Sequence[str],
    as_json: bool,
    more: Mapping[str, Any] | None = None,
) -> None:
    if as_json:
        body = {
            "output": str(output),
            "records": dict(sorted(kept.items())),
            "damage": damage,
            **(more or {}),
        }
        sys.stdout.buffer.write(orjson.dumps(body) + b"\n")
    print(f"{output}: {kept.total():,} records, {kept[EVENTS.name]:,} of them inputs", file=sys.stderr)
    for line in damage:
        print(f"damaged: {line}", file=sys.stderr)
