"""How a finding looks in a terminal: position, what is wrong, the line with a caret, what was meant."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final, TextIO

from gateways.printable import printable
from rules.findings import Finding

LINE_MAX: Final = 120
"""Characters of a line that are shown; of a longer one those around the caret."""
_CUT: Final = "…"


def print_findings(findings: Iterable[Finding], file: TextIO | None = None) -> None:
    """Print each finding; the source line and caret where the finding carries them."""
    out = file or sys.stderr
    for finding in findings:
        print(printable(str(finding)), file=out)
        if finding.source_line:
            before = printable(finding.source_line[: max(0, finding.column - 1)])
            line, at = around(printable(finding.source_line), len(before))
            print(f"    {line}", file=out)
            print(f"    {' ' * at}^", file=out)


def around(line: str, at: int) -> tuple[str, int]:
    """What is shown of a line, and where its character `at` is in that."""
    if len(line) <= LINE_MAX:
        return line, at
    first = min(max(0, at - LINE_MAX // 2), max(0, len(line) - LINE_MAX))
    shown = line[first : first + LINE_MAX]
    if first > 0:
        shown = _CUT + shown[1:]
    if first + LINE_MAX < len(line):
        shown = shown[:-1] + _CUT
    return shown, at - first
