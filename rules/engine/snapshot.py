"""An engine's memory as bytes and back.

Rules: equal memories give equal bytes; nothing is unpickled; what is read is checked before it is believed.

Layout: `HRSNAP01`, CRC-32 of all that follows (4 bytes, little-endian as everything), length of the header
(4 bytes), the header (orjson, sorted keys), then the arrays one after another, as the header's `arrays`
lists them. The array `condition_rule` says which of the header's `rules` (id, definition) each condition
belonged to: a program with other rules finds there what still means the same.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from rules.engine import kernel
from rules.engine.arrays import State
from rules.engine.tables import Compiled, fresh_state
from rules.errors import HeadraceError

MAGIC: Final = b"HRSNAP01"
_FRAMING: Final = struct.Struct("<II")
_DTYPES: Final = {"int8", "int16", "int64", "float64"}


class SnapshotError(HeadraceError):
    """These bytes are no snapshot that this engine can take over."""


def pack(header: Mapping[str, Any], compiled: Compiled, state: State) -> bytes:
    """Snapshot bytes of `state`; `header` is what the engine itself remembers, as JSON."""
    arrays: dict[str, NDArray[Any]] = {
        "condition_rule": compiled.tables.condition_rule.astype(np.int16),
        **state._asdict(),
    }
    head = orjson.dumps(
        {
            **header,
            "rules": [[rule.id, rule.definition] for rule in compiled.rules],
            "rate_rules": [row for row, rule in enumerate(compiled.rules) if rule.kind == "rate"],
            "lanes": _lanes(compiled),
            "arrays": [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()],
        },
        option=orjson.OPT_SORT_KEYS,
    )
    body = b"".join([head, *(np.ascontiguousarray(array).tobytes() for array in arrays.values())])
    checksum = zlib.crc32(body, len(head))
    return MAGIC + _FRAMING.pack(checksum, len(head)) + body


def unpack(data: bytes, unit: str, compiled: Compiled) -> tuple[dict[str, Any], State, set[str]]:
    """(header, state for `compiled`, ids of the rules whose state was kept). Raises SnapshotError."""
    header, arrays = _read(data)
    if header.get("unit") != unit:
        raise SnapshotError(f"a snapshot of unit '{header.get('unit')}', not of '{unit}'")
    state = fresh_state(compiled)
    old_rules = [tuple(rule) for rule in header["rules"]]
    rule_of = arrays.pop("condition_rule")
    old = State(**arrays)
    if header["lanes"] == _lanes(compiled):
        state.newest_gpu[:] = old.newest_gpu
        state.newest_point[:] = old.newest_point
    kept: set[str] = set()
    for row, rule in enumerate(compiled.rules):
        identity = (rule.id, rule.definition)
        if identity in old_rules:
            kept.add(rule.id)
            was = np.flatnonzero(rule_of == old_rules.index(identity))
            _keep(
                state,
                compiled.tables.rings,
                compiled.conditions_of(row),
                old,
                was,
                _old_rings(header, rule_of),
            )
    deadlines = state.timers[kernel.DEADLINE]
    # The bound that was reached, not the exact one: an engine that never stopped would have the same bytes.
    same = kept == {rule_id for rule_id, _ in old_rules} == {rule.id for rule in compiled.rules}
    state.next_deadline[0] = old.next_deadline[0] if same else deadlines.min(initial=kernel.NEVER)
    return header, state, kept


def _keep(
    state: State,
    rings: NDArray[np.int64],
    conditions: NDArray[np.int64],
    old: State,
    was: NDArray[np.int64],
    old_rings: NDArray[np.int64],
) -> None:
    state.timers[:, conditions] = old.timers[:, was]
    state.values[conditions] = old.values[was]
    state.phases[:, conditions] = old.phases[:, was]
    ring, old_ring = rings[conditions], old_rings[was]
    if len(ring) and ring[0] >= 0:
        state.ring_times[ring] = old.ring_times[old_ring]
        state.ring_values[ring] = old.ring_values[old_ring]
        state.ring_ends[ring] = old.ring_ends[old_ring]


def _old_rings(header: Mapping[str, Any], rule_of: NDArray[np.int16]) -> NDArray[np.int64]:
    """Rings are numbered in the order of the conditions that have one, as `tables` does it."""
    has_ring = np.isin(rule_of, header["rate_rules"])
    return np.where(has_ring, np.cumsum(has_ring) - 1, -1).astype(np.int64)


def _lanes(compiled: Compiled) -> str:
    return hashlib.sha256("\n".join([*compiled.lanes, "", *compiled.point_index]).encode()).hexdigest()


def _read(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    start = len(MAGIC) + _FRAMING.size
    if len(data) < start or data[: len(MAGIC)] != MAGIC:
        raise SnapshotError("no snapshot of this version of Headrace")
    checksum, length = _FRAMING.unpack_from(data, len(MAGIC))
    body = memoryview(data)[start:]
    if length > len(body) or zlib.crc32(body, length) != checksum:
        raise SnapshotError("a damaged snapshot: its checksum does not match")
    header: dict[str, Any] = orjson.loads(body[:length])
    return header, dict(_arrays(body[length:], header["arrays"]))


def _arrays(
    body: memoryview, layout: Iterable[tuple[str, str, list[int]]]
) -> Iterable[tuple[str, NDArray[Any]]]:
    offset = 0
    for name, dtype, shape in layout:
        if dtype not in _DTYPES:
            raise SnapshotError(f"a snapshot with an array of {dtype}")
        array = np.frombuffer(body, dtype, count=int(np.prod(shape)), offset=offset).reshape(shape)
        offset += array.nbytes
        yield name, array
