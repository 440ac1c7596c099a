"""The import itself: files through a map into one recording, with a report of every row.

Rules: the recording is written under another name and takes its own only when it is whole; the same files and map
give the same bytes.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from pathlib import Path

from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.importing.inputs import InputBuilder
from streams.importing.lines import Progress
from streams.importing.map_file import ImportMap, load_map
from streams.importing.readers import read_rows
from streams.importing.report import ImportReport
from streams.importing.rows import Row, joined
from streams.output_file import move_aside
from streams.record import Record
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.recording import RecordingWriter
from streams.rule_sets.rule_folder import load_program
from streams.rule_sets.rule_set import rule_set_of
from streams.wire import encode_input

PARTITIONS = 1


def import_recording(files: Sequence[Path], map_file: Path, output: Path, progress: Progress) -> ImportReport:
    """Import `files` (all through one map) into `output`. Raises ConfigurationError with every finding."""
    plan = load_map(map_file)
    if plan.format == "opcua":
        message = "a map of format opcua reads a server, not files"
        raise ConfigurationError([Finding(str(map_file), 0, 0, message, "give opc.tcp://HOST:PORT")])
    missing = [Finding(str(file), 0, 0, "no such file") for file in files if not file.is_file()]
    if missing:
        raise ConfigurationError(missing + _output_findings(output, (*files, map_file)))
    report = ImportReport()
    rows = heapq.merge(
        *(read_rows(file, number, plan, report, progress) for number, file in enumerate(files)),
        key=lambda row: row.time_ns,
    )
    write_recording(plan, map_file, rows, output, report, made_from=files)
    return report


def write_recording(
    plan: ImportMap,
    map_file: Path,
    rows: Iterable[Row],
    output: Path,
    report: ImportReport,
    made_from: Sequence[Path] = (),
) -> None:
    """Rows in the order of time into a recording. Raises ConfigurationError with what is wrong with the call."""
    findings = _output_findings(output, (*made_from, map_file))
    if findings:
        raise ConfigurationError(findings)
    load_program(plan.site_dir, plan.site)  # what is wrong with the rules is said in the words of their files
    rule_set = rule_set_of(plan.site_dir, plan.site)
    builder = InputBuilder(plan, rule_set.digest, report)
    seen: set[int] = set()
    if not plan.is_wide:
        rows = joined(rows, seen)
    attachments = site_attachments(rule_set)
    metadata = recording_metadata(plan.site, attachments)
    attachments[f"import/{map_file.name}"] = map_file.read_bytes()
    unfinished = output.with_name(f".{output.name}.unfinished")
    try:
        with RecordingWriter(unfinished, attachments=attachments, metadata=metadata) as writer:
            for offset, value in enumerate(builder.build(rows)):
                message = encode_input(value, PARTITIONS)
                at_ns = 0 if report.last_ns is None else max(0, report.last_ns)
                writer.write(
                    Record(
                        message.topic, message.partition, offset, at_ns // 1_000_000, message.key, message.value,
                        message.headers,
                    ),
                    at_ns,
                )  # fmt: skip
        if not plan.is_wide:
            report.silent.extend(
                column.target for cell, column in enumerate(plan.columns) if cell not in seen
            )
        move_aside(output)
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)


def _output_findings(output: Path, made_from: Sequence[Path]) -> list[Finding]:
    findings = []
    if not output.parent.is_dir():
        findings.append(Finding(str(output), 0, 0, f"the folder {output.parent} does not exist"))
    if any(output.exists() and output.samefile(path) for path in made_from if path.exists()):
        findings.append(Finding(str(output), 0, 0, "the recording would overwrite what it is made from"))
    return findings
