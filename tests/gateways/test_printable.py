"""Foreign text as one line of text."""

from __future__ import annotations

import pytest

from gateways.printable import printable, printable_lines, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("åse «ok» 23 °C [/]", "åse «ok» 23 °C [/]"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[2J\x9b2J\x7f", r"\x1b[2J\x9b2J\x7f"),
        ("\u202eso far\ud800", r"\u202eso far\ud800"),
        ("", ""),
    ],
)
def test_what_is_no_character_to_be_seen_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("four", "four"), ("fives", "fiv…"), ("\x1b", r"\x1b"), ("a\x1b", r"a\x…"), ("\x1b" * 10**6, r"\x1…")],
)
def test_a_text_is_cut_as_it_is_shown(text: str, shown: str) -> None:
    assert shortened(text, 4) == shown


def test_lines_stay_lines() -> None:
    assert printable_lines("a\x1b\nb\r\n") == "a\\x1b\nb\\r\n"
