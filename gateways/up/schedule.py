"""`WHAT@TIME` words of the command line: what to do to the running system, and when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateways.cli.durations import seconds_of
from gateways.roles import ROLES
from gateways.sim.faults import Fault
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
            hint = nearest(role, ROLES) or f"one of: {', '.join(ROLES)}"
            findings.append(Finding("--kill", 0, 0, f"unknown role '{role}'", hint))
        else:
            kills.append(Kill(seconds_of(when, "--kill"), role))
    if findings:
        raise ConfigurationError(findings)
    return sorted(kills)


def check_reached(faults: Iterable[Fault], kills: Iterable[Kill], watched_s: float) -> None:
    """Nothing may be asked for that comes after the end. ConfigurationError names all that does."""
    late = [("--fault", str(fault), fault.at_s) for fault in faults if fault.at_s >= watched_s]
    late += [("--kill", f"{kill.role}@{kill.at_s:g}s", kill.at_s) for kill in kills if kill.at_s >= watched_s]
    if late:
        hint = f"--for ends the run after {watched_s:g} s"
        raise ConfigurationError(
            [Finding(where, 0, 0, f"{what} is never reached", hint) for where, what, _ in late]
        )
