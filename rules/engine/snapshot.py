"""An engine's memory as bytes and back.

Rules: equal memories give equal bytes; nothing is unpickled; what is read is checked before it is believed.

Layout: `HRSNAP03`, CRC-32 of all that follows (4 bytes, little-endian as everything), length of the header
(4 bytes), the header (orjson, sorted keys), then the arrays one after another, as the header's `arrays`
lists them. Rules (id, definition), plant conditions and functions of time (slots) are named in the header: a program
with other rules finds there what still means the same.
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

from rules.engine.kernel import NEVER
from rules.engine.tables import Compiled, State, fresh_state
from rules.engine.writer import Slot
from rules.errors import HeadraceError

MAGIC: Final = b"HRSNAP03"
_FRAMING: Final = struct.Struct("<II")
_DTYPES: Final = {"int8", "int16", "int64", "float64"}


Arrays = dict[str, NDArray[Any]]


class SnapshotError(HeadraceError):
    """These bytes are no snapshot that this engine can take over."""


def pack(header: Mapping[str, Any], compiled: Compiled, state: State) -> bytes:
    """Snapshot bytes of `state`; `header` is what the engine itself remembers, as JSON."""
    arrays = _named(state)
    head = orjson.dumps(
        {
            **header,
            "rules": [[rule.id, rule.definition] for rule in compiled.rules],
            "shown": compiled.shown,
            "gpu_slots": [list(slot) for slot in compiled.gpu_slots],
            "plant_slots": [list(slot) for slot in compiled.plant_slots],
            "plant_conditions": plant_conditions(compiled),
            "lanes": _lanes(compiled),
            "arrays": [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()],
        },
        option=orjson.OPT_SORT_KEYS,
    )
    body = b"".join([head, *(np.ascontiguousarray(array).tobytes() for array in arrays.values())])
    checksum = zlib.crc32(body, len(head))
    return MAGIC + _FRAMING.pack(checksum, len(head)) + body


def _named(state: State) -> dict[str, NDArray[Any]]:
    """What is remembered, by name: what the tables give is left out."""
    arrays: dict[str, NDArray[Any]] = {}
    for place, lanes in (("gpu", state.gpus), ("plant", state.plant)):
        arrays.update({f"{place}_{name}": array for name, array in lanes._asdict().items()})
    points = {name: getattr(state.points, name) for name in ("values", "times", "evaluated", "gpu_times")}
    arrays.update({f"point_{name}": array for name, array in points.items()})
    return {**arrays, "soonest": state.soonest}


def unpack(data: bytes, unit: str, compiled: Compiled) -> tuple[dict[str, Any], State, set[str]]:
    """(header, state for `compiled`, ids of the rules whose state was kept). Raises SnapshotError."""
    header, old = _read(data)
    if header.get("unit") != unit:
        raise SnapshotError(f"a snapshot of unit '{header.get('unit')}', not of '{unit}'")
    state = fresh_state(compiled)
    new = _named(state)
    were = [tuple(rule) for rule in header["rules"]]
    are = [(rule.id, rule.definition) for rule in compiled.rules]
    kept = {rule_id for rule_id, _ in set(were) & set(are)}
    if header["lanes"] != _lanes(compiled):
        # other assets: what belongs to a lane or a point has no place to go, and definitions name the assets
        return header, state, kept
    for name in ("point_gpu_times", "point_values", "point_times"):
        new[name][:] = old[name]
    _keep_gpus(new, old, compiled, header, were, are)
    _keep_plant(new, old, compiled, header)
    deadlines = min(new["gpu_deadlines"].min(initial=NEVER), new["plant_deadlines"].min(initial=NEVER))
    # The bound that was reached, not the exact one: an engine that never stopped would have the same bytes.
    state.soonest[0] = old["soonest"][0] if were == are else deadlines
    return header, state, kept


_ROWS: Final = ("phases", "held", "deadlines", "remaining", "changed")


def _keep_gpus(
    new: Arrays, old: Arrays, compiled: Compiled, header: Mapping[str, Any], were: list[Any], are: list[Any]
) -> None:
    """Rows of the rules that mean the same, and of the functions of time that do."""
    for row in range(compiled.gpu_rules):
        if are[row] in were:
            was = were.index(are[row])
            for name in _ROWS:
                new[f"gpu_{name}"][row] = old[f"gpu_{name}"][was]
            _keep_shown(new["gpu_shown"], row, compiled.shown, old["gpu_shown"], was, header["shown"])
    _keep_slots(new, old, "gpu", compiled.gpu_slots, header["gpu_slots"])


def _keep_plant(new: Arrays, old: Arrays, compiled: Compiled, header: Mapping[str, Any]) -> None:
    """Rows of conditions, by the rule's definition and the asset."""
    places = {name: row for row, name in enumerate(header["plant_conditions"])}
    for row, name in enumerate(plant_conditions(compiled)):
        if name in places:
            was = places[name]
            for array in _ROWS:
                new[f"plant_{array}"][row] = old[f"plant_{array}"][was]
            new["point_evaluated"][row] = old["point_evaluated"][was]
            _keep_shown(new["plant_shown"], row, compiled.shown, old["plant_shown"], was, header["shown"])
    _keep_slots(new, old, "plant", compiled.plant_slots, header["plant_slots"])


def _keep_shown(new: NDArray[Any], row: int, width: int, old: NDArray[Any], was: int, old_width: int) -> None:
    count = min(width, old_width)
    new[row * width : row * width + count] = old[was * old_width : was * old_width + count]


def _keep_slots(
    new: Arrays, old: Arrays, place: str, slots: Iterable[Slot], old_slots: Iterable[list[Any]]
) -> None:
    places = {slot[0]: Slot(*slot) for slot in old_slots}
    floats, marks = f"{place}_floats", f"{place}_marks"
    for slot in slots:
        was = places.get(slot.name)
        if was is not None:
            new[floats][slot.float_first :][: slot.float_count] = old[floats][was.float_first :][
                : was.float_count
            ]
            new[marks][slot.mark_first :][: slot.mark_count] = old[marks][was.mark_first :][: was.mark_count]


def plant_conditions(compiled: Compiled) -> list[str]:
    """A name for each plant condition: equal ones mean the same in another program."""
    first = compiled.gpu_conditions
    definitions = [rule.definition for rule in compiled.rules]
    return [
        f"{definitions[row]}:{asset}"
        for row, asset in zip(compiled.rule_of[first:].tolist(), compiled.assets[first:], strict=True)
    ]


def _lanes(compiled: Compiled) -> str:
    return hashlib.sha256("\n".join([*compiled.gpus, "", *compiled.point_index]).encode()).hexdigest()


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
