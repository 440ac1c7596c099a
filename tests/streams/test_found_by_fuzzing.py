"""Inputs that `tools/fuzz` found, which ended in something else than a declared error."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import lz4.frame
import orjson
import pytest

from rules.engine.engine import Engine
from rules.engine.inputs import Gap, Identity
from rules.errors import ConfigurationError, UndecodableError
from rules.language.expression import parse_expression
from rules.strict_yaml import load
from streams.record import Record
from streams.recording.check import check_recordings
from streams.recording.file import CHUNK_MAX_BYTES
from streams.recording.recording import Recording, RecordingWriter
from streams.recording.segments import heads_of
from streams.settings import load_settings
from streams.text_file import read_text
from streams.wire import decode_input, decode_output, encode_input
from tests.rules.engine.plant import LOW, START, UNIT, S, flow, frame, program, site

GAP = encode_input(Gap(UNIT, Identity("plant", 5, 1), "disconnected", START, START + S, 12), 3)


def changed(**fields: object) -> bytes:
    assert GAP.value is not None
    envelope = orjson.loads(GAP.value)
    for name, value in fields.items():
        (envelope if name in envelope else envelope["body"])[name] = value
    return orjson.dumps(envelope)


@pytest.mark.parametrize("value", [[], {}, None, 3, True, "nonsense"])
def test_a_choice_may_be_of_any_type(value: object) -> None:
    body = {"state": value}
    data = orjson.dumps({"schema": "alarm/1", "id": "x", "unit": UNIT, "body": body})
    with pytest.raises(UndecodableError):
        decode_output((("schema", b"alarm/1"),), data)


@pytest.mark.parametrize(
    "fields",
    [
        {"sequence": -(2**63)},
        {"sequence": 2**64 - 1},
        {"epoch": 2**63},
        {"epoch": -1},
        {"readings": 2**63},
        {"to_ns": 2**63 - 1},
    ],
)
def test_numbers_that_no_one_can_count_with_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(UndecodableError, match="can't be"):
        decode_input(GAP.key, GAP.headers, changed(**fields))


def test_the_largest_sequence_stops_no_engine() -> None:
    engine = Engine(program(LOW), site(), UNIT)
    engine.step([flow(1, START, 10.0)])
    engine.step([decode_input(GAP.key, GAP.headers, changed(sequence=2**63 - 1, epoch=2**63 - 1))])


def test_frames_and_readings_count_from_0_and_epochs_fit() -> None:
    for again in range(3):  # the third is read by a layout that was learned
        message = encode_input(flow(-7 - again, START, 1.0), 3)
        with pytest.raises(UndecodableError, match="the sequence"):
            decode_input(message.key, message.headers, message.value)
        good = encode_input(flow(1 + again, START, 1.0), 3)
        decode_input(good.key, good.headers, good.value)
    headers = tuple(
        (name, b"9999999999999999999" if name == "epoch" else value) for name, value in good.headers
    )
    with pytest.raises(UndecodableError, match="epoch"):
        decode_input(good.key, headers, good.value)


@pytest.mark.parametrize("ingest_ns", [-1, 2**62 + 1, 2**63 - 1])
def test_a_time_of_arrival_to_which_nothing_can_be_added_is_none(ingest_ns: int) -> None:
    for again in range(3):  # the third is read by a layout that was learned
        for value in (flow(again, START, 1.0), frame(again, START, 50.0)):
            message = encode_input(replace(value, ingest_ns=ingest_ns), 3)
            with pytest.raises(UndecodableError, match="the ingest time"):
                decode_input(message.key, message.headers, message.value)


def test_a_time_without_end_is_out_of_range() -> None:
    root, findings = load("a: 1e300 d\n", "x.yaml")
    assert root is not None
    assert root.entries["a"].as_duration_ns() is None
    assert "out of range" in findings[0].message
    assert "out of range" in str(parse_expression("avg(temperature, 1e308 min) > 3 K"))


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: &x 1\nb: *x\n", "a: !!python/object:os.system x", "- a\n", "\x01", "broker: {bootstrap: 2026-13-45}", "a: %", "=: 1"],
)  # fmt: skip
def test_a_settings_file_that_is_none_is_a_finding(text: str, tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError):
        load_settings(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load_settings(file)


def test_a_settings_file_of_comments_sets_nothing(tmp_path: Path) -> None:
    (tmp_path / "headrace.yaml").write_text("# nothing yet\n\n")
    assert load_settings(tmp_path / "headrace.yaml").model_dump() == load_settings().model_dump()


def written(path: Path) -> bytearray:
    with RecordingWriter(path, metadata={"positions": "{}"}) as writer:
        for number in range(6):
            one = encode_input(flow(number + 1, START + number * S, 1.0), 1)
            writer.write(Record(one.topic, 0, number, 5, one.key, one.value, one.headers), START + number * S)
            if number == 2:
                writer.flush()
    return bytearray(path.read_bytes())


def chunk(records: bytes, size: int) -> bytes:
    packed = lz4.frame.compress(records)
    body = struct.pack("<QQQII3sQ", START, START, size, 0, 3, b"lz4", len(packed)) + packed
    return struct.pack("<BQ", 6, len(body)) + body


@pytest.mark.parametrize(
    ("records", "size", "said"),
    [
        (bytes(8 << 20), 100, "does not hold the 100 bytes"),
        (bytes(100), 8 << 20, "does not hold the"),
        (bytes(100), 1 << 62, f"more than {CHUNK_MAX_BYTES}"),
        (b"\x05\xff", 2, "can't be read"),
        (struct.pack("<BQ", 5, 1 << 40) + bytes(40), 49, "can't be read"),
        (struct.pack("<BQ", 4, 3) + b"abc", 12, "can't be read"),
    ],
)
def test_a_chunk_that_lies_costs_itself_and_is_said(
    records: bytes, size: int, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "x.mcap"
    data = written(file)
    at = data.index(b"\x06", 8 + 9)
    while struct.unpack_from("<Q", data, at + 9)[0] != START:
        at = data.index(b"\x06", at + 1)
    data[at:at] = chunk(records, size)
    file.write_bytes(data)
    recording = Recording(file)
    assert len(list(recording.records())) == 6
    assert any(said in line for line in recording.damage), recording.damage
    assert not check_recordings([Recording(file)], lambda _: None).is_whole


def test_an_index_that_lies_with_a_right_checksum_is_none(tmp_path: Path) -> None:
    file = tmp_path / "x.mcap"
    data = written(file)
    footer_at = len(data) - 28
    (start,) = struct.unpack_from("<Q", data, footer_at)
    for at in range(start, footer_at - 9 - 4, 3):
        lies = bytearray(data)
        struct.pack_into("<I", lies, at, 0xFFFF_FFFF)
        struct.pack_into("<I", lies, footer_at + 16, zlib.crc32(lies[start : footer_at + 16]))
        file.write_bytes(lies)
        assert len(list(Recording(file).records())) == 6
        check_recordings([Recording(file)], lambda _: None)


def test_metadata_that_are_none_of_ours_are_a_finding(tmp_path: Path) -> None:
    file = tmp_path / "x.mcap"
    with RecordingWriter(file, metadata={"positions": "{no json", "fresh_logs": "[3]"}):
        pass
    with pytest.raises(ConfigurationError, match="metadata"):
        heads_of(Recording(file))


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_a_name_that_no_file_can_have_is_a_finding(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no file can have this name"):
        read_text(Path(name), "map.yaml")
