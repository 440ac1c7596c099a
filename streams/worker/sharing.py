"""How the members of a group share the partitions: evenly, and so that as few as that takes change hands."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def shared_out(held: Mapping[str, Collection[int]], partitions: int) -> dict[str, list[int]]:
    """By member its partitions, ascending; `held`: what each has now, by its own word (a zombie's may be wrong).

    No member has two more than another. Who joins takes no more than its share, and nothing else moves.
    """
    free = set(range(partitions))
    kept: dict[str, list[int]] = {}
    for member in sorted(held):
        kept[member] = sorted(free.intersection(held[member]))
        free.difference_update(kept[member])
    low, more = divmod(partitions, len(held))
    most_first = sorted(kept, key=lambda member: (-len(kept[member]), member))
    quotas = {member: low + (place < more) for place, member in enumerate(most_first)}
    for member, quota in quotas.items():
        free.update(kept[member][quota:])
        del kept[member][quota:]
    left = iter(sorted(free))
    for member, quota in quotas.items():
        kept[member] = sorted([*kept[member], *(next(left) for _ in range(quota - len(kept[member])))])
    return kept
