"""The wire: what goes in comes out; whatever the bytes are, a reader gets a value or a reason."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import get_args

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.alarms.first_up import FirstUp
from rules.engine.inputs import (
    AccessList,
    Action,
    ActionKind,
    Activation,
    Fact,
    Frame,
    Gap,
    Identity,
    Input,
    Readings,
    Receipt,
    Tick,
)
from rules.engine.outputs import Alarm, AlarmState, Command, Entry, Output
from rules.errors import InvariantError, UndecodableError
from rules.gpu_fields import FIELD_COUNT
from streams import frame_bytes, readings_bytes
from streams.record import Message
from streams.topics import TOPICS, partition_of
from streams.wire import decode_input, decode_output, encode_input, encode_output

names = st.text("abcdefghijklmnopqrstuvwxyz-0123456789æø", min_size=1, max_size=12)
times = st.integers(0, 2**62)
int64 = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
identities = st.builds(Identity, names, st.integers(0, 2**62), st.integers(0, 2**62))


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    samples, gpus = draw(st.integers(0, 3)), draw(st.integers(0, 5))
    seed = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = seed.normal(50, 20, (samples, gpus, FIELD_COUNT)).astype(np.float32)
    values[seed.random(values.shape) < 0.1] = np.nan
    return Frame(
        draw(names),
        draw(identities),
        draw(times),
        draw(names),
        np.sort(seed.integers(0, 2**62, samples)),
        seed.integers(0, 72, gpus).astype(np.uint16),
        values,
        seed.integers(0, 4, (samples, gpus)).astype(np.uint8),
        seed.integers(-1, 2**62, (samples, gpus)),
        draw(st.booleans()),
    )


@st.composite
def readings(draw: st.DrawFn) -> Readings:
    points = tuple(draw(st.lists(names, max_size=6)))
    seed = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = len(points)
    return Readings(
        draw(names),
        draw(identities),
        draw(times),
        points,
        seed.integers(0, 2**62, count),
        seed.integers(0, 2**62, count),
        seed.normal(0, 1e6, count),
        seed.integers(0, 4, count).astype(np.uint8),
        seed.integers(0, 2**32, count).astype(np.uint32),
        draw(st.booleans()),
    )


enveloped = st.one_of(
    st.builds(Tick, names, identities, times),
    st.builds(Gap, names, identities, names, times, times, st.integers(0, 2**62)),
    st.builds(
        Receipt,
        names,
        identities,
        names,
        names,
        st.sampled_from(["done", "refused", "expired", "failed", "unknown"]),
        floats,
        st.none() | floats,
        times,
        names,
    ),
    st.builds(Activation, names, identities, names, names),
    st.builds(
        Action,
        names,
        identities,
        st.sampled_from(get_args(ActionKind)),
        *(names, names, names, times, names, times, st.booleans(), names, names, names),
    ),
    st.builds(
        AccessList,
        names,
        identities,
        st.dictionaries(names, st.fixed_dictionaries({"role": names, "keys": st.lists(names, max_size=2)})),
        *(times, names, names),
    ),
    st.builds(
        Fact, names, identities, names, names, times, floats, st.integers(0, 9), st.integers(0, 3), names
    ),
)
outputs = st.one_of(
    st.builds(
        Alarm,
        names,
        names,
        names,
        names,
        st.sampled_from(["urgent", "high", "medium", "low"]),
        st.sampled_from(get_args(AlarmState)),
        names,
        times,
        st.none() | times,
        st.none() | floats,
        st.text(max_size=40),
        *(st.none() | times for _ in range(4)),
        *(st.booleans(), st.none() | times, names, st.sampled_from(get_args(FirstUp))),
        *(names, st.text(max_size=40), times),
    ),
    st.builds(Command, names, names, names, names, names, floats, names, times, times, st.text(max_size=40)),
    st.builds(
        Entry, names, names, names, times, st.dictionaries(names, st.none() | names | times | st.booleans())
    ),
)


def same(left: Input, right: Input) -> bool:
    """Equal field by field; arrays by their bytes, so that NaN equals NaN and no type changes unseen."""
    if type(left) is not type(right):
        return False
    for field in dataclasses.fields(left):
        one, other = getattr(left, field.name), getattr(right, field.name)
        if isinstance(one, np.ndarray):
            if one.dtype != other.dtype or one.shape != other.shape or one.tobytes() != other.tobytes():
                return False
        elif one != other:
            return False
    return True


@given(st.one_of(frames(), readings(), enveloped))
def test_an_input_comes_back_as_it_was(value: Input) -> None:
    message = encode_input(value, partitions=3)
    assert message.partition == partition_of(value.unit, 3)
    assert same(decode_input(message.key, message.headers, message.value), value)


@given(outputs)
def test_an_output_comes_back_and_its_bytes_do_not_change(value: Output) -> None:
    message = encode_output(value, partitions=3)
    assert decode_output(message.headers, message.value) == value
    again = encode_output(decode_output(message.headers, message.value), partitions=3)
    assert again == message


@given(
    st.binary(max_size=300),
    st.sampled_from([b"frame/1", b"readings/1", b"tick/1", b"gap/1", b"alarm/1", b"frame/2", b"\xff", b""]),
)
def test_any_bytes_give_a_reason_and_nothing_else(value: bytes, schema: bytes) -> None:
    headers = (("schema", schema), ("source", b"s"), ("epoch", b"1"))
    for decode in (lambda: decode_input(b"row-a", headers, value), lambda: decode_output(headers, value)):
        with pytest.raises(UndecodableError):
            decode()


def read(message: Message, value: bytes) -> Input | str:
    """The input, or why there is none."""
    try:
        return decode_input(message.key, message.headers, value)
    except UndecodableError as error:
        return error.reason


@given(frames())
def test_a_frame_is_read_alike_with_and_without_arrow(frame: Frame) -> None:
    message = encode_input(frame, partitions=1)
    assert message.value is not None
    frame_bytes._learned.clear()
    by_arrow = read(message, message.value)
    assert bool(frame_bytes._learned) == bool(frame.values.size), "an empty frame has no layout to learn"
    with_layout = read(message, message.value)
    assert isinstance(by_arrow, Frame)
    assert isinstance(with_layout, Frame)
    assert same(with_layout, by_arrow)
    assert not with_layout.values.flags.writeable


def test_a_damaged_frame_is_read_alike_with_and_without_arrow() -> None:
    """Every byte changed in turn, and every length: a layout that was learned changes neither frame nor reason."""
    frame = Frame(
        "row-a", Identity("s", 1, 5), 7, "R01", np.array([3, 4]), np.arange(2, dtype=np.uint16),
        np.ones((2, 2, FIELD_COUNT), np.float32), np.zeros((2, 2), np.uint8), np.ones((2, 2), np.int64),
    )  # fmt: skip
    message = encode_input(frame, partitions=1)
    whole = message.value
    assert whole is not None
    numbers_at = whole.index(frame.values.tobytes())
    changed = [
        whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :]
        for place in range(numbers_at + 8)
        for mask in (1, 0x80)
    ]
    cut = [whole[:length] for length in range(len(whole))] + [whole + b"\0" * 8]
    for value in changed + cut:
        frame_bytes._learned.clear()
        by_arrow = read(message, value)
        frame_bytes._learned.clear()
        read(message, whole)
        with_layout = read(message, value)
        if isinstance(by_arrow, str) or isinstance(with_layout, str):
            assert with_layout == by_arrow
        else:
            assert same(with_layout, by_arrow)


def forget() -> None:
    readings_bytes._learned.clear()
    readings_bytes._came.clear()


@given(readings())
def test_readings_are_read_alike_with_and_without_arrow(value: Readings) -> None:
    message = encode_input(value, partitions=1)
    assert message.value is not None
    forget()
    by_arrow = [read(message, message.value) for _ in range(2)]
    has_all = bool(value.points) and any(value.points)
    assert bool(readings_bytes._learned) == has_all, "what has no points has no layout to learn"
    with_layout = read(message, message.value)
    for one in (*by_arrow, with_layout):
        assert isinstance(one, Readings)
        assert same(one, value)


@given(readings())
def test_readings_are_written_as_arrow_would_write_them(value: Readings) -> None:
    lists = [pa.array(value.points, pa.utf8()), value.time_ns, value.server_ns, value.values, value.quality]
    scalars = [pa.array([value.identity.sequence]), pa.array([value.ingest_ns])]
    columns = [*scalars, *map(frame_bytes.one_row, [*lists, value.status])]
    batch = pa.RecordBatch.from_arrays(columns, schema=readings_bytes.READINGS_SCHEMA)
    assert encode_input(value, partitions=1).value == batch.serialize().to_pybytes()


def test_readings_with_a_column_of_another_length_are_not_sent() -> None:
    numbers = np.array([3, 4])
    value = Readings(
        "row-a", Identity("s", 1, 5), 7, ("P-1.Flow", "P-2.Speed"), numbers, numbers, numbers[:1] / 3,
        np.zeros(2, np.uint8), np.zeros(2, np.uint32),
    )  # fmt: skip
    with pytest.raises(InvariantError, match="other lengths"):
        encode_input(value, partitions=1)


def test_damaged_readings_are_read_alike_with_and_without_arrow() -> None:
    """Every byte changed in turn, and every length; and other points with names as long."""
    numbers = np.array([3, 4])
    value = Readings(
        "row-a", Identity("s", 1, 5), 7, ("P-1.Flow", "P-2.Speed"), numbers, numbers, numbers / 3,
        np.zeros(2, np.uint8), np.zeros(2, np.uint32),
    )  # fmt: skip
    message = encode_input(value, partitions=1)
    other = encode_input(dataclasses.replace(value, points=("P-1.Fl", "owP-2.Speed")), partitions=1).value
    whole = message.value
    assert whole is not None
    assert other is not None
    changed = [
        whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :]
        for place in range(len(whole))
        for mask in (1, 0x80)
    ]
    for damaged in [other, *changed, *(whole[:length] for length in range(len(whole))), whole + b"\0" * 8]:
        forget()
        by_arrow = read(message, damaged)
        forget()
        for _ in range(2):
            read(message, whole)
        assert readings_bytes._learned
        with_layout = read(message, damaged)
        if isinstance(by_arrow, str) or isinstance(with_layout, str):
            assert with_layout == by_arrow
        else:
            assert same(with_layout, by_arrow)


@given(frames(), st.data())
def test_a_damaged_frame_gives_a_frame_or_a_reason(frame: Frame, data: st.DataObject) -> None:
    message = encode_input(frame, partitions=1)
    assert message.value is not None
    damaged = bytearray(message.value)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    value = None
    with contextlib.suppress(UndecodableError):
        value = decode_input(message.key, message.headers, bytes(damaged[:cut]))
    assert value is None or isinstance(value, Frame)


@pytest.mark.parametrize(
    ("key", "headers", "value", "reason"),
    [
        (b"u", (("schema", b"tick/1"),), None, "empty"),
        (b"u", (), b"{}", "no-schema"),
        (b"u", (("schema", b"tick/9"),), b"{}", "unknown-schema"),
        (None, (("schema", b"tick/1"),), b"{}", "bad-key"),
        (b"u", (("schema", b"frame/1"), ("source", b"s"), ("epoch", b"x")), b"{}", "bad-header"),
        (b"u", (("schema", b"frame/1"), ("source", b"s"), ("epoch", b"1")), b"{}", "bad-arrow"),
        (b"u", (("schema", b"tick/1"),), b"{", "bad-json"),
        (b"u", (("schema", b"tick/1"),), b"{}", "bad-envelope"),
    ],
)
def test_the_reason_is_stable(
    key: bytes | None, headers: tuple[tuple[str, bytes], ...], value: bytes | None, reason: str
) -> None:
    with pytest.raises(UndecodableError) as caught:
        decode_input(key, headers, value)
    assert caught.value.reason == reason


def test_an_envelope_is_checked_field_by_field() -> None:
    message = encode_input(Tick("u", Identity("ticker", 0, 7), 700), partitions=1)
    assert message.value is not None
    for path, value in (
        (("unit",), "other"),
        (("sequence",), "7"),
        (("sequence",), True),
        (("body", "time_ns"), 7.5),
        (("body", "more"), 1),
        (("body",), []),
        (("schema",), "gap/1"),
    ):
        envelope = orjson.loads(message.value)
        target = envelope
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value
        with pytest.raises(UndecodableError, match="bad-envelope"):
            decode_input(message.key, message.headers, orjson.dumps(envelope))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_can_not_say_is_not_sent(value: float) -> None:
    with pytest.raises(InvariantError, match="not finite"):
        encode_input(Fact("u", Identity("s", 1, 1), "power", "R01", 5, value, 1, 0, "r"), partitions=1)


def test_topics_have_different_names() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)


def test_a_units_partition_never_changes() -> None:
    # pinned: a client that computed another one would split a unit's order
    assert [partition_of(unit, 6) for unit in ("site", "row-a", "row-b", "row-c")] == [4, 3, 5, 5]


def test_a_fact_that_an_engine_says_is_an_input_of_the_unit_that_needs_it() -> None:
    fact = Fact("site", Identity("fact:row-a", 5, 1), "power", "FEED-A", 7, 1.5, 4, 0, "r")
    message = encode_output(fact, partitions=3)
    assert (message.topic, message.key) == ("events", b"site")
    assert decode_input(message.key, message.headers, message.value) == fact
