"""Id patterns: what they expand to, and what is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.site.ids import ASSET_ID, PatternError, expand_ids

LITERAL = st.text(alphabet="ABrx-_9", min_size=1, max_size=4)


def plain(text: str) -> list[str]:
    return [expanded.id for expanded in expand_ids(text)]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("R01", ["R01"]),
        ("R[08..11]", ["R08", "R09", "R10", "R11"]),
        ("G[1..4]", ["G1", "G2", "G3", "G4"]),
        ("G[9..11]", ["G9", "G10", "G11"]),
        ("HX-[A..C]", ["HX-A", "HX-B", "HX-C"]),
        ("row-[a..b]", ["row-a", "row-b"]),
        ("R[01..02]-T[1..2]", ["R01-T1", "R01-T2", "R02-T1", "R02-T2"]),
        ("[1..1]", ["1"]),
        ("", [""]),
    ],
)
def test_expansion(text: str, ids: list[str]) -> None:
    assert plain(text) == ids


def test_the_number_is_the_first_range() -> None:
    assert [expanded.number for expanded in expand_ids("row-[01..02]-[A..B]")] == ["01", "01", "02", "02"]


@pytest.mark.parametrize(
    "text",
    ["R[", "R]", "R[]", "R[1]", "R[1..]", "R[a..B]", "R[2..1]", "R[01..1]", "R[[1..2]]", "R[1..2", "[1-2]"],
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(PatternError):
        expand_ids(text)


def test_too_many_are_refused_before_they_are_made() -> None:
    with pytest.raises(PatternError, match="more than"):
        expand_ids("[000..999][000..999][000..999]")
    with pytest.raises(PatternError, match="more than"):
        expand_ids("[000000000..999999999]")


@given(LITERAL, LITERAL, st.integers(0, 990), st.integers(0, 9), st.integers(3, 5))
def test_a_range_is_its_numbers_at_their_width(
    before: str, after: str, low: int, more: int, width: int
) -> None:
    numbers = range(low, low + more + 1)
    text = f"{before}[{low:0{width}}..{low + more:0{width}}]{after}"
    assert plain(text) == [f"{before}{number:0{width}}{after}" for number in numbers]
    assert plain(text) == sorted(plain(text))


@given(st.lists(st.tuples(LITERAL, st.integers(1, 4)), min_size=1, max_size=3))
def test_ranges_multiply_and_every_id_matches_its_pattern(parts: list[tuple[str, int]]) -> None:
    text = "".join(f"{literal}.[1..{high}]" for literal, high in parts)
    ids = plain(text)
    total = 1
    for _, high in parts:
        total *= high
    assert len(ids) == total
    pattern = re.compile("".join(f"{re.escape(literal)}\\.([1-{high}])" for literal, high in parts))
    numbers = [tuple(map(int, match.groups())) for id_ in ids if (match := pattern.fullmatch(id_))]
    assert numbers == sorted(numbers)
    assert len(numbers) == total


@given(st.text(alphabet="[].0123ABab-", max_size=16))
def test_any_text_gives_ids_or_a_pattern_error(text: str) -> None:
    try:
        ids = expand_ids(text)
    except PatternError:
        return
    assert ids
    assert all("[" not in expanded.id for expanded in ids)


def test_asset_ids_leave_room_for_points_and_keys() -> None:
    assert ASSET_ID.fullmatch("R01-T05-G2")
    assert not any(ASSET_ID.fullmatch(text) for text in ("R01.x", "a/b", "-a", "", "a b", "å"))
