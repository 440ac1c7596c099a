"""History in memory against a plain list, and aggregates against plain arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from asyncua import ua
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.scada.aggregates import BAD_NO_DATA, CALCULATED, SUB_NORMAL, processed
from gateways.scada.history import VALUE_BYTES, History, Kept
from rules.site.model import Point

S = 1_000_000_000
AVERAGE, MINIMUM, MAXIMUM, COUNT = (
    ua.NodeId(getattr(ua.ObjectIds, f"AggregateFunction_{name}"))
    for name in ("Average", "Minimum", "Maximum", "Count")
)


def point(name: str, period_ns: int = S) -> Point:
    return Point(name, "A", "Flow", "L/min", 0.0, 100.0, period_ns, "plc", "", period_ns)


def history(points: int = 3, hours: float = 10 / 3600) -> History:
    """Ten values of each point."""
    return History([point(str(number)) for number in range(points)], hours, 100.0)


batches = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 60), st.floats(-1e6, 1e6)), min_size=1, max_size=8),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(batches)
def test_each_point_keeps_its_last_values_in_order(said: list[list[tuple[int, int, float]]]) -> None:
    made, plain = history(), {place: list[tuple[int, float]]() for place in range(3)}
    left_out = 0
    for batch in said:
        for place, at_s, value in batch:
            last = plain[place][-1][0] if plain[place] else 0
            if at_s > last:
                plain[place].append((at_s, value))
            else:
                left_out += 1
        places, times, values = (np.array(column) for column in zip(*batch, strict=True))
        made.add(places.astype(np.intp), times * S, values.astype(float), np.zeros(len(batch), np.uint32))
    for place, expected in plain.items():
        kept = made.of(place)
        assert list(zip((kept.times // S).tolist(), kept.values.tolist(), strict=True)) == expected[-10:]
        for most in (None, 0, 3, 9):
            some = made.of(place, 20 * S, 40 * S, most)
            within = [value for at_s, value in expected[-10:] if 20 <= at_s < 40]
            assert some.values.tolist() == within[:most]
            assert made.of(place, 20 * S, 40 * S, most, backwards=True).values.tolist() == within[::-1][:most]
    assert made.left_out == left_out
    assert made.kept == sum(min(10, len(values)) for values in plain.values())


def test_a_page_is_no_copy_of_the_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    made = history(1, 1.0)
    for at_s in range(1, 5000):
        made.add(np.zeros(1, np.intp), np.array([at_s * S]), np.array([0.0]), np.zeros(1, np.uint32))
    sizes: list[int] = []
    joined = np.concatenate

    def counted(parts: list[Any]) -> Any:
        sizes.append(sum(map(len, parts)))
        return joined(parts)

    monkeypatch.setattr(np, "concatenate", counted)
    monkeypatch.delattr(np, "roll")
    assert len(made.of(0, most=20)) == 20
    assert sizes == [20, 20, 20]


def test_what_does_not_fit_is_shared_fairly() -> None:
    points = [point("fast", S // 10), point("slow", S)]
    made = History(points, 1.0, 39_600 * VALUE_BYTES / 2e6)
    assert made._sizes.tolist() == [18_000, 1_800]
    assert History(points, 1.0, 1000.0)._sizes.tolist() == [36_000, 3_600]
    assert History([], 1.0, 1.0).kept == 0


def kept(*rows: tuple[int, float, int]) -> Kept:
    times, values, status = zip(*rows, strict=True)
    return Kept(np.array(times) * S, np.array(values, float), np.array(status, np.uint32))


ROWS = kept((0, 1.0, 0), (1, 3.0, 0), (4, 9.0, 0), (5, 99.0, 0x80000000), (9, 5.0, 0x40000000))


@pytest.mark.parametrize(
    ("function", "values"),
    [(AVERAGE, [2.0, 9.0]), (MINIMUM, [1.0, 9.0]), (MAXIMUM, [3.0, 9.0]), (COUNT, [2.0, 1.0])],
)
def test_an_interval_is_of_its_good_values(function: object, values: list[float]) -> None:
    results = processed(ROWS, function, 0, 8 * S, 4 * S, uncertain_is_bad=True)
    assert [one.time_ns for one in results] == [0, 4 * S]
    assert [one.value for one in results] == values
    assert [one.status for one in results] == [CALCULATED, CALCULATED | SUB_NORMAL]


def test_an_interval_without_any_says_so_and_counts_none() -> None:
    (empty,) = processed(ROWS, AVERAGE, 6 * S, 8 * S, 0, uncertain_is_bad=True)
    assert (empty.value, empty.status) == (0.0, BAD_NO_DATA)
    (none,) = processed(ROWS, COUNT, 6 * S, 8 * S, 0, uncertain_is_bad=True)
    assert (none.value, none.status) == (0.0, CALCULATED)


def test_uncertain_values_count_where_the_client_says_so() -> None:
    (without,) = processed(ROWS, MAXIMUM, 8 * S, 12 * S, 0, uncertain_is_bad=True)
    (with_them,) = processed(ROWS, MAXIMUM, 8 * S, 12 * S, 0, uncertain_is_bad=False)
    assert (without.status, with_them.value) == (BAD_NO_DATA, 5.0)


def test_intervals_backwards_come_backwards_and_the_last_one_may_be_short() -> None:
    forwards = processed(ROWS, COUNT, 0, 10 * S, 4 * S, uncertain_is_bad=True)
    assert [one.time_ns // S for one in forwards] == [0, 4, 8]
    assert processed(ROWS, COUNT, 10 * S, 0, 4 * S, uncertain_is_bad=True) == forwards[::-1]
