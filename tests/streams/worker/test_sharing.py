"""Partitions among the members of a group: all of them, evenly, and as few moves as that takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from streams.worker.sharing import shared_out

Shares = Mapping[str, Sequence[int]]


def moves(before: Shares, after: Shares) -> int:
    return sum(
        partition not in before.get(member, ()) for member, mine in after.items() for partition in mine
    )


def started(members: int, partitions: int) -> dict[str, list[int]]:
    shares: dict[str, list[int]] = {}
    for number in range(members):
        shares = shared_out({**shares, f"worker-{number}": []}, partitions)
    return shares


@given(st.integers(1, 8), st.integers(0, 40))
def test_who_joins_takes_its_share_and_who_leaves_leaves_its_own(members: int, partitions: int) -> None:
    before = started(members, partitions)
    joined = shared_out({**before, "new": []}, partitions)
    assert moves(before, joined) == len(joined["new"]) <= -(-partitions // (members + 1))
    rest = {member: mine for member, mine in before.items() if member != "worker-0"}
    if rest:
        assert moves(before, shared_out(rest, partitions)) == len(before["worker-0"])
    assert shared_out(before, partitions) == before


@given(st.lists(st.sets(st.integers(0, 30)), min_size=1, max_size=6), st.integers(0, 24))
def test_whatever_members_say_each_partition_has_one_and_shares_are_even(
    held: list[set[int]], count: int
) -> None:
    shares = shared_out({f"m{number}": mine for number, mine in enumerate(held)}, count)
    assert sorted(partition for mine in shares.values() for partition in mine) == list(range(count))
    sizes = [len(mine) for mine in shares.values()]
    assert max(sizes) - min(sizes) <= 1
