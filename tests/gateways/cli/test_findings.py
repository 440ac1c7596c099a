"""A finding in a terminal: its line, short enough to be read, and a caret below the right character."""

from __future__ import annotations

import io

import pytest

from gateways.cli.findings import LINE_MAX, print_findings
from rules.findings import Finding


def printed(line: str, column: int) -> list[str]:
    out = io.StringIO()
    print_findings([Finding("a.yaml", 3, column, "wrong", source_line=line)], out)
    return out.getvalue().splitlines()


def test_a_short_line_is_shown_as_it_is() -> None:
    assert printed("when: x", 7) == ["a.yaml:3:7: error: wrong", "    when: x", "          ^"]


@pytest.mark.parametrize("at", [0, 5, 59, 60, 61, 5000, 9939, 9940, 9998])
def test_of_a_long_line_what_is_around_the_caret(at: int) -> None:
    line = "x" * at + "!" + "x" * (9998 - at)
    head, shown, caret = printed(line, at + 1)
    assert head == f"a.yaml:3:{at + 1}: error: wrong"
    assert len(shown.strip()) == LINE_MAX
    assert shown[caret.index("^")] == "!"
    assert (shown.strip()[0] == "…") == (at > LINE_MAX // 2)
    assert (shown.strip()[-1] == "…") == (at < 9999 - LINE_MAX // 2)


def test_behind_the_end_of_a_long_line() -> None:
    _, shown, caret = printed("x" * 10_000, 10_001)
    assert len(caret) == len(shown) + 1


def test_a_file_of_others_does_nothing_to_the_terminal() -> None:
    out = io.StringIO()
    finding = Finding("a.yaml", 3, 11, "'\x1b[2J' is no key", "x\n: y", source_line="\tx \x1b[2J\x9b: !")
    print_findings([finding], out)
    head, line, caret = out.getvalue().splitlines()
    assert head == r"a.yaml:3:11: error: '\x1b[2J' is no key (x\n: y)"
    assert line == r"    \tx \x1b[2J\x9b: !"
    assert line[caret.index("^")] == "!"
