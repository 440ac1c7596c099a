"""What can go wrong, and whose fault it is.

    HeadraceError
    ├── ConfigurationError     a file or a call is wrong: findings say where (exit code 2)
    ├── UnreachableError       something outside is away; trying again helps (exit code 3)
    ├── UndecodableError       a record that nobody can read: goes to dead-letters with its reason
    └── InvariantError         a promise of Headrace's own is broken: the process ends before it acknowledges

Bad plant data is none of these: it is data with a quality.
"""

from __future__ import annotations

from collections.abc import Sequence

from rules.findings import Finding


class HeadraceError(Exception):
    """Root of everything that Headrace raises on purpose."""


class ConfigurationError(HeadraceError):
    """A file or a call is wrong. `findings` holds all of them, not the first only."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings))


class UnreachableError(HeadraceError):
    """Something outside this process can't be reached; trying again may help."""


class UndecodableError(HeadraceError):
    """A record can't be decoded. `reason` is a short stable word, `detail` says more."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class InvariantError(HeadraceError):
    """A promise of the engine or worker doesn't hold: stop before acknowledging anything."""
