"""The wire: inputs and outputs to bytes and back, in one place.

Frames and readings are Arrow IPC record batches of one row (the schema is named by the header `schema`, and not
repeated in each record); everything else is an orjson envelope `{"schema", "unit", "source", "epoch", "sequence",
"body"}` or, for outputs, `{"schema", "id", "unit", "body"}`. Headers: `schema` (`frame/1`), and on inputs
`source` and `epoch`; `backfill` where a spool was drained; of alarms and commands `owner-epoch`. The key is the unit
(an alarm's is the alarm's).

A decoder raises `UndecodableError` with a stable reason and nothing else, whatever the bytes are.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, Final, cast, get_args

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from rules.alarms.first_up import FirstUp
from rules.engine.chain import ENTRY_SCHEMA, entry_bytes
from rules.engine.inputs import (
    ACCESS_SOURCE,
    ACTION_SOURCE,
    ACTIVATION_SOURCE,
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
    ReceiptStatus,
    Tick,
)
from rules.engine.outputs import Alarm, AlarmState, Command, Entry, Output, Severity
from rules.errors import InvariantError, UndecodableError
from rules.gpu_fields import FIELD_COUNT
from rules.json_bytes import json_bytes
from streams import readings_bytes
from streams.bus.bus import MAX_MESSAGE_BYTES
from streams.frame_bytes import FRAME_SCHEMA, encode_frame, learn, read_known
from streams.record import Headers, Message, header, length_of
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL, partition_of

ARROW_SCHEMAS: Final[Mapping[str, pa.Schema]] = {
    "frame/1": FRAME_SCHEMA,
    "readings/1": readings_bytes.READINGS_SCHEMA,
}

CLASS_OF_INPUT: Final[Mapping[str, type[Any]]] = {
    "tick/1": Tick,
    "gap/1": Gap,
    "receipt/1": Receipt,
    "activation/1": Activation,
    "fact/1": Fact,
    "action/1": Action,
    "access/1": AccessList,
}
CLASS_OF_OUTPUT: Final[Mapping[str, type[Any]]] = {
    "alarm/1": Alarm,
    "command/1": Command,
    ENTRY_SCHEMA: Entry,
}
NUMBER_MAX: Final = 2**63 - 1
"""JSON has numbers that no column and no kernel holds."""
TIME_MAX: Final = 2**62
"""In ns: the year 2116. What an engine adds to a time still has to be one."""
TEXT_CHARACTERS_MAX: Final = 10_000
"""Of each text of an input or a command: so what is said of it fits into a record of any log."""
HEAD_BYTES_MAX: Final = 10_000
"""Of an input's key and headers together, which are kept for thousands of records."""
HEADERS_MAX: Final = 64
"""How many an input has."""
KEPT_BYTES: Final = 400_000
"""Of longer readings (some 7,000 points) no names are kept for the next ones: there may be hundreds, each of others."""
OUTSIDE: Final = ("unit", "identity", "id")
"""Fields that stand beside the body."""
_NAME_OF: Final[Mapping[type[Any], str]] = {
    **{kind: name for name, kind in CLASS_OF_INPUT.items()},
    **{kind: name for name, kind in CLASS_OF_OUTPUT.items()},
}
HEAD_SCHEMA: Final = "head/1"
"""Of a head on `journal` (`streams/journal/heads.py`): no output, and nothing that a reader of outputs counts."""
OWNER_EPOCH: Final = "owner-epoch"
_SAYS_ONLY: Final = {ACCESS_SOURCE: "access/1", ACTIVATION_SOURCE: "activation/1", ACTION_SOURCE: "action/1"}
"""Whose identity nobody else may use: these are signed, and what is not would make repeats of them for good."""
TOPIC_OF: Final = {Alarm: ALARMS, Command: COMMANDS, Entry: JOURNAL}


def encode_input(value: Input, partitions: int) -> Message:
    """An input as a message for `events`."""
    identity = value.identity
    if isinstance(value, Frame):
        name = "frame/1"
        body = encode_frame(value)
    elif isinstance(value, Readings):
        name = "readings/1"
        body = readings_bytes.encode_readings(value)
    else:
        name = _NAME_OF[type(value)]
        if isinstance(value, Receipt) and len(value.detail) > TEXT_CHARACTERS_MAX:
            # what a driver says of a failure may be of any length
            value = dataclasses.replace(value, detail=value.detail[:TEXT_CHARACTERS_MAX])
        fields = _finite(value)
        body = json_bytes(
            {
                "schema": name,
                "unit": value.unit,
                "source": identity.source,
                "epoch": identity.epoch,
                "sequence": identity.sequence,
                "body": fields,
            }
        )
    headers: Headers = (
        ("schema", name.encode()),
        ("source", identity.source.encode()),
        ("epoch", str(identity.epoch).encode()),
    )
    if isinstance(value, Frame | Readings) and value.backfill:
        headers = (*headers, ("backfill", b"1"))
    return Message(EVENTS.name, partition_of(value.unit, partitions), value.unit.encode(), body, headers)


def _finite(value: Input | Output) -> dict[str, Any]:
    """The fields for JSON. InvariantError for NaN and infinities: JSON would turn them to null without a word."""
    fields = {}
    for name in _names_of(type(value)):  # type: ignore[arg-type]  # classes are hashable
        fields[name] = item = getattr(value, name)
        if isinstance(item, float) and not math.isfinite(item):
            raise InvariantError(f"{type(value).__name__}.{name} is {item}: not finite, not sent")
    return fields


@cache
def _names_of(kind: type[Any]) -> tuple[str, ...]:
    return tuple(name for name, *_ in _fields(kind))  # type: ignore[arg-type]  # classes are hashable


def encode_output(value: Output, partitions: int, owner_epoch: int | None = None) -> Message:
    """An output as a message for its own topic. The bytes are the same wherever and whenever it is made.

    `owner_epoch`: of the worker that says it, for alarms and commands, whose readers fence by it (`worker/owners.py`).
    """
    if isinstance(value, Fact):
        return encode_input(value, partitions)
    kind = type(value)
    key = value.key if isinstance(value, Alarm) else value.unit
    name = _NAME_OF[kind]
    if isinstance(value, Entry):
        body = entry_bytes(value)
    else:
        body = json_bytes({"schema": name, "id": value.id, "unit": value.unit, "body": _finite(value)})
    headers: Headers = (("schema", name.encode()),)
    if owner_epoch is not None and not isinstance(value, Entry):
        headers = (*headers, (OWNER_EPOCH, str(owner_epoch).encode()))
    return Message(TOPIC_OF[kind].name, partition_of(value.unit, partitions), key.encode(), body, headers)


def owner_epoch_of(headers: Headers) -> int:
    """The epoch of the worker that said an alarm or a command; 0 where it says none. UndecodableError: 'bad-header'."""
    value = header(headers, OWNER_EPOCH)
    return 0 if value is None else _number(OWNER_EPOCH, value)


def decode_input(key: bytes | None, headers: Headers, value: bytes | None) -> Input:
    """A record of `events` as an input. Arrays are read-only views of `value`.

    Raises UndecodableError: 'empty', 'no-schema', 'unknown-schema', 'bad-key', 'bad-header', 'bad-arrow',
    'bad-shape', 'bad-json', 'bad-envelope', 'wrong-source'.
    """
    if value is None:
        raise UndecodableError("empty", "a record without a value")
    name, unit, source, epoch, backfill = _head(key, headers)
    if name in CLASS_OF_INPUT:
        return _decode_envelope(name, unit, value)
    return _decode_arrow(name, unit, source, epoch, value, backfill)


@lru_cache(maxsize=4096)
def _head(key: bytes | None, headers: Headers) -> tuple[str, str, str, int, bool]:
    """Schema, unit, source, epoch, backfill: what all records of a source have in common. UndecodableError."""
    if len(headers) > HEADERS_MAX:
        raise UndecodableError("bad-header", f"{len(headers)} headers, more than {HEADERS_MAX}")
    length = len(key or b"") + length_of(headers)
    if length > HEAD_BYTES_MAX:
        raise UndecodableError(
            "bad-header", f"key and headers have {length} bytes, more than {HEAD_BYTES_MAX}"
        )
    name = _text(header(headers, "schema"), "no-schema")
    if name not in ARROW_SCHEMAS and name not in CLASS_OF_INPUT:
        raise UndecodableError("unknown-schema", name)
    unit = _text(key, "bad-key")
    if name in CLASS_OF_INPUT:
        return name, unit, "", 0, False
    source = _text(header(headers, "source"), "bad-header")
    _check_source(name, source)
    epoch = _number("epoch", header(headers, "epoch"))
    return name, unit, source, epoch, header(headers, "backfill") == b"1"


def _check_source(name: str, source: str) -> None:
    only = _SAYS_ONLY.get(ACTION_SOURCE if source.startswith(ACTION_SOURCE) else source, name)
    if only != name:
        raise UndecodableError("wrong-source", f"{name} in the name of '{source[:200]}', which says {only}")


def _number(name: str, raw: bytes | None) -> int:
    """The number that a header holds. UndecodableError."""
    text = _text(raw, "bad-header")
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= NUMBER_MAX):
        raise UndecodableError("bad-header", f"{name} {text[:40]!r} is not a number")
    return int(text)


def _text(raw: bytes | None, reason: str) -> str:
    if not raw:
        raise UndecodableError(reason, "missing")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise UndecodableError(reason, str(error)) from None


def _decode_arrow(name: str, unit: str, source: str, epoch: int, value: bytes, backfill: bool) -> Input:
    known = read_known(value) if name == "frame/1" else None
    if known is not None:
        _check_numbers(known.sequence, known.ingest_ns)
        identity = Identity(source, epoch, known.sequence)
        time_ns, gpu, quality, energy_mj, values = known.lists
        return Frame(
            unit, identity, known.ingest_ns, known.asset, time_ns, gpu, values, quality, energy_mj, backfill
        )
    told = readings_bytes.read_known(value) if name == "readings/1" else None
    if told is not None:
        _check_numbers(told.sequence, told.ingest_ns)
        identity = Identity(source, epoch, told.sequence)
        time_ns, server_ns, values, quality, status = told.lists
        return Readings(
            unit, identity, told.ingest_ns, told.points, time_ns, server_ns, values, quality, status, backfill
        )
    try:
        body = pa.py_buffer(value)
        batch = pa.ipc.read_record_batch(body, ARROW_SCHEMAS[name])
        batch.validate(full=True)
        if batch.num_rows != 1:
            raise UndecodableError("bad-shape", f"{name} needs exactly one row")
        scalars_of, lists_of = (3, 5) if name == "frame/1" else (2, 6)
        columns = batch.columns
        sequence, ingest_ns, *rest = (column[0].as_py() for column in columns[:scalars_of])
        if sequence is None or ingest_ns is None or None in rest:
            raise UndecodableError("bad-shape", "a null where a value must be")
        _check_numbers(sequence, ingest_ns)
        identity = Identity(source, epoch, sequence)
        lists = [_values(column) for column in columns[-lists_of:]]
        if name == "frame/1":
            learn(value, body, batch)
            return _frame(unit, identity, ingest_ns, rest[0], [_array(v) for v in lists], backfill)
        time_ns, server_ns, values, quality, status = arrays = [_array(column) for column in lists[1:]]
        if {len(array) for array in arrays} != {len(lists[0])}:
            raise UndecodableError("bad-shape", "columns of different lengths")
        if len(value) > KEPT_BYTES:
            points = tuple(str(name) for name in lists[0].to_pylist())
        else:
            points = _points(lists[0])
            readings_bytes.learn(value, body, batch, points)
        return Readings(
            unit, identity, ingest_ns, points, time_ns, server_ns, values, quality, status, backfill
        )
    except UndecodableError:
        raise
    except (pa.ArrowException, ValueError, TypeError, OSError, EOFError, OverflowError, MemoryError) as error:
        raise UndecodableError("bad-arrow", str(error)[:200]) from None


def _check_numbers(sequence: int, ingest_ns: int) -> None:
    """Sequences count from 0, so that what two of them lie apart can be told; a time stays one in what is added to it.

    A sample's own time may be any: the engine takes the ingest time for what is far from its `now`.
    """
    if sequence < 0:
        raise UndecodableError("bad-shape", f"the sequence {sequence}")
    if not 0 <= ingest_ns <= TIME_MAX:
        raise UndecodableError("bad-shape", f"the ingest time {ingest_ns}")


def _frame(
    unit: str, identity: Identity, ingest_ns: int, asset: str, arrays: list[NDArray[Any]], backfill: bool
) -> Frame:
    time_ns, gpu, quality, energy_mj, values = arrays
    shape = (len(time_ns), len(gpu))
    cells = shape[0] * shape[1]
    if len(quality) != cells or len(energy_mj) != cells or len(values) != cells * FIELD_COUNT:
        raise UndecodableError("bad-shape", f"{shape[0]} samples of {shape[1]} GPUs do not match the columns")
    return Frame(
        unit,
        identity,
        ingest_ns,
        asset,
        time_ns,
        gpu,
        values.reshape(*shape, FIELD_COUNT),
        quality.reshape(shape),
        energy_mj.reshape(shape),
        backfill,
    )


def _points(names: pa.Array[Any]) -> tuple[str, ...]:
    """The names of a list column. A source reads the same points again and again: they are made into text once."""
    _, offsets, text = names.buffers()
    if names.offset or offsets is None or text is None:
        return tuple(str(name) for name in names.to_pylist())
    return _names(len(names), offsets.to_pybytes(), text.to_pybytes())


@lru_cache(maxsize=256)
def _names(count: int, offsets: bytes, text: bytes) -> tuple[str, ...]:
    places = np.frombuffer(offsets, np.int32, count + 1).tolist()
    return tuple(text[low:high].decode() for low, high in pairwise(places))


def _values(column: Any) -> pa.Array[Any]:
    """The values of a list column of one row."""
    values: pa.Array[Any] = column.values
    start, stop = column.offsets.to_numpy()
    if start != 0 or stop != len(values):
        values = values.slice(start, stop - start)
    if column.null_count or values.null_count:
        raise UndecodableError("bad-shape", "a null where a value must be")
    return values


def _array(values: pa.Array[Any]) -> NDArray[Any]:
    return values.to_numpy(zero_copy_only=True)


def _decode_envelope(name: str, unit: str, value: bytes) -> Input:
    envelope = _load_envelope(name, unit, value)
    for field, kind in (("source", str), ("epoch", int), ("sequence", int)):
        if type(envelope.get(field)) is not kind:
            raise UndecodableError("bad-envelope", f"'{field}' must be {kind.__name__}")
        if kind is int and not 0 <= envelope[field] <= NUMBER_MAX:
            raise UndecodableError("bad-envelope", f"'{field}' can't be {envelope[field]}")
    source = envelope["source"]
    _check_length("source", source)
    _check_source(name, source)
    identity = Identity(source, envelope["epoch"], envelope["sequence"])
    return cast("Input", _build(CLASS_OF_INPUT[name], envelope["body"], unit=unit, identity=identity))


def is_head(headers: Headers) -> bool:
    """Whether a record of `journal` is a head, which readers of outputs pass by."""
    return header(headers, "schema") == HEAD_SCHEMA.encode()


def decode_output(headers: Headers, value: bytes | None) -> Output:
    """A record of `alarms`, `commands` or `journal`. Raises UndecodableError as `decode_input` does."""
    if value is None:
        raise UndecodableError("empty", "a record without a value")
    name = _text(header(headers, "schema"), "no-schema")
    if name not in CLASS_OF_OUTPUT:
        raise UndecodableError("unknown-schema", name)
    envelope = _load_envelope(name, None, value)
    if type(envelope.get("id")) is not str:
        raise UndecodableError("bad-envelope", "'id' must be str")
    unit, kind = envelope["unit"], CLASS_OF_OUTPUT[name]
    if kind is Command:
        _check_length("unit", unit)
        _check_length("id", envelope["id"])
    return cast("Output", _build(kind, envelope["body"], unit=unit, id=envelope["id"]))


def _load_envelope(name: str, unit: str | None, value: bytes) -> dict[str, Any]:
    if len(value) > MAX_MESSAGE_BYTES:
        raise UndecodableError("bad-envelope", f"{len(value)} bytes, more than a record has")
    try:
        envelope = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise UndecodableError("bad-json", str(error)) from None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("body"), dict):
        raise UndecodableError("bad-envelope", "not an object with a body")
    if envelope.get("schema") != name:
        raise UndecodableError(
            "bad-envelope", f"the envelope says {envelope.get('schema')!r}, its header {name!r}"
        )
    if type(envelope.get("unit")) is not str or (unit is not None and envelope["unit"] != unit):
        raise UndecodableError("bad-envelope", f"unit {envelope.get('unit')!r} does not match the key")
    return envelope


def _check_length(name: str, text: str) -> None:
    if len(text) > TEXT_CHARACTERS_MAX:
        raise UndecodableError(
            "bad-envelope", f"'{name}' has {len(text)} characters, more than {TEXT_CHARACTERS_MAX}"
        )


def _build(kind: type[Any], body: Mapping[str, Any], **known: Any) -> Any:
    """A dataclass from JSON, every field checked: floats may come as integers, nothing else bends."""
    fields = _fields(kind)  # type: ignore[arg-type]  # classes are hashable
    is_bounded = kind is not Alarm and kind is not Entry  # these are made of several of an input's texts
    found = 0
    for name, annotation, as_it_is, is_needed in fields:
        if name in body:
            value = body[name]
            known[name] = value if type(value) is as_it_is else _checked(name, annotation, value)
            if type(value) is int and value > (TIME_MAX if name.endswith("_ns") else NUMBER_MAX):
                raise UndecodableError("bad-envelope", f"'{name}' can't be {value}")
            if is_bounded and type(value) is str and len(value) > TEXT_CHARACTERS_MAX:
                _check_length(name, value)
            found += 1
        elif is_needed:
            raise UndecodableError("bad-envelope", f"{kind.__name__} lacks '{name}'")
    if found != len(body):
        unknown = min(body.keys() - {name for name, *_ in fields})
        raise UndecodableError("bad-envelope", f"unknown field '{unknown}' in {kind.__name__}")
    return kind(**known)


@cache
def _fields(kind: type[Any]) -> tuple[tuple[str, str, type | None, bool], ...]:
    """Of those in a body: name, type as written, the class that needs no other look, whether there has to be one."""
    return tuple(
        (
            field.name,
            str(field.type),
            _JSON_TYPES.get(str(field.type), (None,))[0],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
        if field.name not in OUTSIDE
    )


_JSON_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "float | None": (float, int, type(None)),
    "int | None": (int, type(None)),
    "bool": (bool,),
}
_CHOICES: Final[Mapping[str, frozenset[str]]] = {
    "ReceiptStatus": frozenset(get_args(ReceiptStatus)),
    "Severity": frozenset(get_args(Severity)),
    "AlarmState": frozenset(get_args(AlarmState)),
    "ActionKind": frozenset(get_args(ActionKind)),
    "FirstUp": frozenset(get_args(FirstUp)),
}


def _checked(name: str, annotation: str, value: Any) -> Any:
    choices = _CHOICES.get(annotation)
    if choices is not None:
        if type(value) is not str or value not in choices:
            raise UndecodableError("bad-envelope", f"'{name}' can't be {value!r}")
        return value
    if annotation.startswith("Mapping"):
        if not isinstance(value, dict):
            raise UndecodableError("bad-envelope", f"'{name}' must be an object")
        return value
    if type(value) not in _JSON_TYPES[annotation]:
        raise UndecodableError("bad-envelope", f"'{name}' must be {annotation}")
    return float(value) if annotation.startswith("float") and value is not None else value
