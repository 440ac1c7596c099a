from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from streams.contiguous import before_hole


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
