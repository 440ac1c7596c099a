"""`recording check` says what is damaged or missing, and where; a whole file has nothing to say."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.writer import IndexType, Writer

from gateways.cli.main import run_app
from rules.engine.inputs import Input
from streams.record import Record
from tests.streams.recording.logs import as_records, frame, gap, readings, tick, write

Check = Callable[..., tuple[int, dict[str, Any]]]

INPUTS: list[Input] = [
    tick(100), readings(7), frame(1), gap(8), readings(9), frame(2), tick(9_000_000_000), readings(1, epoch=9),
    readings(10), readings(2, epoch=9),
]  # fmt: skip


@pytest.fixture
def check(capfd: pytest.CaptureFixture[str]) -> Check:
    def run(*paths: Path) -> tuple[int, dict[str, Any]]:
        code = run_app(["recording", "check", *map(str, paths), "--json"])
        return code, json.loads(capfd.readouterr().out)

    return run


def test_a_whole_recording_has_nothing_to_say(tmp_path: Path, check: Check) -> None:
    """A source that joined at sequence 7, a restart, a repeat of an old epoch, a skip of the ticker: no faults."""
    site = b"site: 1\n"
    digest = {"sha256.site.yaml": hashlib.sha256(site).hexdigest()}
    write(tmp_path / "a.mcap", as_records(INPUTS, 40), attachments={"site.yaml": site}, metadata=digest)
    code, said = check(tmp_path / "a.mcap")
    assert (code, said["whole"]) == (0, True)
    assert (said["restarts"], said["duplicates"], said["gaps"], said["rolled"]) == (1, 1, 1, 0)
    assert said["files"][0]["records"] == len(INPUTS)


def test_holes_of_the_offsets_are_named_one_by_one(tmp_path: Path, check: Check) -> None:
    records = as_records([tick(n * 1_000_000_000) for n in range(12)])
    compacted = [Record("alarms", 0, offset, 1, b"a", b"{}", ()) for offset in (3, 90)]
    write(tmp_path / "a.mcap", [*records[:3], *compacted, *records[5:6], *records[9:]])
    code, said = check(tmp_path / "a.mcap")
    assert (code, said["missing"]) == (1, 5)
    assert [(hole["topic"], hole["first_offset"], hole["last_offset"]) for hole in said["holes"]] == [
        ("events", 3, 4),
        ("events", 6, 8),
    ]
    assert said["files"][0]["damage"] == []


def test_what_is_missing_between_two_files_is_named(tmp_path: Path, check: Check) -> None:
    records = as_records([tick(n * 1_000_000_000) for n in range(12)])
    write(tmp_path / "a.mcap", records[:5])
    write(tmp_path / "b.mcap", records[7:], log_ns=2000)
    code, said = check(tmp_path / "a.mcap", tmp_path / "b.mcap")
    assert code == 1
    assert [(hole["first_offset"], hole["last_offset"]) for hole in said["holes"]] == [(5, 6)]
    assert check(tmp_path / "b.mcap")[0] == 0


def test_a_log_that_was_rolled_is_no_fault(tmp_path: Path, check: Check) -> None:
    records = as_records([tick(n * 1_000_000_000) for n in range(6)])
    write(tmp_path / "a.mcap", [*records, *[replace(record, offset=record.offset) for record in records[:3]]])
    code, said = check(tmp_path / "a.mcap")
    assert (code, said["rolled"]) == (0, 1)


@pytest.mark.parametrize(
    ("removed", "source", "sequence"),
    [(3, "plc", 8), (7, "plc", 1), (2, None, 0), (0, None, 0)],
)
def test_a_hole_in_a_sources_sequence_is_named(
    tmp_path: Path, check: Check, removed: int, source: str | None, sequence: int
) -> None:
    """The first of a source and a tick leave no hole that anybody could see."""
    write(tmp_path / "a.mcap", as_records(INPUTS[:removed] + INPUTS[removed + 1 :]))
    code, said = check(tmp_path / "a.mcap")
    assert code == (1 if source else 0)
    assert [(gap["source"], gap["sequence"], gap["missing"]) for gap in said["sequence_gaps"]] == (
        [(source, sequence, 1)] if source else []
    )
    assert said["missing"] == 0


def test_a_damaged_chunk_is_said_with_its_place_and_what_it_cost(tmp_path: Path, check: Check) -> None:
    path = tmp_path / "a.mcap"
    ends = write(path, as_records([readings(n) for n in range(1, 31)]))
    raw = bytearray(path.read_bytes())
    raw[ends[3] - 400] ^= 0xFF
    path.write_bytes(raw)
    code, said = check(path)
    assert code == 1
    (line,) = said["files"][0]["damage"]
    assert "is damaged and left out" in line
    assert said["files"][0]["unread"] == {"events": 5}
    assert said["missing"] == said["lost_inputs"] == 5
    (found,) = said["sequence_gaps"]
    assert (found["sequence"], found["missing"], found["offset"]) == (16, 5, 20)


def test_of_a_file_that_was_cut_off_nobody_knows_how_much_is_missing(
    tmp_path: Path, check: Check, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.mcap"
    ends = write(path, as_records([readings(n) for n in range(1, 31)]))
    path.write_bytes(path.read_bytes()[: ends[-1]])
    code, said = check(path)
    assert code == 1
    assert "it was cut off" in said["files"][0]["damage"][0]
    assert (said["missing"], said["unknown_behind"]) == (0, [str(path)])
    run_app(["recording", "check", str(path)])
    assert capfd.readouterr().out.endswith(
        "missing: nobody knows what lay behind the end of a.mcap, or how much\n"
        "sources: 0 restarts, 0 gaps that they report themselves, 0 repeats, 0 records that nobody can read\n"
        "not whole: 0 records and 0 inputs missing, and nobody knows how many more\n"
    )


@pytest.mark.parametrize(
    ("opcode", "at"),
    [
        (Opcode.CHUNK_INDEX, 0),
        (Opcode.MESSAGE_INDEX, 0),
        (Opcode.MESSAGE_INDEX, 8),
        (Opcode.ATTACHMENT_INDEX, 0),
    ],
)
def test_an_index_that_leads_elsewhere_is_said(tmp_path: Path, check: Check, opcode: int, at: int) -> None:
    """Its checksum made right again, as by a writer with a fault."""
    path = tmp_path / "a.mcap"
    write(path, as_records([readings(n) for n in range(1, 31)]), attachments={"site.yaml": b"site: 1\n"})
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    raw = bytearray(path.read_bytes())
    index = summary.chunk_indexes[2]
    if opcode == Opcode.MESSAGE_INDEX:
        (place,) = index.message_index_offsets.values()
        raw[place + 9 + 6 + at] ^= 1  # when the first message was recorded, and where it is
    elif opcode == Opcode.CHUNK_INDEX:
        place = raw.rindex(struct.pack("<QQ", index.chunk_start_offset, index.chunk_length))
        raw[place] ^= 1
    else:
        place = raw.rindex(struct.pack("<Q", summary.attachment_indexes[0].offset))
        raw[place] ^= 1
    _right_checksum(raw)
    path.write_bytes(raw)
    code, said = check(path)
    assert code == 1
    assert said["files"][0]["damage"] == []
    assert said["files"][0]["index"]


def test_messages_that_the_index_leaves_out_are_said(tmp_path: Path, check: Check) -> None:
    """Messages without indexes of their own are allowed, and whoever reads by the index finds none of them."""
    with (tmp_path / "a.mcap").open("wb") as file:
        writer = Writer(file, index_types=IndexType.CHUNK)
        writer.start()
        channel = writer.register_channel("status", "json", 0)
        writer.add_message(channel, 1, b"{}", 1)
        writer.finish()
    code, said = check(tmp_path / "a.mcap")
    assert code == 1
    assert said["files"][0]["index"] == ["the index leads to 0 messages, and says that there are 1"]


def _right_checksum(raw: bytearray) -> None:
    import zlib

    footer = len(raw) - 8 - 20
    (start,) = struct.unpack_from("<Q", raw, footer)
    struct.pack_into("<I", raw, footer + 16, zlib.crc32(raw[start : footer + 16]))


def test_an_attachment_that_is_not_the_recorded_one_is_said(tmp_path: Path, check: Check) -> None:
    digests = {
        f"sha256.{name}": hashlib.sha256(b"a").hexdigest() for name in ("site.yaml", "rules/gone.yaml")
    }
    write(tmp_path / "a.mcap", [], attachments={"site.yaml": b"b"}, metadata=digests)
    code, said = check(tmp_path / "a.mcap")
    assert code == 1
    assert said["files"][0]["attachments"] == [
        "the attachment 'rules/gone.yaml' is missing",
        "the attachment 'site.yaml' is not the one that was recorded: its SHA-256 differs",
    ]


def test_what_is_no_recording_gives_2_and_words_go_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mcap").write_bytes(b"time,value\n")
    assert run_app(["recording", "check", str(tmp_path / "a.mcap")]) == 2
    write(tmp_path / "b.mcap", as_records([readings(1), readings(3)]))
    assert run_app(["recording", "check", str(tmp_path / "b.mcap")]) == 1
    said = capfd.readouterr().out
    assert "missing: 1 inputs of plc for hall, epoch 5, from sequence 2 on, before events/0 offset 1" in said
    assert "not whole: 0 records and 1 inputs missing" in said
