from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from streams.contiguous import PATIENCE_S, WIDEST_MS, FetchWait, before_hole


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
