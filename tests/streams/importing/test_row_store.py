"""Rows held in memory."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.importing.row_store import RowStore
from streams.importing.rows import Row

_value = st.none() | st.floats(allow_nan=False)
_row = st.builds(
    lambda time, cells, status: Row(
        time, "ab"[len(cells) % 2], tuple(cells), tuple(cells.values()), (7,) * len(cells) if status else ()
    ),
    st.integers(0, 1 << 62), st.dictionaries(st.integers(0, 9), _value, max_size=4), st.booleans(),
)  # fmt: skip


@given(st.lists(_row, max_size=30), st.booleans())
def test_rows_come_back_sorted_as_they_were(rows: list[Row], newest_first: bool) -> None:
    store = RowStore()
    for row in rows:
        store.add(row)
    given_order = rows[::-1] if newest_first else rows
    assert list(store.sorted(newest_first)) == sorted(given_order, key=lambda row: row.time_ns)


@pytest.mark.parametrize(("values", "status", "bytes_a_value"), [(1, (), 9), (4, (), 9), (4, (0,) * 4, 13)])
def test_a_row_takes_as_many_bytes_as_is_said(
    values: int, status: tuple[int, ...], bytes_a_value: int
) -> None:
    """docs/import.md says them; sorted, when it is the most."""
    count, cells, numbers = 20_000, tuple(range(values)), (1.5,) * values
    tracemalloc.start()
    try:
        store = RowStore()
        for time_ns in range(count):
            store.add(Row(time_ns, "", cells, numbers, status))
        next(store.sorted())
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most / count == pytest.approx(28 + values * bytes_a_value, rel=0.1)
