"""A row: what all readers give and the builder of inputs takes, whatever the format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Row(NamedTuple):
    """What was measured at one time: `values` (in the targets' units) of the map's columns `cells`, ascending.

    A value is NaN where it is not available, None where it was rejected. `status`: OPC UA status codes, one a
    value, or empty where the format has none.
    """

    time_ns: int
    series: str
    cells: tuple[int, ...]
    values: tuple[float | None, ...]
    status: tuple[int, ...] = ()


def joined(rows: Iterable[Row], seen: set[int]) -> Iterator[Row]:
    """Samples of one time and series as one row, for formats that tell them one by one. `seen` gets their columns.

    A column's second sample of the same time begins another row: a repeat, which the report counts.
    """
    now_ns: int | None = None
    waiting: dict[str, list[dict[int, tuple[float | None, int | None]]]] = {}
    for row in rows:
        seen.update(row.cells)
        if row.time_ns != now_ns:
            yield from _all_of(now_ns, waiting)
            waiting.clear()
            now_ns = row.time_ns
        states = row.status or (None,) * len(row.cells)
        cells = dict(zip(row.cells, zip(row.values, states, strict=True), strict=True))
        rows_of_series = waiting.setdefault(row.series, [])
        for other in rows_of_series:
            if other.keys().isdisjoint(cells):
                other.update(cells)
                break
        else:
            rows_of_series.append(cells)
    yield from _all_of(now_ns, waiting)


def _all_of(
    time_ns: int | None, waiting: dict[str, list[dict[int, tuple[float | None, int | None]]]]
) -> Iterator[Row]:
    if time_ns is None:
        return
    for series, found in waiting.items():
        for cells in found:
            order = tuple(sorted(cells))
            values, states = zip(*(cells[cell] for cell in order), strict=True)
            known = any(state is not None for state in states)
            yield Row(time_ns, series, order, values, tuple(state or 0 for state in states) if known else ())
