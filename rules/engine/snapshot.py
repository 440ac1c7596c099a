"""An engine's memory as bytes and back.

Rules: equal memories give equal bytes; nothing is unpickled; what is read is checked before it is believed.

Layout: `HRSNAP04`, CRC-32 of all that follows (4 bytes, little-endian as everything), length of the header
(4 bytes), the header (orjson, sorted keys), then the arrays one after another, as the header's `arrays`
lists them. Rules (id, definition), plant conditions and functions of time (slots) are named in the header: a program
with other rules finds there what still means the same.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from rules.engine.kernel import NEVER
from rules.engine.tables import Compiled, State, fresh_state
from rules.engine.writer import Slot
from rules.errors import HeadraceError

MAGIC: Final = b"HRSNAP04"
_FRAMING: Final = struct.Struct("<II")
_DTYPES: Final = {"int8", "int16", "int64", "float64"}


Arrays = dict[str, NDArray[Any]]


class SnapshotError(HeadraceError):
    """These bytes are no snapshot that this engine can take over."""


class Layout(NamedTuple):
    """What the rows of a state's arrays mean, by names that another program may share.

    `rules`: (id, definition) in the order of the rows. `shown`: numbers kept for each condition. `lanes`: a digest of
    the GPUs and points. `facts`: their names, in the order of their rows behind the points.
    """

    rules: list[list[str]]
    shown: int
    gpu_slots: list[list[Any]]
    plant_slots: list[list[Any]]
    plant_conditions: list[str]
    lanes: str
    facts: list[str]


def layout(compiled: Compiled) -> Layout:
    """Of a state for these rules."""
    return Layout(
        [[rule.id, rule.definition] for rule in compiled.rules],
        compiled.shown,
        [list(slot) for slot in compiled.gpu_slots],
        [list(slot) for slot in compiled.plant_slots],
        plant_conditions(compiled),
        _lanes(compiled),
        list(compiled.fact_rows),
    )


def pack(header: Mapping[str, Any], compiled: Compiled, state: State) -> bytes:
    """Snapshot bytes of `state`; `header` is what the engine itself remembers, as JSON."""
    arrays = _named(state)
    head = orjson.dumps(
        {
            **header,
            **layout(compiled)._asdict(),
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
    return header, *_carried(Layout(*(header[name] for name in Layout._fields)), old, compiled)


def carried_over(was: Compiled, state: State, compiled: Compiled) -> tuple[State, set[str]]:
    """(state for `compiled`, ids of the rules whose state was kept)."""
    return _carried(layout(was), _named(state), compiled)


def _carried(was: Layout, old: Arrays, compiled: Compiled) -> tuple[State, set[str]]:
    state = fresh_state(compiled)
    new, now = _named(state), layout(compiled)
    kept = {rule_id for rule_id, _ in {*map(tuple, was.rules)} & {*map(tuple, now.rules)}}
    if was.lanes != now.lanes:
        # other assets: what belongs to a lane or a point has no place to go, and definitions name the assets
        return state, kept
    new["point_gpu_times"][:] = old["point_gpu_times"]
    points = len(compiled.point_index)
    from_facts, to_facts = _pairs(was.facts, now.facts)
    for name in ("point_values", "point_times"):
        new[name][:points] = old[name][:points]
        into = new[name][points:].reshape(-1, 2)
        into[to_facts] = old[name][points:].reshape(-1, 2)[from_facts]
    _keep_gpus(new, old, compiled.gpu_rules, was, now)
    _keep_plant(new, old, was, now)
    deadlines = min(new["gpu_deadlines"].min(initial=NEVER), new["plant_deadlines"].min(initial=NEVER))
    # The bound that was reached, not the exact one: an engine that never stopped would have the same bytes.
    state.soonest[0] = old["soonest"][0] if was.rules == now.rules else deadlines
    return state, kept


_ROWS: Final = ("phases", "held", "deadlines", "remaining", "changed")


def _keep_gpus(new: Arrays, old: Arrays, rules: int, was: Layout, now: Layout) -> None:
    """Rows of the `rules` of GPUs that mean the same, and of the functions of time that do."""
    pairs = _pairs([tuple(rule) for rule in was.rules], [tuple(rule) for rule in now.rules[:rules]])
    _keep_rows(new, old, "gpu", pairs, was.shown, now.shown)
    _keep_slots(new, old, "gpu", was.gpu_slots, now.gpu_slots)


def _keep_plant(new: Arrays, old: Arrays, was: Layout, now: Layout) -> None:
    """Rows of conditions, by the rule's definition and the asset."""
    pairs = _pairs(was.plant_conditions, now.plant_conditions)
    _keep_rows(new, old, "plant", pairs, was.shown, now.shown)
    from_rows, to_rows = pairs
    new["point_evaluated"][to_rows] = old["point_evaluated"][from_rows]
    _keep_slots(new, old, "plant", was.plant_slots, now.plant_slots)


Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows of the old arrays, and where they go."""


def _pairs(was: Sequence[Hashable], now: Sequence[Hashable]) -> Pairs:
    places = {name: row for row, name in enumerate(was)}
    found = [(places[name], row) for row, name in enumerate(now) if name in places]
    rows = np.array(found, np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _keep_rows(new: Arrays, old: Arrays, place: str, pairs: Pairs, old_shown: int, shown: int) -> None:
    from_rows, to_rows = pairs
    for name in _ROWS:
        new[f"{place}_{name}"][to_rows] = old[f"{place}_{name}"][from_rows]
    rows, width = new[f"{place}_phases"].shape
    old_rows, _ = old[f"{place}_phases"].shape
    count = min(shown, old_shown)
    into = new[f"{place}_shown"].reshape(rows, shown, width)
    into[to_rows, :count] = old[f"{place}_shown"].reshape(old_rows, old_shown, width)[from_rows, :count]


def _keep_slots(new: Arrays, old: Arrays, place: str, was: list[list[Any]], now: list[list[Any]]) -> None:
    """Neighbours that stay neighbours go in one piece: a row has thousands of slots."""
    places = {slot[0]: Slot(*slot) for slot in was}
    floats: list[tuple[int, int, int]] = []
    marks: list[tuple[int, int, int]] = []
    for slot in (Slot(*slot) for slot in now):
        before = places.get(slot.name)
        if before is not None:
            _extend(floats, before.float_first, slot.float_first, slot.float_count)
            _extend(marks, before.mark_first, slot.mark_first, slot.mark_count)
    for name, spans in ((f"{place}_floats", floats), (f"{place}_marks", marks)):
        for start, to, count in spans:
            new[name][to : to + count] = old[name][start : start + count]


def _extend(spans: list[tuple[int, int, int]], start: int, to: int, count: int) -> None:
    if spans and spans[-1][0] + spans[-1][2] == start and spans[-1][1] + spans[-1][2] == to:
        start, to, count = spans[-1][0], spans[-1][1], spans.pop()[2] + count
    spans.append((start, to, count))


def plant_conditions(compiled: Compiled) -> list[str]:
    """A name for each plant condition and each fact that is told: equal ones mean the same in another program."""
    first = compiled.gpu_conditions
    definitions = [rule.definition for rule in compiled.rules]
    conditions = [
        f"{definitions[row]}:{asset}"
        for row, asset in zip(compiled.rule_of[first:].tolist(), compiled.assets[first:], strict=True)
    ]
    return [*conditions, *(f"fact:{part.to}:{part.name}" for part in compiled.told)]


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
