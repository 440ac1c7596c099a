"""`headrace recording info` and `strip`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import orjson

from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from streams.output_file import move_aside
from streams.recording import Recording, RecordingWriter
from streams.times import iso_utc
from streams.topics import BY_NAME


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
        print(f"{path}: site {body['site']}, {body['from']} to {body['to']}")
        for topic, count in sorted(counts.items()):
            print(f"  {topic:14} {count:>10,} records {sizes[topic]:>14,} bytes")
        print(f"  carries {', '.join(sorted(recording.attachments)) or 'no site and no rules'}")
        for line in recording.damage:
            print(f"  damaged: {line}")
        for topic, count in sorted(missing.items()):
            print(f"  missing: {count:,} of {named[topic]:,} records of {topic}, by the index")
    return 1 if recording.damage else 0


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
    if output.exists() and output.samefile(path):
        raise ConfigurationError([Finding("--output", 0, 0, "the copy would overwrite the recording")])
    recording = Recording(path)
    move_aside(output)
    kept: Counter[str] = Counter()
    with RecordingWriter(output, attachments=recording.attachments, metadata=recording.metadata) as writer:
        for log_ns, record in recording.timed_records():
            if record.topic not in left_out:
                writer.write(record, log_ns)
                kept[record.topic] += 1
    if as_json:
        body = {"output": str(output), "records": dict(sorted(kept.items())), "damage": recording.damage}
        sys.stdout.buffer.write(orjson.dumps(body) + b"\n")
    print(f"{output}: {kept.total()} records kept", file=sys.stderr)
    for line in recording.damage:
        print(f"damaged: {line}", file=sys.stderr)
    return 1 if recording.damage else 0
