"""Options of roles (`headrace run ROLE --option KEY=VALUE`): which a role does not have."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rules.findings import Finding, nearest


def unknown_options(role: str, given: Iterable[str], known: Collection[str]) -> list[Finding]:
    """A finding for each option that a role does not have. `endpoint.SOURCE` are the command line's own."""
    return [
        Finding("--option", 0, 0, f"the role {role} has no option '{name}'", nearest(name, known))
        for name in given
        if name not in known and not name.startswith("endpoint.")
    ]
