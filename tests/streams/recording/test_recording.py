from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader

from rules.engine.inputs import Identity, Readings, Tick
from rules.errors import ConfigurationError
from streams.record import Record
from streams.recording import recording
from streams.recording.recording import Recording, RecordingWriter
from streams.wire import decode_input, encode_input


def record(offset: int, value: bytes | None = b"{}", **changes: object) -> Record:
    fields = {
        "topic": "events",
        "partition": 0,
        "offset": offset,
        "timestamp_ms": 1_700_000_000_000 + offset,
        "key": b"row-a",
        "value": value,
        "headers": (("schema", b"tick/1"),),
    }
    return Record(**{**fields, **changes})  # type: ignore[arg-type]


def write(path: Path, records: list[Record], chunk_every: int = 0) -> None:
    with RecordingWriter(path, attachments={"site.yaml": b"site: 1\n"}, metadata={"site": "demo"}) as writer:
        for index, one in enumerate(records):
            writer.write(one, index)
            if chunk_every and index % chunk_every == chunk_every - 1:
                writer.flush()


ODD = [
    record(0, b'{"a":1}'),
    record(1, b"\x00\xff", key=b"\xff\xfe"),
    record(2, b"x", key=None, headers=()),
    record(3, b"", key=b""),
    record(4, None),
    record(5, b"{}", headers=(("a", b"1"), ("a", b"2"))),
    record(6, b"{}", headers=(("b", b"2"), ("a", b"1"))),
    record(7, b"{}", headers=(("a", b"1"), ("b", b"2"))),
    record(8, b"{}", headers=(("schema", b"\xff"),)),
    record(9, b"{}", timestamp_ms=-1),
    record(2**32 + 3, b"beyond 32 bits"),
    record(2**33 + 7, b"and again", topic="alarms", partition=2, key=b"row-a:flow:CDU-A"),
]


def test_every_record_comes_back_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "a.mcap", ODD)
    read = Recording(tmp_path / "a.mcap")
    assert list(read.records()) == ODD
    assert read.damage == []
    assert read.attachments == {"site.yaml": b"site: 1\n"}
    assert read.metadata["site"] == "demo"
    assert [r.offset for r in read.records({"alarms"})] == [2**33 + 7]


_headers = st.lists(st.tuples(st.text(max_size=4), st.binary(max_size=6)), max_size=3).map(tuple)
_records = st.lists(
    st.tuples(
        st.sampled_from(["events", "alarms"]),
        st.integers(0, 1),
        st.integers(0, 2**40),
        st.integers(-1, 2**41),
        st.none() | st.binary(max_size=6),
        st.none() | st.binary(max_size=20),
        _headers,
    ),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(_records)
def test_any_record_comes_back(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[object, ...]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mcap"
    records = [Record(*fields) for fields in drawn]  # type: ignore[arg-type]
    write(path, records)
    assert list(Recording(path).records()) == records


def test_a_log_that_starts_again_at_offset_0_is_kept_apart(tmp_path: Path) -> None:
    records = [record(10), record(11), record(0), record(1), record(2, None), record(0), record(1, None)]
    write(tmp_path / "a.mcap", records)
    assert list(Recording(tmp_path / "a.mcap").records()) == records


def test_an_independent_reader_sees_values_and_names(tmp_path: Path) -> None:
    one = np.ones(1)
    identity = Identity("plant-opcua", 7, 1)
    readings = Readings(
        "row-a", identity, 5, ("R01.RackPower",), one.astype(np.int64), one.astype(np.int64), one,
        one.astype(np.uint8), one.astype(np.uint32),
    )  # fmt: skip
    tick = Tick("row-a", Identity("ticker", 0, 3), 300)
    messages = [encode_input(readings, 1), encode_input(tick, 1)]
    records = [Record(m.topic, m.partition, i, 0, m.key, m.value, m.headers) for i, m in enumerate(messages)]
    write(tmp_path / "a.mcap", records)
    with (tmp_path / "a.mcap").open("rb") as file:
        found = list(make_reader(file, validate_crcs=True).iter_messages())
    import pyarrow as pa

    schema, channel, message = found[0]
    assert schema is not None
    assert (schema.name, schema.encoding, channel.message_encoding) == ("readings/1", "arrow", "arrow")
    batch = pa.ipc.read_record_batch(message.data, pa.ipc.read_schema(pa.py_buffer(schema.data)))
    assert batch.column("point")[0].as_py() == ["R01.RackPower"]
    assert found[1][1].message_encoding == "json"
    assert found[1][1].metadata["header.source"] == "ticker"
    for kept, original in zip(Recording(tmp_path / "a.mcap").records(), records, strict=True):
        assert decode_input(kept.key, kept.headers, kept.value).identity == decode_input(
            original.key, original.headers, original.value
        ).identity  # fmt: skip


def test_a_flood_of_keys_makes_no_flood_of_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "CHANNELS_PER_TOPIC", 16)
    records = [record(i, b"garbage", key=b"key-%d" % i) for i in range(200)]
    write(tmp_path / "a.mcap", records)
    assert list(Recording(tmp_path / "a.mcap").records()) == records
    with (tmp_path / "a.mcap").open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    assert len(summary.channels) == 17


def test_a_file_cut_anywhere_opens_up_to_its_last_whole_chunk(tmp_path: Path) -> None:
    records = [record(i, b'{"n":%d}' % i, key=b"unit-%d" % (i % 3)) for i in range(40)]
    write(tmp_path / "whole.mcap", records, chunk_every=5)
    whole = (tmp_path / "whole.mcap").read_bytes()
    counts = []
    for size in range(8, len(whole), 37):
        (tmp_path / "cut.mcap").write_bytes(whole[:size])
        cut = Recording(tmp_path / "cut.mcap")
        read = list(cut.records())
        assert read == records[: len(read)]
        assert len(read) % 5 == 0
        counts.append(len(read))
        if len(read) < 40:
            assert "the file ends at byte" in cut.damage[0]
    assert counts == sorted(counts)
    assert counts[-1] == 40


def test_so_many_bytes_of_a_file_that_grows_are_the_same_records(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with RecordingWriter(path) as writer:
        writer.write(record(0), 0)
        writer.flush()
        size = path.stat().st_size
        before = list(Recording(path).records())
        writer.write(record(1), 1)
        writer.flush()
        assert list(Recording(path, size).records()) == before == [record(0)]
        assert len(list(Recording(path).records())) == 2


def test_a_damaged_chunk_is_left_out_and_said(tmp_path: Path) -> None:
    records = [record(i, b"%d-text-%d" % (i, i * 7919)) for i in range(6)]
    write(tmp_path / "a.mcap", records, chunk_every=2)
    raw = bytearray((tmp_path / "a.mcap").read_bytes())
    place = raw.index(b"2-text-")
    raw[place] ^= 0xFF
    (tmp_path / "a.mcap").write_bytes(raw)
    read = Recording(tmp_path / "a.mcap")
    assert [one.offset for one in read.records()] == [0, 1, 4, 5]
    assert len(read.damage) == 1
    span = "(recorded 1970-01-01T00:00:00.000000002Z to 1970-01-01T00:00:00.000000003Z)"
    assert f"{span} is damaged and left out" in read.damage[0]


def test_the_log_time_never_goes_back(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a.mcap") as writer:
        for offset, log_ns in enumerate([5, 9, 3, 12]):
            writer.write(record(offset), log_ns)
    assert [log_ns for log_ns, _ in Recording(tmp_path / "a.mcap").timed_records()] == [5, 9, 9, 12]


@pytest.mark.parametrize("content", [b"", b"time,value\n1,2\n", b"\x89MCAP0\r"])
def test_what_is_no_recording_is_a_finding(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mcap").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"a\.mcap.*not a recording"):
        Recording(tmp_path / "a.mcap")
    with pytest.raises(ConfigurationError, match="can't be read"):
        Recording(tmp_path / "absent.mcap")
