"""`WHAT@TIME` words of the command line: what to do to the running system, and when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateways.cli.durations import seconds_of
from gateways.cli.run_role import ROLES
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest


@dataclass(frozen=True, slots=True, order=True)
class Kill:
    """kill -9 `role` at `at_s` after the start."""

    at_s: float
    role: str


def parse_kills(words: Iterable[str]) -> list[Kill]:
    """`worker@15s`, in order of time. ConfigurationError names every word that is wrong."""
    kills, findings = [], []
    for word in words:
        role, at, when = word.partition("@")
        if not at:
            findings.append(Finding("--kill", 0, 0, f"{word!r} has no time", "write for example worker@15s"))
        elif role not in ROLES:
            findings.append(Finding("--kill", 0, 0, f"unknown role '{role}'", nearest(role, ROLES)))
        else:
            kills.append(Kill(seconds_of(when, "--kill"), role))
    if findings:
        raise ConfigurationError(findings)
    return sorted(kills)
