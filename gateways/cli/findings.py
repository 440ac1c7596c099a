"""How a finding looks in a terminal: position, what is wrong, the line with a caret, what was meant."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

from rules.findings import Finding


def print_findings(findings: Iterable[Finding], file: TextIO | None = None) -> None:
    """Print each finding; the source line and caret where the finding carries them."""
    out = file or sys.stderr
    for finding in findings:
        print(finding, file=out)
        if finding.source_line:
            print(f"    {finding.source_line}", file=out)
            print(f"    {' ' * max(0, finding.column - 1)}^", file=out)
