"""Delays against chattering, of occurrences whose times are known."""

from __future__ import annotations

from streams.compare.episodes import Episode
from streams.reports.delays import Cut, delays

S = 1_000_000_000


def raisings(*spans: tuple[float, float | None]) -> list[Episode]:
    return [
        Episode(
            str(number), "row-a", "slow", "P-1", "low", "",
            round(begin * S), None if end is None else round(end * S),
        )
        for number, (begin, end) in enumerate(spans)
    ]  # fmt: skip


def test_short_ones_ask_for_an_on_delay_and_short_gaps_for_an_off_delay() -> None:
    short = delays(raisings(*((n * 20, n * 20 + 3) for n in range(4)), (200, 260)))
    assert short.suggested_on == Cut(5, 4, False)
    assert short.suggested_off == Cut(20, 3, False)
    near = delays(raisings((0, 18), (20, 38), (40, 58), (60, None)))
    assert near.suggested_off == Cut(5, 3, False)
    assert near.suggested_on == Cut(20, 3, False)


def test_the_edges_of_a_delay() -> None:
    found = delays(raisings((0, 2), (4, 6), (8, 10)))
    # 1, 2, 5 s: what lasts as long as the delay goes off
    assert [cut.cut for cut in found.on[:3]] == [0, 0, 3]
    assert [cut.cut for cut in found.off[:3]] == [0, 0, 2]


def test_no_delay_helps_against_what_nobody_knows_the_end_of() -> None:
    found = delays(raisings((0, None), (1, None), (2, None)))
    assert (found.suggested_on, found.suggested_off) == (None, None)
