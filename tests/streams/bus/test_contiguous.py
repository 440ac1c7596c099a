from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from streams.bus.contiguous import HOLE_S, PATIENCE_S, WIDEST_MS, FetchWait, Holes, before_hole


@dataclass(frozen=True)
class Placed:
    offset: int


@given(st.integers(0, 5), st.lists(st.integers(0, 12), unique=True, max_size=10).map(sorted))
def test_what_follows_the_position_without_a_hole_is_kept(position: int, offsets: list[int]) -> None:
    kept = [record.offset for record in before_hole([Placed(offset) for offset in offsets], position)]
    assert kept == offsets[: len(kept)]
    wanted = position
    for offset in kept:
        assert offset <= wanted  # no offset was passed over
        wanted = offset + 1
    if len(kept) < len(offsets):
        assert offsets[len(kept)] > wanted


def test_the_wait_widens_for_a_partition_that_stays_behind_and_narrows_again() -> None:
    now_s = 0.0
    wait = FetchWait(20, lambda: now_s)
    wait.note("p", is_behind=True)
    assert wait.ms == 20
    now_s = PATIENCE_S
    wait.note("p", is_behind=True)
    assert wait.ms == 80
    for _ in range(1000):
        wait.note("p", is_behind=False)
    assert wait.ms == 20


def test_a_partition_that_is_behind_once_in_a_while_widens_nothing() -> None:
    now_s = 0.0
    wait = FetchWait(20, lambda: now_s)
    for step in range(20):
        now_s = step * PATIENCE_S
        wait.note("p", is_behind=step % 2 == 0)
    assert wait.ms == 20


def test_the_wait_has_a_bound() -> None:
    now_s = 0.0
    wait = FetchWait(20, lambda: now_s)
    for step in range(40):
        now_s = step * PATIENCE_S
        wait.note("p", is_behind=True)
    assert wait.ms == WIDEST_MS


def offsets(records: Sequence[Placed]) -> list[int]:
    return [record.offset for record in records]


def test_a_hole_is_waited_for_and_passed_when_nothing_ever_comes() -> None:
    now_s = 0.0
    holes = Holes(lambda: now_s)
    behind = [Placed(7), Placed(8), Placed(10)]
    assert offsets(holes.follow("p", [Placed(0), *behind], 0)) == [0]
    now_s = HOLE_S - 0.1
    assert offsets(holes.follow("p", behind, 1)) == []
    now_s = HOLE_S
    assert offsets(holes.follow("p", behind, 1)) == [7, 8], "up to the next hole"
    assert offsets(holes.follow("p", [Placed(10)], 9)) == [], "which is waited for as well"
    now_s = 2 * HOLE_S
    assert offsets(holes.follow("p", [Placed(10)], 9)) == [10]


def test_a_hole_that_is_filled_in_time_is_none_and_the_next_one_has_its_own_time() -> None:
    now_s = 0.0
    holes = Holes(lambda: now_s)
    assert offsets(holes.follow("p", [Placed(1)], 0)) == []
    now_s = HOLE_S - 0.1
    assert offsets(holes.follow("p", [Placed(0), Placed(1), Placed(3)], 0)) == [0, 1]
    now_s = HOLE_S
    assert offsets(holes.follow("p", [Placed(3)], 2)) == []
    assert offsets(holes.follow("q", [Placed(3)], 2)) == [], "and so has each partition"
    assert offsets(holes.follow("p", [Placed(2), Placed(3)], 2)) == [2, 3]
