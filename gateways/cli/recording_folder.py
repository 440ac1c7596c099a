"""`headrace recording info FOLDER`: the segments of an always-on recorder, its incidents and gaps."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from gateways.printable import printable
from streams.recorder.incidents import Incident, incidents_in
from streams.recording.missing import Missing, MissingRecords
from streams.recording.recording import Recording
from streams.recording.segments import begin_ns, missed_before, open_recordings
from streams.times import iso_utc
from streams.topics import TOPICS


@dataclass(frozen=True, slots=True)
class _Segment:
    """One file. `first_ns`, `last_ns`: the recorder's times of its first and last record, 0 where it has none."""

    file: Path
    records: int
    first_ns: int
    last_ns: int
    damage: list[str]
    is_open: bool = False

    def plain(self) -> dict[str, Any]:
        return {
            "file": self.file.name,
            "bytes": self.file.stat().st_size,
            "records": self.records,
            "from": iso_utc(self.first_ns) if self.records else None,
            "to": iso_utc(self.last_ns) if self.records else None,
            "damage": self.damage,
            "open": self.is_open,
        }


def show_folder(folder: Path, as_json: bool) -> int:
    """What the folder's segments hold; 1 when something is missing from them."""
    recordings = open_recordings([folder])
    counts: Counter[str] = Counter()
    missing = MissingRecords({topic.name for topic in TOPICS})
    segments = [_read(recording, missing, counts) for recording in recordings]
    if recordings[-1].lacks_only_its_end:  # it is being written, or its recorder was killed
        segments[-1] = replace(segments[-1], damage=[], is_open=True)
    gaps = [_plain_gap(topic, one) for (topic, _), one in sorted(missing.spans.items())]
    missed = missed_before(recordings)
    incidents = incidents_in(folder)
    body = {
        "site": recordings[-1].metadata.get("site"),
        "segments": [segment.plain() for segment in segments],
        "records": dict(sorted(counts.items())),
        "incidents": [_plain_incident(one, recordings) for one in incidents],
        "gaps": gaps,
        "missed": missed,
    }
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(body) + b"\n")
    else:
        _print(folder, body)
    return 1 if gaps or missed or any(segment.damage for segment in segments) else 0


def _read(recording: Recording, missing: MissingRecords, counts: Counter[str]) -> _Segment:
    first_ns = last_ns = records = 0
    missing.begin(recording, is_intact=True)
    for log_ns, place, offset, _, _ in recording.stored():
        missing.pass_by(place[:2], offset, log_ns, not recording.lacks_records, place.log)
        counts[place.topic] += 1
        records += 1
        first_ns, last_ns = first_ns or log_ns, log_ns
    missing.end(recording)
    return _Segment(recording.path, records, first_ns, last_ns, recording.damage)


def _plain_gap(topic: str, gap: Missing) -> dict[str, Any]:
    return {
        "topic": topic,
        "partition": gap.partition,
        "records": gap.records,
        "first_offset": gap.first_offset,
        "last_offset": gap.last_offset,
        "from": iso_utc(gap.from_ns),
        "to": iso_utc(gap.to_ns),
    }


def _plain_incident(incident: Incident, recordings: list[Recording]) -> dict[str, Any]:
    ends = [*(begin_ns(one.path) for one in recordings[1:]), 1 << 62]
    spans = zip(recordings, ends, strict=True)
    return {
        "mark": incident.file.name,
        "from": iso_utc(incident.from_ns) if incident.alarms else None,
        "to": iso_utc(incident.to_ns) if incident.alarms else None,
        "alarms": incident.alarms,
        "segments": [
            one.path.name
            for one, end_ns in spans
            if begin_ns(one.path) <= incident.to_ns and incident.from_ns <= end_ns
        ],
    }


def _print(folder: Path, body: dict[str, Any]) -> None:
    size = sum(segment["bytes"] for segment in body["segments"])
    site = printable(f"{folder}: site {body['site']}")
    print(f"{site}, {len(body['segments'])} segments, {size / 1e6:,.1f} MB")
    for segment in body["segments"]:
        span = f"{segment['from']} to {segment['to']}" if segment["records"] else "no record"
        print(
            f"  {segment['file']} {segment['bytes'] / 1e6:>10,.1f} MB {segment['records']:>10,} records, {span}"
        )
        if segment["open"]:
            print("    open: its recorder is writing it, or was killed")
        for line in segment["damage"]:
            print(printable(f"    damaged: {line}"))
    for topic, count in body["records"].items():
        print(printable(f"  {topic:14} {count:>10,} records"))
    for incident in body["incidents"]:
        alarms = incident["alarms"]
        what = (
            printable(f"{alarms[0]['message']} ({alarms[0]['rule']})")
            if alarms
            else "a mark that can't be read"
        )
        more = f" and {len(alarms) - 1} more alarms" if len(alarms) > 1 else ""
        print(
            f"  incident: {incident['from']} to {incident['to']}, {len(incident['segments'])} segments: {what}{more}"
        )
        if alarms:
            print(printable(f"    first raised {alarms[0]['raised_at']}, id {alarms[0]['id']}"))
    for gap in body["gaps"]:
        print(
            f"  gap: {gap['records']:,} records of {printable(gap['topic'])}, partition {gap['partition']}, offsets "
            f"{gap['first_offset']} to {gap['last_offset']}, between {gap['from']} and {gap['to']}"
        )
    for line in body["missed"]:
        print(printable(f"  gap: {line}"))
