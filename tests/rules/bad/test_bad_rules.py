"""Every rule file in this folder gives exactly the findings that its closing `#!` lines name, in that order."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from rules.findings import Finding
from rules.language.load import load_rules
from rules.language.program import Program
from tests.rules.bad.small_site import site

BAD = sorted(Path(__file__).parent.glob("*.yaml"))


@cache
def loaded(path: Path) -> tuple[Program | None, list[Finding]]:
    return load_rules({path.name: path.read_text(encoding="utf-8")}, site())


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_findings_are_exactly_those_expected(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    expected = [line.removeprefix("#! ") for line in lines if line.startswith("#! ")]
    program, findings = loaded(path)
    assert "\n".join(str(finding) for finding in findings) == "\n".join(
        f"{path.name}:{line}" for line in expected
    )
    assert expected
    assert (program is None) == any(finding.severity == "error" for finding in findings)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_findings_carry_the_line_that_they_are_about(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for finding in loaded(path)[1]:
        assert finding.source_line == lines[finding.line - 1]
        assert 1 <= finding.column <= len(finding.source_line) + 1


def test_there_are_enough_of_them() -> None:
    assert len(BAD) >= 60
