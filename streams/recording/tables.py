"""The tables of an export: a schema for each kind of thing in a recording, and how things become rows.

Rules: long rather than wide; names as in the inputs and outputs; times are timestamps in UTC to the nanosecond, under
the names that they have there; what was not available is null; units stand in the schema (`unit` of a column, or
`units`, a JSON object by point or actuator). Rows wait in memory until there are enough for a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from rules.engine.inputs import Action, Frame, Readings, Receipt
from rules.engine.outputs import Alarm, Command, Entry
from rules.gpu_fields import GPU_FIELDS
from rules.site.model import Site

BATCH_ROWS: Final = 1 << 16
_TIME: Final = pa.timestamp("ns", "UTC")
_QUALITY: Final = {"values": "0 good, 1 uncertain, 2 bad, 3 missing"}

Hide = Callable[[str], str]


def _field(name: str, kind: Any, metadata: Mapping[str, str] | None = None) -> Any:
    return pa.field(name, kind, metadata=dict(metadata) if metadata else None)


def schemas(site: Site | None, hide: Hide) -> dict[str, pa.Schema]:
    """The schema of each table by its name; units of points and actuators where the recording has its site."""
    text, number = pa.utf8(), pa.float64()
    points = {} if site is None else {hide(one.id): one.engineering_unit for one in site.points.values()}
    actuators = (
        {} if site is None else {hide(one.id): one.engineering_unit for one in site.actuators.values()}
    )
    by_point, by_actuator = ({"units": orjson.dumps(units).decode()} for units in (points, actuators))
    of_gpus = [_field(one.name, pa.float32(), {"unit": one.unit}) for one in GPU_FIELDS]
    found = {
        "readings": [
            ("time_ns", _TIME), ("unit", text), ("source", text), ("point", text),
            _field("value", number, by_point), _field("quality", pa.uint8(), _QUALITY),
        ],
        "frames": [
            ("time_ns", _TIME), ("unit", text), ("source", text), ("asset", text), ("gpu", pa.uint16()), *of_gpus,
            _field("energy_mj", pa.int64(), {"unit": "mJ"}), _field("quality", pa.uint8(), _QUALITY),
        ],
        "alarms": [
            ("id", text), ("unit", text), ("rule", text), ("asset", text), ("severity", text), ("state", text),
            ("raised_id", text), ("raised_ns", _TIME), ("cleared_ns", _TIME), ("value", number), ("message", text),
            ("unknown_ns", _TIME), ("acknowledged_ns", _TIME), ("confirmed_ns", _TIME), ("shelved_until_ns", _TIME),
            ("one_shot", pa.bool_()), ("out_of_service_until_ns", _TIME), ("suppressed_by", text), ("first_up", text),
            ("by", text), ("comment", text), ("at_ns", _TIME),
        ],
        "commands": [
            ("id", text), ("unit", text), ("rule", text), ("asset", text), ("actuator", text), ("value", number),
            ("engineering_unit", text), ("cause_ns", _TIME), ("expires_ns", _TIME), ("reason", text),
        ],
        "receipts": [
            ("unit", text), ("source", text), ("epoch", pa.int64()), ("sequence", pa.int64()), ("command", text),
            ("actuator", text), ("status", text), _field("value", number, by_actuator),
            _field("read_back", number, by_actuator), ("at_ns", _TIME), ("detail", text),
        ],
        "actions": [
            ("unit", text), ("source", text), ("epoch", pa.int64()), ("sequence", pa.int64()), ("action", text),
            ("rule", text), ("asset", text), ("by", text), ("at_ns", _TIME), ("occurrence", text),
            ("until_ns", _TIME), ("one_shot", pa.bool_()), ("comment", text), ("signer", text),
        ],
        "journal": [
            ("id", text), ("unit", text), ("kind", text), ("at_ns", _TIME), ("detail", text),
            ("number", pa.int64()), ("previous", text),
        ],
    }  # fmt: skip
    return {name: pa.schema(fields) for name, fields in found.items()}


class Rows:
    """Alarms, commands, receipts, actions or lines of the journal, one row each."""

    def __init__(self, schema: pa.Schema, hide: Hide) -> None:
        self._schema = schema
        self._hide = hide
        self._rows: list[dict[str, Any]] = []

    def add(self, value: Alarm | Command | Entry | Receipt | Action) -> None:
        row: dict[str, Any] = {}
        for name in self._schema.names:
            cell = getattr(
                value.identity if isinstance(value, Receipt | Action) and name in _IDENTITY else value, name
            )
            if isinstance(cell, Mapping):
                cell = orjson.dumps(cell, option=orjson.OPT_SORT_KEYS).decode()
            row[name] = self._hide(cell) if isinstance(cell, str) else cell
        self._rows.append(row)

    def __len__(self) -> int:
        return len(self._rows)

    def take(self) -> pa.RecordBatch:
        """What has come since the last call."""
        rows, self._rows = self._rows, []
        columns = [
            pa.array(
                [row[field.name] for row in rows], pa.int64() if field.type == _TIME else field.type
            ).cast(field.type)
            for field in self._schema
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)


_IDENTITY: Final = frozenset({"source", "epoch", "sequence"})


class _Columns:
    """Pieces of columns, put together when a batch is taken. Texts of a piece are one for all of its rows."""

    def __init__(self, schema: pa.Schema, hide: Hide) -> None:
        self._schema = schema
        self._hide = hide
        self._rows: list[int] = []
        self._texts: dict[str, list[str]] = {}
        self._arrays: dict[str, list[NDArray[Any]]] = {}

    def _add(self, rows: int, texts: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> None:
        self._rows.append(rows)
        for name, value in texts.items():
            self._texts.setdefault(name, []).append(self._hide(value))
        for name, array in arrays.items():
            self._arrays.setdefault(name, []).append(array)

    def __len__(self) -> int:
        return sum(self._rows)

    def _taken(self) -> tuple[dict[str, pa.Array[Any]], dict[str, NDArray[Any]]]:
        piece = np.repeat(np.arange(len(self._rows)), self._rows)
        texts: dict[str, pa.Array[Any]] = {
            name: pa.array(values, pa.utf8()).take(piece) for name, values in self._texts.items()
        }
        arrays = {name: np.concatenate(pieces) for name, pieces in self._arrays.items()}
        self._rows, self._texts, self._arrays = [], {}, {}
        return texts, arrays

    def _batch(self, columns: Mapping[str, Any]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(
            [pa.array(columns[field.name]).cast(field.type) for field in self._schema], schema=self._schema
        )


class ReadingRows(_Columns):
    """Plant readings, a row for each value."""

    def __init__(self, schema: pa.Schema, hide: Hide) -> None:
        super().__init__(schema, hide)
        self._points: list[str] = []

    def add(self, value: Readings) -> None:
        self._points.extend(map(self._hide, value.points))
        self._add(
            len(value.points),
            {"unit": value.unit, "source": value.identity.source},
            {"time_ns": value.time_ns, "value": value.values, "quality": value.quality},
        )

    def take(self) -> pa.RecordBatch:
        """What has come since the last call."""
        texts, arrays = self._taken()
        points, self._points = self._points, []
        return self._batch({**texts, **arrays, "point": pa.array(points, pa.utf8())})


class FrameRows(_Columns):
    """GPU telemetry, a row for each sample of a GPU."""

    def add(self, value: Frame) -> None:
        samples, gpus = value.quality.shape
        self._add(
            samples * gpus,
            {"unit": value.unit, "source": value.identity.source, "asset": value.asset},
            {
                "time_ns": np.repeat(value.time_ns, gpus),
                "gpu": np.tile(value.gpu, samples),
                "values": value.values.reshape(samples * gpus, -1),
                "energy_mj": value.energy_mj.ravel(),
                "quality": value.quality.ravel(),
            },
        )

    def take(self) -> pa.RecordBatch:
        """What has come since the last call."""
        texts, arrays = self._taken()
        values, energy = arrays.pop("values"), arrays["energy_mj"]
        fields = {
            one.name: pa.array(values[:, index], mask=np.isnan(values[:, index]))
            for index, one in enumerate(GPU_FIELDS)
        }
        return self._batch({**texts, **arrays, **fields, "energy_mj": pa.array(energy, mask=energy < 0)})


def table_of(name: str, schema: pa.Schema, hide: Hide) -> Rows | ReadingRows | FrameRows:
    """What takes the rows of a table."""
    kinds: Mapping[str, Any] = {"readings": ReadingRows, "frames": FrameRows}
    made: Rows | ReadingRows | FrameRows = kinds.get(name, Rows)(schema, hide)
    return made


def plain_schemas(found: Mapping[str, pa.Schema]) -> dict[str, list[dict[str, Any]]]:
    """The schemas as plain data, for files that can't carry them."""
    return {name: [_plain(field) for field in schema] for name, schema in found.items()}


def _plain(field: Any) -> dict[str, Any]:
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    if "units" in metadata:
        return {"name": field.name, "type": str(field.type), "units": orjson.loads(metadata["units"])}
    return {"name": field.name, "type": str(field.type), **metadata}
