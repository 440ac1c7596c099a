"""`headrace recording strip`, `cut`, `merge`, `repair` and `export`: copies of recordings.

Rules: a copy takes its name when it is whole, so that an interruption leaves nothing that looks like one; what stood
there is moved aside, never overwritten; words go to stderr.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from gateways.cli.moments import begin_ns, end_ns
from gateways.cli.progress import progress, records_named
from gateways.cli.recordings import check_lines
from gateways.printable import printable
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from streams.output_file import finished_file, finished_folder
from streams.record import Record, TopicPartition
from streams.recording.check import check_recordings
from streams.recording.chunks import record_of
from streams.recording.cut import between, cut_heads, cut_records, plan_cut, rule_sets_before
from streams.recording.export import Format, read_key
from streams.recording.export import export as run_export
from streams.recording.logs import in_logs, joined_heads, logs_of
from streams.recording.merge import by_log, merged_records, plan_merge
from streams.recording.recorded_site import refuse_two_sites
from streams.recording.recording import CUT, Recording, RecordingWriter, watched
from streams.recording.segments import open_recordings, with_heads
from streams.times import iso_utc
from streams.topics import BY_NAME, EVENTS

_EVER_NS = (1 << 63) - 1
_CHUNK_NS = 1_000_000_000


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
    recordings = _opened([path], output)
    kept_topics = [topic for topic in BY_NAME if topic not in left_out]
    with progress("copying", records_named(recordings)) as advance:
        everything = in_logs(recordings, logs_of(recordings), advance, kept_topics)
        records = ((log, stored[0], record_of(stored)) for log, stored in everything)
        kept = _copy(records, output, recordings[0].attachments, _joined_metadata(recordings))
    damage = _damage(recordings)
    _say(output, kept, damage, as_json)
    return 1 if damage else 0


def cut(path: Path, from_: str | None, to: str | None, output: Path, as_json: bool) -> int:
    """A part that can be replayed; 1 when the original is damaged, so that something may be missing from the part.

    The last segment of a folder has no end while its recorder writes it: that is said, and is no damage.
    """
    recordings = _opened([path], output)
    from_ns, until_ns = begin_ns(recordings, from_), end_ns(recordings, to)
    to_ns = _EVER_NS if until_ns is None else until_ns
    if from_ns > to_ns:
        raise ConfigurationError([Finding("--to", 0, 0, f"{to} lies before {from_}")])
    asked = between(recordings, from_ns, until_ns)
    with progress("cutting", records_named(asked, 3)) as advance:
        plan = plan_cut(asked, from_ns, to_ns, advance)
        if plan.without_snapshot and len(asked) < len(recordings):  # one that lies further back, if any
            asked = between(recordings, 0, until_ns)
            plan = plan_cut(asked, from_ns, to_ns, advance)
        if not plan.begin:
            raise ConfigurationError([Finding(str(path), 0, 0, "no tick of the recording lies in that time")])
        span = f"{'' if from_ is None else iso_utc(from_ns)}/{'' if until_ns is None else iso_utc(until_ns)}"
        earlier = rule_sets_before(recordings, asked[0])
        records = chain(earlier, cut_records(asked, plan, advance))
        metadata = with_heads(asked[0].metadata, cut_heads(asked, plan)) | {CUT: span}
        kept = _copy(records, output, asked[0].attachments, metadata)
    is_open = path.is_dir() and asked[-1] is recordings[-1] and asked[-1].lacks_only_its_end
    damage = _damage(asked[:-1] if is_open else asked)
    if is_open:
        print(
            f"{asked[-1].path.name} is open: its recorder is writing it, or was killed; the cut has what is there",
            file=sys.stderr,
        )
    said = {
        "cut": span,
        "snapshots": sorted(plan.snapshots),
        "without_snapshot": plan.without_snapshot,
        "open": is_open,
    }
    if plan.without_snapshot:
        print(
            f"no snapshot before the cut: engines of {', '.join(plan.without_snapshot)} start from nothing",
            file=sys.stderr,
        )
    _say(output, kept, damage, as_json, said)
    return 1 if damage else 0


def merge(paths: list[Path], output: Path, as_json: bool) -> int:
    """One recording of several; 1 when one of them is damaged, so that something may be missing."""
    recordings = _opened(paths, output)
    recordings.sort(key=lambda recording: recording.first_ns)
    first = recordings[0]
    digest = first.metadata.get("site_digest")
    for other in recordings[1:]:
        if other.metadata.get("site_digest") != digest:
            text = f"its site file is another than that of {first.path}"
            raise ConfigurationError([Finding(str(other.path), 0, 0, text)])
    metadata = _joined_metadata(recordings)
    cuts = [recording.metadata.get(CUT, "/").split("/") for recording in recordings]
    if any(CUT in recording.metadata for recording in recordings):
        ends = [end for _, end in cuts]
        metadata[CUT] = f"{min(begin for begin, _ in cuts)}/{max(ends) if all(ends) else ''}"
    with progress("merging", records_named(recordings, 2)) as advance:
        groups = by_log(recordings)
        plans = [plan_merge(group, advance) for group in groups]
        records = (
            (log, log_ns, record)
            for log, (group, plan) in enumerate(zip(groups, plans, strict=True))
            for log_ns, record in merged_records(group, plan, advance)
        )
        kept = _copy(records, output, first.attachments, metadata)
    damage = _damage(recordings)
    _say(output, kept, damage, as_json, {"repeated": sum(plan.repeated for plan in plans)})
    return 1 if damage else 0


def repair(path: Path, output: Path, as_json: bool) -> int:
    """A sound file with all that can be read; 1 when something is lost for good. A folder is refused."""
    if path.is_dir():
        text = "a folder of segments, whose recorder makes the last one whole when it starts"
        raise ConfigurationError(
            [Finding(str(path), 0, 0, text, "give the segment that is damaged: `check` names it")]
        )
    (recording,) = _opened([path], output)
    with progress("repairing", records_named([recording], 2)) as advance:
        found = check_recordings([recording], advance)
        records = (
            (stored[1].log, stored[0], record_of(stored)) for stored in watched(recording.stored(), advance)
        )
        kept = _copy(records, output, recording.attachments, _repaired_metadata(recording))
    (file,) = found.files
    lost = {
        "unread": dict(sorted(file.unread.items())),
        "missing": found.missing,
        "unknown_behind": bool(found.unknown_behind),
        "lost_inputs": found.lost_inputs,
        "attachments": file.attachments,
    }
    for line in check_lines(found):
        print(printable(line), file=sys.stderr)
    _say(output, kept, file.damage, as_json, {"lost": lost, "index": file.index})
    return 1 if recording.lacks_records or file.attachments else 0


def export(path: Path, output: Path, kind: Format, key_file: Path | None, as_json: bool) -> int:
    """Tables for other tools; 1 when the recording is damaged (the tables hold what could be read)."""
    key = None if key_file is None else read_key(key_file)
    recordings = open_recordings([path])
    with progress("exporting", records_named(recordings)) as advance, finished_folder(output) as part:
        exported = run_export(recordings, part, kind, key, advance)
    damage = _damage(recordings)
    if as_json:
        body = {
            "output": str(output),
            "rows": dict(sorted(exported.rows.items())),
            "repeats": exported.repeats,
            "undecodable": dict(sorted(exported.undecodable.items())),
            "damage": damage,
        }
        sys.stdout.buffer.write(orjson.dumps(body) + b"\n")
    rows = ", ".join(f"{count:,} {name}" for name, count in sorted(exported.rows.items()))
    print(printable(f"{output}: {rows or 'no rows'}"), file=sys.stderr)
    for line in damage:
        print(printable(f"damaged: {line}"), file=sys.stderr)
    return 1 if damage else 0


def _opened(paths: list[Path], output: Path) -> list[Recording]:
    """Files, and folders as their segments, which are of one site and have another name than the copy."""
    recordings = open_recordings(paths)
    _refuse_itself(output, [recording.path for recording in recordings])
    refuse_two_sites(recordings)
    return recordings


def _joined_metadata(recordings: Sequence[Recording]) -> dict[str, str]:
    return with_heads(recordings[0].metadata, joined_heads(recordings))


def _repaired_metadata(recording: Recording) -> dict[str, str]:
    """With a head that says where each partition began, so that holes in the copy are seen where they are."""
    first, *others = joined_heads([recording])
    if CUT not in recording.metadata and not first.positions:
        begins = {TopicPartition(*place): one.first_offset for place, one in recording.named.items()}
        first = first._replace(positions=begins)
    return with_heads(recording.metadata, [first, *others])


def _damage(recordings: Sequence[Recording]) -> list[str]:
    named = len(recordings) > 1
    return [f"{one.path}: {line}" if named else line for one in recordings for line in one.damage]


def _refuse_itself(output: Path, inputs: Sequence[Path]) -> None:
    if output.exists() and any(path.exists() and output.samefile(path) for path in inputs):
        raise ConfigurationError([Finding("--output", 0, 0, "the copy would take the recording's place")])


def _copy(
    records: Iterable[tuple[int, int, Record]],
    output: Path,
    attachments: Mapping[str, bytes],
    metadata: Mapping[str, str],
) -> Counter[str]:
    """Write records, each with the number of its log and the recorder's time; how many of each topic.

    A chunk ends with each second, as a recorder ends it, so that a replay finds its way in the copy, too.
    """
    kept: Counter[str] = Counter()
    of_log, begun_ns = -1, 0
    with (
        finished_file(output) as part,
        RecordingWriter(part, attachments=attachments, metadata=metadata) as writer,
    ):
        for log, log_ns, record in records:
            if 0 <= of_log < log:
                writer.begin_log()
            if log_ns >= begun_ns + _CHUNK_NS:
                writer.flush()
                begun_ns = log_ns
            of_log = log
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
        print(printable(f"damaged: {line}"), file=sys.stderr)
