"""A recording of the first format stays readable: `format-1.mcap` was written once, and is never written again.

Rule: a later format gets a file of its own beside it. `write` says how this one was made; what is expected of it is
what stands here, not what the encoders of today make of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rules.engine.inputs import Activation, Fact, Frame, Gap, Identity, Input, Readings, Receipt, Tick
from rules.engine.outputs import Alarm, Command, Entry, Output
from streams.record import Record, TopicPartition
from streams.recording.recorded_site import recorded_rules
from streams.recording.recording import Recording, RecordingWriter
from streams.recording.segments import head, heads_of
from streams.wire import decode_input, decode_output, encode_input, encode_output

FILE = Path(__file__).with_name("format-1.mcap")
T = 1_800_000_000_000_000_000
I64, U8, U32 = np.int64, np.uint8, np.uint32


def readings(source: str, sequence: int, *, backfill: bool = False) -> Readings:
    """One good value, one bad one, one that the device does not have."""
    times = np.array([T, T + 1, T + 2])
    return Readings(
        "hall", Identity(source, 5, sequence), T + 9, ("P-1.PumpSpeed", "P-1.Strøm", "P-2.PumpSpeed"), times,
        np.zeros(3, I64), np.array([0.1, -1e300, np.nan]), np.array([0, 2, 3], U8), np.array([0, 2**31, 0], U32),
        backfill,
    )  # fmt: skip


def frame() -> Frame:
    """Two samples of two GPUs, with a field that is not there and a counter that is none."""
    values = np.arange(2 * 2 * 24, dtype=np.float32).reshape(2, 2, 24)
    values[0, 1, 5] = np.nan
    return Frame(
        "hall", Identity("gpus", 5, 1), T + 7, "R01", np.array([T, T + 5]), np.array([0, 1], np.uint16), values,
        np.zeros((2, 2), U8), np.array([[-1, 2**60], [3, 4]]),
    )  # fmt: skip


INPUTS: list[Input] = [
    Tick("hall", Identity("ticker", 0, T // 10**9), T),
    readings("plc", 1),
    frame(),
    readings("plc/backfill", 1, backfill=True),
    Gap("hall", Identity("plc", 6, 1), "restart", T, T + 1, 3),
    Receipt("hall", Identity("actuators", 1, 1), "c", "P-1.PumpSpeed", "failed", 1.5, None, T, "no answer"),
    Activation("hall", Identity("activation", T, 1), "a" * 64, "b" * 64, T),
    Fact("hall", Identity("fact:row", T, 1), "racks", "R01", T, 0.3, 2, 0, "b" * 64),
]
OUTPUTS: list[Output] = [
    Alarm("i:1", "hall", "hot", "P-1", "urgent", "unacknowledged", "i:1", T, None, 0.1, "P-1: Ø", None),
    Alarm("i:2", "hall", "hot", "P-1", "urgent", "normal", "i:1", T, T + 1, None, "P-1", T),
    Command("i:3", "hall", "hot", "P-1", "P-1.PumpSpeed", 30.0, "%", T, T + 9, "hot"),
    Entry("i:4", "hall", "late", T, {"count": 2, "source": "plc", "share": 0.5, "is": True, "no": None}),
]
OTHERS = [
    Record("alarms", 2, 2**33 + 7, 5, b"hall:hot:P-1", None, ()),  # a tombstone, far up
    Record("events", 1, 0, 7, b"\xff", b"\x00garbage", ()),  # no text
    Record("events", 1, 4, 7, b"hall", b"{}", (("a", b"1"), ("a", b"\xff"))),  # a header twice
    Record("status", 0, 1, 6, None, b"", ()),
    Record("snapshots", 0, 3, -1, b"hall:a:0000", bytes(range(256)), (("schema", b"snapshot-chunk/1"),)),
    Record("rule-sets", 0, 0, 8, b"digest", b'{"site.yaml":"name: x"}', (("schema", b"rule-set/1"),)),
    Record("events", 0, 0, 9, b"hall", b"of a fresh log", (("schema", b"tick/1"),)),
]
SITE = {"site.yaml": "name: små\n", "rules/a.yaml": "rules: {}\n"}
POSITIONS = {TopicPartition("events", 0): 0, TopicPartition("alarms", 2): 2**33}


def write(path: Path) -> None:
    """As a recorder of segments does: attachments first, two chunks."""
    attachments = {name: text.encode() for name, text in SITE.items()}
    metadata = {"site": "små", "rules": '["rules/a.yaml"]', **head(POSITIONS, ["log-1"], "nothing")}
    messages = [encode_input(one, 1) for one in INPUTS] + [encode_output(one, 1) for one in OUTPUTS]
    with RecordingWriter(path, attachments=attachments, metadata=metadata) as writer:
        for n, one in enumerate(messages):
            writer.write(Record(one.topic, 0, n, 1000 + n, one.key, one.value, one.headers), T + n)
        writer.flush()
        for n, record in enumerate(OTHERS):
            writer.write(record, T + 100 + n)


@pytest.fixture
def records() -> list[tuple[int, Record]]:
    recording = Recording(FILE)
    found = list(recording.timed_records())
    assert recording.damage == []
    return found


def test_every_input_and_output_is_what_it_was(records: list[tuple[int, Record]]) -> None:
    count = len(INPUTS)
    for (_, record), value in zip(records, INPUTS, strict=False):
        assert_same(decode_input(record.key, record.headers, record.value), value)
    for (_, record), output in zip(records[count:], OUTPUTS, strict=False):
        assert decode_output(record.headers, record.value) == output
    assert [record for _, record in records[count + len(OUTPUTS) :]] == OTHERS


def assert_same(value: Input, expected: Input) -> None:
    """Field by field: arrays have no truth of their own."""
    assert type(value) is type(expected)
    for name in value.__slots__:
        np.testing.assert_array_equal(getattr(value, name), getattr(expected, name), name, strict=True)


def test_places_and_times_are_what_they_were(records: list[tuple[int, Record]]) -> None:
    encoded = len(INPUTS) + len(OUTPUTS)
    assert [(r.partition, r.offset, r.timestamp_ms) for _, r in records[:encoded]] == [
        (0, n, 1000 + n) for n in range(encoded)
    ]
    assert [time_ns for time_ns, _ in records] == [
        *range(T, T + encoded), *range(T + 100, T + 100 + len(OTHERS))
    ]  # fmt: skip


def test_the_site_and_the_place_of_the_segment_are_what_they_were() -> None:
    recording = Recording(FILE)
    assert recording.metadata["format"] == "1"
    assert recorded_rules(recording).files == SITE
    assert heads_of(recording) == [(POSITIONS, {"log-1"}, "nothing")]
    assert recording.chunks == 2
    assert {place.log for place in recording.places.values()} == {0, 1}  # it was rolled in between
