from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.table import Table

from gateways.cli.tables import console, table_lines

HEADS = ("raised", "rule", "message")
ROWS = [
    ("2026-01-01T00:00:12.000", "pump-slow", "P-1: the pump turns more slowly than it was told to"),
    ("2026-01-01T00:01:00.000", "source-gap-of-a-source", ""),
]


def test_without_a_limit_a_row_is_a_line() -> None:
    assert list(table_lines(HEADS, ROWS, None)) == [
        "raised                   rule                    message",
        "2026-01-01T00:00:12.000  pump-slow               P-1: the pump turns more slowly than it was told to",
        "2026-01-01T00:01:00.000  source-gap-of-a-source",
    ]


def test_the_text_folds_beside_the_names() -> None:
    lines = list(table_lines(HEADS, ROWS, 80))
    assert lines[1] == "2026-01-01T00:00:12.000  pump-slow               P-1: the pump turns more slowly"
    assert lines[2] == " " * 49 + "than it was told to"


def test_where_nothing_fits_the_text_stands_below() -> None:
    lines = list(table_lines(HEADS, ROWS, 60))
    assert lines[1] == "2026-01-01T00:00:12.000  pump-slow"
    assert lines[2] == "    P-1: the pump turns more slowly than it was told to"


@pytest.mark.parametrize("width", [1, 20, 40, 60, 68, 69, 80, 100, 101, 200, None])
def test_no_name_is_ever_cut(width: int | None) -> None:
    lines = list(table_lines(HEADS, ROWS, width))
    for time, rule, text in ROWS:
        assert any(time in line and rule in line for line in lines)
        assert all(any(word in line for line in lines) for word in text.split())


def test_no_console_takes_what_others_have_written_for_markup() -> None:
    """Bars and counts on stderr have words of our own alone."""
    calls = [
        (file.name, call)
        for file in (Path(__file__).parents[3] / "gateways").rglob("*.py")
        for call in re.findall(r"\bConsole\(.*?\)", file.read_text())
    ]
    assert len(calls) > 2
    assert [one for one in calls if "stderr=True" not in one[1] and "markup=False" not in one[1]] == []


def test_heads_alone() -> None:
    assert list(table_lines(HEADS, [], 80)) == ["raised  rule  message"]


@pytest.mark.parametrize("width", [40, 80, None])
def test_a_cell_is_text_whatever_it_says(width: int | None) -> None:
    lines = list(table_lines(("rule", "message"), [("\x1b[1A", "seen\n\x1b[2Jby \x9bme")], width))
    assert lines[1] == r"\x1b[1A  seen\n\x1b[2Jby \x9bme"


def test_what_stands_in_brackets_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("pressure [bar]")
    table.add_row("[/] [red]x")
    console().print("pressure [bar] [/]")
    console().print(table)
    out = capsys.readouterr().out
    assert out.count("pressure [bar]") == 2
    assert "[/] [red]x" in out
