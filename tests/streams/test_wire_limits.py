"""How long what comes in may be, and in whose name: no record may end a worker or silence a source for good."""

from __future__ import annotations

import dataclasses

import numpy as np
import orjson
import pyarrow as pa
import pytest

from rules.engine.engine import Engine
from rules.engine.inputs import (
    AccessList,
    Action,
    Activation,
    Fact,
    Gap,
    Identity,
    Input,
    Readings,
    Receipt,
    Tick,
)
from rules.engine.outputs import Command
from rules.errors import UndecodableError
from streams import readings_bytes
from streams.bus.bus import refuse_oversized
from streams.record import Message, length_of
from streams.wire import (
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    KEPT_BYTES,
    NUMBER_MAX,
    OWNER_EPOCH,
    TEXT_CHARACTERS_MAX,
    _head,
    _names,
    decode_input,
    decode_output,
    encode_input,
    encode_output,
    owner_epoch_of,
)
from tests.rules.engine.plant import LOW, START, UNIT, S, program, site, tick


def enveloped_as(value: Input, **changed: object) -> Message:
    """The message of an input in which a field is another: beside the body, or else in it."""
    message = encode_input(value, partitions=1)
    envelope = orjson.loads(message.value or b"")
    for name, item in changed.items():
        (envelope if name in envelope else envelope["body"])[name] = item
    return dataclasses.replace(message, value=orjson.dumps(envelope))


LONG = "æ" * (TEXT_CHARACTERS_MAX + 1)
ONE_OF_EACH: list[Input] = [
    Tick("u", Identity("ticker", 0, 7), 700),
    Gap("u", Identity("s", 1, 1), "restart", 5, 6, 0),
    Receipt("u", Identity("actuators", 1, 1), "c", "a", "done", 1.0, None, 5, "d"),
    Activation("u", Identity("activation", 5, 1), "a", "b", 5, "eva", "00"),
    Action("u", Identity("action:eva", 5, 1), "shelve", "r", "R01", "eva", 5, "o", 6, False, "why", "eva", "00"),
    AccessList("u", Identity("access", 5, 1), {}, 5, "eva", "00"),
    Fact("u", Identity("fact:row-a", 1, 1), "power", "R01", 5, 1.0, 1, 0, "r"),
]  # fmt: skip


@pytest.mark.parametrize("value", ONE_OF_EACH, ids=lambda value: type(value).__name__)
def test_no_text_of_an_input_is_longer_than_what_can_be_said_of_it(value: Input) -> None:
    body = orjson.loads(encode_input(value, 1).value or b"")["body"]
    texts = ["source", *(name for name, item in body.items() if isinstance(item, str) and name != "status")]
    for name in texts:
        if name == "action":
            continue
        message = enveloped_as(value, **{name: LONG})
        with pytest.raises(
            UndecodableError, match=f"bad-envelope: '{name}' has {TEXT_CHARACTERS_MAX + 1} characters"
        ):
            decode_input(message.key, message.headers, message.value)
        if name != "source":
            message = enveloped_as(value, **{name: LONG[1:]})
            decode_input(message.key, message.headers, message.value)


@pytest.mark.parametrize("name", ["id", "unit", "rule", "asset", "actuator", "engineering_unit", "reason"])
def test_no_text_of_a_command_is_longer_than_its_receipt_can_say(name: str) -> None:
    texts = {
        "id": "i",
        "unit": "u",
        "rule": "r",
        "asset": "R01",
        "actuator": "a",
        "engineering_unit": "percent",
    }
    fine = Command(**texts, value=1.0, cause_ns=5, expires_ns=6, reason="why")  # type: ignore[arg-type]
    message = encode_output(dataclasses.replace(fine, **{name: LONG}), partitions=1)
    with pytest.raises(UndecodableError, match=f"'{name}' has {TEXT_CHARACTERS_MAX + 1} characters"):
        decode_output(message.headers, message.value)


def test_an_envelope_is_no_longer_than_a_record() -> None:
    value = AccessList("u", Identity("access", 5, 1), {"eva": {"role": "x" * 1_000_000}}, 5, "eva", "00")
    message = encode_input(value, 1)
    with pytest.raises(UndecodableError, match=r"bad-envelope: .* more than a record has"):
        decode_input(message.key, message.headers, message.value)


def test_what_a_driver_says_is_cut_before_it_is_sent() -> None:
    said = Receipt("u", Identity("actuators", 1, 1), "c", "a", "failed", 1.0, None, 5, LONG)
    message = encode_input(said, 1)
    assert decode_input(message.key, message.headers, message.value) == dataclasses.replace(
        said, detail=LONG[1:]
    )


def test_a_long_head_is_refused_and_not_kept() -> None:
    _head.cache_clear()
    headers = (("schema", b"tick/1"),)
    room = HEAD_BYTES_MAX - length_of(headers)
    for key, more in (
        (b"u" * (room + 1), ()),
        (b"u", (("h" * (room - 1), b""),)),
        (b"u", (("", b""),) * HEADERS_MAX),
    ):
        with pytest.raises(
            UndecodableError, match=r"bad-header: (65 headers|key and headers have 1000[12] bytes), more than"
        ):
            decode_input(key, (*headers, *more), b"{}")
    assert _head.cache_info().currsize == 0
    with pytest.raises(UndecodableError, match="bad-envelope"):
        decode_input(b"u" * room, headers, b"{}")


def readings_of(points: int) -> Message:
    zeros = np.zeros(points, np.int64)
    names = tuple(f"CDU-A-{number}.PumpSpeed" for number in range(points))
    value = Readings(
        "u", Identity("s", 5, 1), 7, names, zeros, zeros, zeros / 3, zeros.astype(np.uint8), zeros.astype(np.uint32)
    )  # fmt: skip
    return encode_input(value, 1)


@pytest.mark.parametrize(("points", "is_kept"), [(6000, True), (9000, False)])
def test_the_names_of_long_readings_are_not_kept(points: int, is_kept: bool) -> None:
    for kept in (readings_bytes._came, readings_bytes._learned):
        kept.clear()
    _names.cache_clear()
    message = readings_of(points)
    assert (len(message.value or b"") <= KEPT_BYTES) == is_kept
    for _ in range(3):
        found = decode_input(message.key, message.headers, message.value)
        assert isinstance(found, Readings)
        assert len(found.points) == points
    assert bool(_names.cache_info().currsize) == is_kept
    assert bool(readings_bytes._came) == bool(readings_bytes._learned) == is_kept


def test_the_layout_of_a_record_with_long_metadata_is_not_kept() -> None:
    """What a sender of its own software may put beside a batch's metadata; it stays Arrow's to read."""
    readings_bytes._learned.clear()
    message = readings_of(3)
    batch = pa.ipc.read_record_batch(pa.py_buffer(message.value or b""), readings_bytes.READINGS_SCHEMA)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch, custom_metadata={"note": "x" * 20_000})
    messages = pa.ipc.MessageReader.open_stream(sink.getvalue())
    messages.read_next_message()  # the schema
    value = messages.read_next_message().serialize().to_pybytes()
    plain = decode_input(message.key, message.headers, message.value)
    for _ in range(3):
        found = decode_input(message.key, message.headers, value)
        assert isinstance(found, Readings)
        assert isinstance(plain, Readings)
        assert found.points == plain.points
    assert len(value) not in readings_bytes._learned


def test_an_owners_epoch_is_a_number_that_a_column_holds() -> None:
    assert owner_epoch_of(()) == 0
    assert owner_epoch_of(((OWNER_EPOCH, str(NUMBER_MAX).encode()),)) == NUMBER_MAX
    for text in (b"", b"9" * 19, str(NUMBER_MAX + 1).encode(), b"-1", b"1" * 20, "²".encode(), b"\xff"):
        with pytest.raises(UndecodableError, match="bad-header"):
            owner_epoch_of(((OWNER_EPOCH, text),))


@pytest.mark.parametrize("source", ["access", "activation", "action:", "action:eva"])
def test_no_other_kind_speaks_in_the_name_of_what_is_signed(source: str) -> None:
    """Identities only grow: a gap with a huge epoch would make repeats of all lists, activations or actions to come."""
    signed = {"access": AccessList, "activation": Activation}.get(source, Action)
    for value in ONE_OF_EACH:
        message = enveloped_as(value, source=source)
        if type(value) is signed:
            assert decode_input(message.key, message.headers, message.value).identity.source == source
            continue
        with pytest.raises(UndecodableError, match=rf"wrong-source: .* in the name of '{source}'"):
            decode_input(message.key, message.headers, message.value)
    for schema in (b"frame/1", b"readings/1"):
        headers = (("schema", schema), ("source", source.encode()), ("epoch", b"1"))
        with pytest.raises(UndecodableError, match="wrong-source"):
            decode_input(b"u", headers, b"")


def test_whatever_is_said_of_the_longest_texts_fits_into_a_record() -> None:
    """Texts that take six bytes a character in JSON, in every field that an engine says again."""
    longest = "\x01" * TEXT_CHARACTERS_MAX
    engine = Engine(program(LOW), site(), UNIT)
    engine.step([tick(START)])
    given: list[Input] = [
        Gap(UNIT, Identity(longest, 5, 1), longest, START, START + S, 1),
        Gap(UNIT, Identity(longest, 5, 3), longest, START, START + S, 1),
        Receipt(UNIT, Identity(longest, 5, 4), longest, longest, "done", 1.0, None, START, longest),
        Action(
            UNIT, Identity("action:e", START, 1), "shelve", longest, longest, longest, START, longest, START + S, False,
            longest, longest, longest,
        ),
        Activation(UNIT, Identity("activation", START, 1), longest, longest, START, longest, longest),
        AccessList(UNIT, Identity("access", START, 1), {longest: {}}, START, longest, longest),
        Fact(UNIT, Identity("fact:" + longest[5:], 5, 2), longest, longest, START, 1.0, 1, 0, longest),
        tick(START + S),
    ]  # fmt: skip
    said = []
    for value in given:
        message = encode_input(value, 1)
        said += engine.step([decode_input(message.key, message.headers[:1], message.value)])
    assert {type(one).__name__ for one in said} == {"Entry", "Alarm"}
    for one in said:
        refuse_oversized(encode_output(one, 1))
    command = Command(longest, UNIT, longest, longest, longest, 1.0, longest, START, START + S, longest)
    message = encode_output(command, 1)
    decoded = decode_output(message.headers, message.value)
    assert isinstance(decoded, Command)
    receipt = Receipt(
        UNIT, Identity("actuators", 5, 1), decoded.id, decoded.actuator, "failed", 1.0, None, START, longest
    )
    refuse_oversized(encode_input(receipt, 1))
