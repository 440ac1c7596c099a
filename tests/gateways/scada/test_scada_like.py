"""LIKE against a plain twin that tries every way, on short texts; and what it costs on long ones."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateways.scada import like as module
from gateways.scada.like import PATTERN_MAX, Pattern, like

SET = re.compile(r"\[((?:\\.|[^\]\\])*)\]", re.DOTALL)


def members(inside: str) -> set[str]:
    """Letters of a set without `^`, of those that the tests use."""
    found, letters = set[str](), re.findall(r"\\?.", inside, re.DOTALL)
    while letters:
        length = 3 if len(letters) > 2 and letters[1] == "-" else 1
        low, high = letters[0][-1], letters[length - 1][-1]
        found |= {one for one in ALPHABET if low <= one <= high}
        letters = letters[length:]
    return found


def twin(text: str, pattern: str) -> bool:
    if not pattern:
        return not text
    first, rest = pattern[0], pattern[1:]
    if first == "%":
        return twin(text, rest) or (bool(text) and twin(text[1:], pattern))
    if first == "[" and (found := SET.match(pattern)):
        inside, rest = found[1], pattern[found.end() :]
        takes = set(ALPHABET) - members(inside[1:]) if inside.startswith("^") else members(inside)
    elif first == "\\" and rest:
        takes, rest = {rest[0]}, rest[1:]
    else:
        takes = set(ALPHABET) if first == "_" else {first}
    return text[:1] in takes and twin(text[1:], rest)


ALPHABET = "abc%_[]^-\\\n"


@settings(max_examples=1500, deadline=None)
@given(st.text(ALPHABET, max_size=7), st.text(ALPHABET, max_size=8))
@example("a]", "[]a]")
@example("]", "[\\]]")
@example("b", "[a-c]")
@example("-", "[a-]")
@example("^", "[a^]")
@example("b", "[c-a]")
@example("a", "[^]")
@example("[a", "[a")
@example("\\", "\\")
def test_it_says_what_a_plain_twin_says(text: str, pattern: str) -> None:
    assert Pattern(pattern).matches(text) is twin(text, pattern)


@pytest.mark.parametrize(
    ("pattern", "fits", "not_fits"),
    [
        ("Th[ia][ts]%", ("This is", "That", "Thas"), ("Then", "thiss")),
        ("%en%", ("entail", "green", "content"), ("ne",)),
        ("abc[13-68]", ("abc1", "abc3", "abc4", "abc5", "abc6", "abc8"), ("abc2", "abc7", "abc-")),
        ("ABC[^13-5]", ("ABC2", "ABC6"), ("ABC1", "ABC3", "ABC4", "ABC5")),
        ("100\\%", ("100%",), ("100 %", "1000")),
    ],
)
def test_the_examples_of_the_standard(pattern: str, fits: tuple[str, ...], not_fits: tuple[str, ...]) -> None:
    assert all(like(text, pattern) for text in fits)
    assert not any(like(text, pattern) for text in not_fits)


def test_what_is_no_text_is_null_and_so_is_a_pattern_without_end() -> None:
    assert like(5, "%") is None
    assert like("a", 5) is None
    assert like("a" * PATTERN_MAX, "a" * PATTERN_MAX) is True
    assert like("a", "%" * (PATTERN_MAX + 1)) is None


def test_it_looks_at_each_letter_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A regular expression took four times as long for each `%_`."""
    looks = 0
    takes = module.Pattern._takes

    def counted(pattern: Pattern, letter: str) -> int:
        nonlocal looks
        looks += 1
        return takes(pattern, letter)

    monkeypatch.setattr(module.Pattern, "_takes", counted)
    assert like("R01-T02 supply temperature is 45.2 degC" * 100, "%_" * 200 + "#") is False
    assert looks <= 40
