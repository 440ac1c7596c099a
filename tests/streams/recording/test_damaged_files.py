"""Files whose framing was lost, whose index was cut, or that were appended to each other."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mcap.reader import make_reader
from mcap.writer import CompressionType

from streams.record import Record
from streams.recording import file as recording_file
from streams.recording.recording import Recording, RecordingWriter

CHUNK = 5
Spoil = Callable[[bytes, int], bytes]


def write(path: Path, records: list[Record]) -> list[int]:
    """Chunks of five records; where the first ends, and each of the others."""
    ends = []
    with RecordingWriter(path, attachments={"site.yaml": b"site: 1\n"}, metadata={"site": "demo"}) as writer:
        for index, record in enumerate(records):
            writer.write(record, 1000 + index)
            if index % CHUNK == CHUNK - 1:
                writer.flush()
                ends.append(path.stat().st_size)
    return ends


@pytest.fixture
def records() -> list[Record]:
    """Forty, of three units in two partitions, whose channels come one after the other."""
    return [
        Record("events", n % 2, 7 + n // 2, 1, b"unit-%d" % (n // 11), b"%d-text-%d" % (n, n * 7919), ())
        for n in range(40)
    ]


def inserted(raw: bytes, at: int) -> bytes:
    return raw[:at] + b"\x06nonsense" * 7 + raw[at:]


def zeroed(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes(60) + raw[at + 60 :]


def deleted(raw: bytes, at: int) -> bytes:
    return raw[:at] + raw[at + 23 :]


def long_length(raw: bytes, at: int) -> bytes:
    """Where a record begins, it claims to be as long as nothing is."""
    return raw[: at + 1] + b"\xff" * 7 + raw[at + 8 :]


@pytest.mark.parametrize("spoil", [inserted, zeroed, deleted, long_length])
def test_what_lies_behind_lost_framing_is_read_and_what_is_missing_is_known(
    tmp_path: Path, records: list[Record], spoil: Spoil
) -> None:
    path = tmp_path / "a.mcap"
    ends = write(path, records)
    whole = path.read_bytes()
    for at in range(ends[0], ends[-2] - 60, 11):
        path.write_bytes(spoil(whole, at))
        recording = Recording(path)
        read = list(recording.records())
        assert len(recording.damage) == int(recording.lacks_records), at
        assert recording.lacks_records or read == records
        assert read == [record for record in records if record in read]
        assert read[:CHUNK] == records[:CHUNK]
        assert read[-CHUNK:] == records[-CHUNK:]
        assert len(read) >= len(records) - 2 * CHUNK, (at, recording.damage)
        assert {place: one.records for place, one in recording.named.items()} == {
            ("events", 0): 20,
            ("events", 1): 20,
        }


def test_bytes_between_two_chunks_cost_no_record(tmp_path: Path, records: list[Record]) -> None:
    path = tmp_path / "a.mcap"
    ends = write(path, records)
    whole = path.read_bytes()
    path.write_bytes(whole[: ends[3]] + b"nonsense" + whole[ends[3] :])
    recording = Recording(path)
    assert list(recording.records()) == records
    assert recording.damage == [
        f"no record begins at byte {ends[3]}: reading goes on at byte {ends[3] + len(b'nonsense')}"
    ]


def test_without_its_index_a_file_is_still_read_behind_the_damage(
    tmp_path: Path, records: list[Record]
) -> None:
    path = tmp_path / "a.mcap"
    ends = write(path, records)
    path.write_bytes(inserted(path.read_bytes()[: ends[-1]], ends[4] + 60))
    recording = Recording(path)
    assert list(recording.records()) == records[:25] + records[30:]
    assert len(recording.damage) == 2
    assert "without its index: it was cut off" in recording.damage[1]
    assert recording.named == {}


def test_channels_that_lay_in_a_damaged_chunk_are_taken_from_the_index(
    tmp_path: Path, records: list[Record]
) -> None:
    path = tmp_path / "a.mcap"
    ends = write(path, records)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"0-text-0")] ^= 0xFF
    path.write_bytes(raw)
    recording = Recording(path)
    assert list(recording.records()) == records[CHUNK:]
    assert len(recording.damage) == 1
    path.write_bytes(raw[: ends[-1]])
    recording = Recording(path)
    assert len(list(recording.records())) < len(records) - CHUNK
    assert len(recording.damage) == 3
    assert "messages whose channel lay in a damaged chunk" in recording.damage[2]


def test_a_cut_within_the_index_costs_no_record_and_is_said(tmp_path: Path, records: list[Record]) -> None:
    path = tmp_path / "a.mcap"
    ends = write(path, records)
    whole = path.read_bytes()
    for size in range(ends[-1] + 13, len(whole), 29):
        path.write_bytes(whole[:size])
        recording = Recording(path)
        assert list(recording.records()) == records
        assert not recording.lacks_records
        assert len(recording.damage) == 1
        assert "was cut off or is damaged" in recording.damage[0]


def test_what_follows_the_end_is_said(tmp_path: Path, records: list[Record]) -> None:
    first, second, both = tmp_path / "a.mcap", tmp_path / "b.mcap", tmp_path / "both.mcap"
    write(first, records[:20])
    write(second, records[20:])
    whole = first.read_bytes()
    both.write_bytes(whole + second.read_bytes())
    recording = Recording(both)
    assert list(recording.records()) == records[:20]
    assert recording.lacks_records
    assert [f"at byte {len(whole)}: another recording" in line for line in recording.damage] == [True]
    both.write_bytes(whole + bytes(100))
    recording = Recording(both)
    assert list(recording.records()) == records[:20]
    assert recording.damage == [f"100 bytes follow the end of the recording at byte {len(whole)}"]


def test_an_index_that_names_more_than_there_is_is_damage(tmp_path: Path, records: list[Record]) -> None:
    """A chunk was cut out whole: every record that is left begins where it should."""
    path = tmp_path / "a.mcap"
    ends = write(path, records)
    whole = path.read_bytes()
    path.write_bytes(whole[: ends[2]] + whole[ends[3] :])
    recording = Recording(path)
    assert len(list(recording.records())) == 35
    assert recording.damage == ["the index names 40 records, and 35 can be read"]


def test_a_byte_of_the_index_that_is_wrong_is_said(tmp_path: Path, records: list[Record]) -> None:
    path = tmp_path / "a.mcap"
    ends = write(path, records)
    whole = path.read_bytes()
    for at in range(ends[-1] + 13, len(whole) - 8, 31):
        raw = bytearray(whole)
        raw[at] ^= 1
        path.write_bytes(raw)
        recording = Recording(path)
        assert list(recording.records()) == records, at
        assert len(recording.damage) == 1, at


def test_memory_that_is_given_back_can_still_be_read(
    tmp_path: Path, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    whole = recording_file.release

    def release(view: mmap.mmap, begin: int, at: int) -> int:
        given.append(whole(view, begin, at))
        return given[-1]

    monkeypatch.setattr(recording_file, "_HELD_BYTES", 1)
    monkeypatch.setattr(recording_file, "release", release)
    many = [replace(record, value=b"%d" % n * 999) for n, record in enumerate(records)]
    with RecordingWriter(tmp_path / "a.mcap", compression=CompressionType.NONE) as writer:
        for record in many:
            writer.write(record, 1)
            writer.flush()
    recording = Recording(tmp_path / "a.mcap")
    for _ in range(2):
        assert list(recording.records()) == many
    assert max(given) > 16 * mmap.PAGESIZE


def test_a_chunk_within_a_value_is_no_chunk_of_the_file(tmp_path: Path, records: list[Record]) -> None:
    inner, outer = tmp_path / "inner.mcap", tmp_path / "outer.mcap"
    ends = write(inner, records)
    values = [Record("events", 0, n, 1, b"a", inner.read_bytes()[ends[1] : ends[3]], ()) for n in range(2)]
    with RecordingWriter(outer, compression=CompressionType.NONE) as writer:
        writer.write(values[0], 1)
        writer.flush()
        writer.write(values[1], 2)
    with outer.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    end = summary.chunk_indexes[1].chunk_start_offset + summary.chunk_indexes[1].chunk_length
    raw = outer.read_bytes()
    outer.write_bytes(raw[:end] + b"nonsense" + raw[end:])
    assert list(Recording(outer).records()) == values
