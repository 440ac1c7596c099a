"""Every wrong site file under bad/ gives exactly the findings that its closing `#!` lines name, in that order."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from rules.findings import Finding
from rules.site.model import Site
from rules.site.parse import parse_site

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))
WARNINGS_ONLY = {"source-without-points", "template-unused", "watchdog-for-nothing"}


@cache
def parsed(path: Path) -> tuple[Site | None, list[Finding]]:
    return parse_site(path.read_text(encoding="utf-8"), path.name)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_findings_are_exactly_those_expected(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    expected = [line.removeprefix("#! ") for line in text.splitlines() if line.startswith("#! ")]
    site, findings = parsed(path)
    assert [str(finding).removeprefix(f"{path.name}:") for finding in findings] == expected
    assert expected
    assert (site is not None) == (path.stem in WARNINGS_ONLY)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_findings_carry_the_line_that_they_are_about(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for finding in parsed(path)[1]:
        assert finding.source_line == text.splitlines()[finding.line - 1]
        assert 1 <= finding.column <= len(finding.source_line) + 1


def test_there_are_enough_of_them() -> None:
    assert len(BAD) >= 70
