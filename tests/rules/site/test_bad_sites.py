"""Every wrong site file under bad/ gives exactly the findings that its closing `#!` lines name, in that order."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules.site.parse import parse_site

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))
WARNINGS_ONLY = {"source-without-points", "template-unused"}


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_findings_are_exactly_those_expected(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    expected = [line.removeprefix("#! ") for line in text.splitlines() if line.startswith("#! ")]
    site, findings = parse_site(text, path.name)
    assert [str(finding).removeprefix(f"{path.name}:") for finding in findings] == expected
    assert expected
    assert (site is not None) == (path.stem in WARNINGS_ONLY)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_findings_carry_the_line_that_they_are_about(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for finding in parse_site(text, path.name)[1]:
        assert finding.source_line == text.splitlines()[finding.line - 1]
        assert 1 <= finding.column <= len(finding.source_line) + 1


def test_there_are_enough_of_them() -> None:
    assert len(BAD) >= 70
