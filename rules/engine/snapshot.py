"""An engine's memory as bytes and back.

Rules: equal memories give equal bytes (`rules/engine/packed.py`). Rules (id, definition), plant conditions and
functions of time (slots) are named in the header: a program with other rules finds there what still means the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from numpy.typing import NDArray

from rules.engine import packed
from rules.engine.kernel.codes import NEVER
from rules.engine.packed import Arrays, PackedError
from rules.engine.tables import Compiled, State, fresh_state
from rules.engine.writer import Slot

MAGIC: Final = b"HRSNAP06"


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
    return packed.pack(MAGIC, {**header, **layout(compiled)._asdict()}, _named(state))


def _named(state: State) -> dict[str, NDArray[Any]]:
    """What is remembered, by name: what the tables give is left out."""
    arrays: dict[str, NDArray[Any]] = {}
    for place, lanes in (("gpu", state.gpus), ("plant", state.plant)):
        arrays.update({f"{place}_{name}": array for name, array in lanes._asdict().items()})
    points = {name: getattr(state.points, name) for name in ("values", "times", "evaluated", "gpu_times")}
    arrays.update({f"point_{name}": array for name, array in points.items()})
    return {**arrays, "soonest": state.soonest}


def unpack(data: bytes, unit: str, compiled: Compiled) -> tuple[dict[str, Any], State, set[str]]:
    """(header, state for `compiled`, ids of the rules whose state was kept). Raises PackedError."""
    header, old = packed.unpack(MAGIC, data, "snapshot")
    if header.get("unit") != unit:
        raise PackedError(f"a snapshot of unit '{header.get('unit')}', not of '{unit}'")
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
    facts = _same(was.facts, now.facts)
    for name in ("point_values", "point_times"):
        new[name][:points] = old[name][:points]
        _copy(new[name][points:].reshape(-1, 2), old[name][points:].reshape(-1, 2), facts)
    _keep_gpus(new, old, compiled.gpu_rules, was, now)
    _keep_plant(new, old, was, now)
    deadlines = min(new["gpu_deadlines"].min(initial=NEVER), new["plant_deadlines"].min(initial=NEVER))
    # The bound that was reached, not the exact one: an engine that never stopped would have the same bytes.
    state.soonest[0] = old["soonest"][0] if was.rules == now.rules else deadlines
    return state, kept


_ROWS: Final = ("phases", "held", "deadlines", "remaining", "changed")


class Span(NamedTuple):
    """Neighbouring rows that stay neighbours: the first of the old ones, where it goes, how many."""

    start: int
    to: int
    rows: int


def _keep_gpus(new: Arrays, old: Arrays, rules: int, was: Layout, now: Layout) -> None:
    """Rows of the `rules` of GPUs that mean the same, and of the functions of time that do."""
    spans = _same([tuple(rule) for rule in was.rules], [tuple(rule) for rule in now.rules[:rules]])
    _keep_rows(new, old, "gpu", spans, was.shown, now.shown)
    _keep_slots(new, old, "gpu", was.gpu_slots, now.gpu_slots)


def _keep_plant(new: Arrays, old: Arrays, was: Layout, now: Layout) -> None:
    """Rows of conditions, by the rule's definition and the asset."""
    spans = _same(was.plant_conditions, now.plant_conditions)
    _keep_rows(new, old, "plant", spans, was.shown, now.shown)
    _copy(new["point_evaluated"], old["point_evaluated"], spans)
    _keep_slots(new, old, "plant", was.plant_slots, now.plant_slots)


def _same(was: Sequence[Hashable], now: Sequence[Hashable]) -> list[Span]:
    """Rows of one name."""
    places = {name: row for row, name in enumerate(was)}
    spans: list[Span] = []
    for row, name in enumerate(now):
        if name in places:
            _extend(spans, places[name], row, 1)
    return spans


def _keep_rows(new: Arrays, old: Arrays, place: str, spans: list[Span], old_shown: int, shown: int) -> None:
    for name in _ROWS:
        _copy(new[f"{place}_{name}"], old[f"{place}_{name}"], spans)
    count, width = min(shown, old_shown), new[f"{place}_phases"].shape[1]
    into = new[f"{place}_shown"].reshape(len(new[f"{place}_phases"]), shown, width)
    shown_before = old[f"{place}_shown"].reshape(len(old[f"{place}_phases"]), old_shown, width)
    _copy(into[:, :count], shown_before[:, :count], spans)


def _keep_slots(new: Arrays, old: Arrays, place: str, was: list[list[Any]], now: list[list[Any]]) -> None:
    places = {slot[0]: Slot(*slot) for slot in was}
    floats: list[Span] = []
    marks: list[Span] = []
    for slot in (Slot(*slot) for slot in now):
        before = places.get(slot.name)
        if before is not None:
            _extend(floats, before.float_first, slot.float_first, slot.float_count)
            _extend(marks, before.mark_first, slot.mark_first, slot.mark_count)
    _copy(new[f"{place}_floats"], old[f"{place}_floats"], floats)
    _copy(new[f"{place}_marks"], old[f"{place}_marks"], marks)


def _extend(spans: list[Span], start: int, to: int, count: int) -> None:
    last = spans[-1] if spans else Span(-1, -1, 0)
    if last.start + last.rows == start and last.to + last.rows == to:
        spans[-1] = Span(last.start, last.to, last.rows + count)
    else:
        spans.append(Span(start, to, count))


def _copy(new: NDArray[Any], old: NDArray[Any], spans: list[Span]) -> None:
    for start, to, count in spans:
        new[to : to + count] = old[start : start + count]


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
