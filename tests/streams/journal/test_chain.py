"""The verifier: what was done to a journal, and the record that it names."""

from __future__ import annotations

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.streams.journal.lines import first, head, journal, verified

COUNT = 9
LINES = journal(COUNT)
CLOSED = [*LINES, head(LINES, COUNT).as_bytes()]
numbers = st.integers(1, COUNT)


def test_a_journal_holds_from_any_line_on() -> None:
    for begin in range(COUNT):
        verifier, found = verified(CLOSED[begin:])
        assert not found
        assert verifier.units["row-a"].first == begin + 1
        assert verifier.units["row-a"].end.number == COUNT


@given(st.integers(0, COUNT - 2), st.lists(st.tuples(numbers, numbers), max_size=5))
@settings(max_examples=300, deadline=None)
def test_a_worker_that_was_restarted_says_the_same_lines_again(
    begin: int, kills: list[tuple[int, int]]
) -> None:
    said: list[bytes] = []
    at = begin
    for upto, back in kills:
        if at < upto:
            said += LINES[at:upto]
            at = max(upto - back, begin - 2, 0)  # the snapshot with which the next one goes on
    said += LINES[at:]
    verifier, found = verified([*said, CLOSED[-1]])
    assert not found
    assert verifier.units["row-a"].lines == COUNT - begin
    assert verifier.units["row-a"].repeats == len(said) - (COUNT - begin)


@given(numbers, st.data())
@settings(max_examples=600, deadline=None)
def test_one_byte_that_was_changed_names_its_line(number: int, data: st.DataObject) -> None:
    line = LINES[number - 1]
    at = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[at]))
    changed = [*CLOSED]
    changed[number - 1] = line[:at] + bytes([other]) + line[at + 1 :]
    found = verified(changed)[1]
    assert found
    assert found[0].place == str(number - 1)
    assert found[0].what in ("changed", "unreadable")


@given(st.integers(2, COUNT), st.integers(1, 3))
def test_a_line_that_was_removed_is_named(number: int, count: int) -> None:
    rest = [*CLOSED[: number - 1], *CLOSED[number - 1 + count :]]
    if number + count > COUNT:
        rest = [*LINES[: number - 1], CLOSED[-1]]
        found = first(rest)
        assert found is not None
        assert (found.what, found.number, found.place) == ("cut", COUNT, str(number - 1))
        assert f"the last one is number {number - 1}" in found.message
        return
    found = first(rest)
    assert found is not None
    assert (found.what, found.number, found.place) == ("removed", number, f"before {number - 1}")


@given(st.tuples(numbers, numbers).filter(lambda pair: pair[0] < pair[1]))
@example((1, 2))
@example((1, COUNT))
@example((COUNT - 1, COUNT))
def test_two_lines_that_were_swapped_are_named(pair: tuple[int, int]) -> None:
    low, high = pair
    swapped = [*CLOSED]
    swapped[low - 1], swapped[high - 1] = LINES[high - 1], LINES[low - 1]
    found = first(swapped)
    assert found is not None
    assert found.what == "reordered"
    assert low <= found.number <= high


@given(st.integers(1, COUNT - 1), st.integers(1, COUNT))
def test_a_line_said_again_with_other_bytes_is_named(upto: int, number: int) -> None:
    number = min(number, upto)
    again = LINES[number - 1].replace(b'"missing"', b'"Missing"')
    found = first([*LINES[:upto], again, *CLOSED[upto:]])
    assert found is not None
    what = "begun again" if number == 1 < upto else "changed"
    assert (found.what, found.number, found.place) == (what, number, str(upto))


def test_of_two_words_on_the_last_line_the_next_one_knows_the_right_one() -> None:
    wrong = LINES[4].replace(b'"missing"', b'"Missing"')
    found = first([*LINES[:4], wrong, *LINES[2:5], *CLOSED[5:]])
    assert found is not None
    assert (found.what, found.number, found.place) == ("changed", 5, "4")
    found = first([*LINES[:5], *LINES[2:4], wrong, *CLOSED[5:]])
    assert found is not None
    assert (found.what, found.number, found.place) == ("changed", 5, "7")
    found = first([*LINES[:8], wrong, *LINES[5:]])
    assert found is not None
    assert (found.what, found.number, found.place) == ("changed", 5, "8")
    last = LINES[8].replace(b'"missing"', b'"Missing"')
    found = first([*LINES[:8], last, *CLOSED[7:]])
    assert found is not None
    assert (found.what, found.number, found.place) == ("changed", 9, "8")


def test_a_chain_that_begins_again_is_no_repeat() -> None:
    other = [line.replace(b"plc", b"opc") for line in journal(1)]
    found = first([*LINES, *other])
    assert found is not None
    assert (found.what, found.number, found.place) == ("begun again", 1, str(COUNT))


def test_a_changed_number_does_not_pass_for_a_hole() -> None:
    for number, other in ((5, 3), (5, 8), (5, 4_000_000_000)):
        changed = [*CLOSED]
        old, new = f'"number":{number}'.encode(), f'"number":{other}'.encode()
        changed[number - 1] = LINES[number - 1].replace(old, new)
        found = first(changed)
        assert found is not None
        assert (found.what, found.place) == ("changed", str(number - 1))


def test_units_are_chained_apart() -> None:
    other = journal(COUNT, "row-b")
    mixed = [line for pair in zip(LINES, other, strict=True) for line in pair]
    assert not verified(mixed)[1]
    del mixed[9]
    [found] = verified(mixed)[1]
    assert (found.unit, found.what, found.number) == ("row-b", "removed", 5)


def test_a_line_without_a_number_is_of_before_the_chain() -> None:
    said = orjson.loads(LINES[0])
    said["body"] |= {"number": 0, "previous": ""}
    found = first([orjson.dumps(said, option=orjson.OPT_SORT_KEYS)])
    assert found is not None
    assert "before the journal was chained" in found.message


def test_what_is_filed_under_another_unit_can_not_be_read_as_its_line() -> None:
    verifier, _ = verified(LINES)
    assert verifier.take(journal(1)[0], "x", "row-b") is None
    assert [one.what for one in verifier.finish({})] == ["unreadable"]
