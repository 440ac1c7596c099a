"""Comparisons made by hand."""

from __future__ import annotations

from collections.abc import Sequence

from rules.engine.outputs import Command
from rules.language.sheets import Sheet
from streams.compare.comparison import Comparison, Side, compare
from streams.compare.episodes import Episode, Said
from streams.compare.incidents import KnownIncident
from streams.times import time_ns_of

S = 1_000_000_000
T0 = time_ns_of("2026-01-01T00:00:00Z")


def episode(
    raised_s: float, cleared_s: float | None, rule: str = "hot", asset: str = "P-1", message: str = "m"
) -> Episode:
    cleared_ns = None if cleared_s is None else T0 + int(cleared_s * S)
    raised_ns = T0 + int(raised_s * S)
    return Episode(f"{rule}:{asset}:{raised_s}", "row-a", rule, asset, "high", message, raised_ns, cleared_ns)


def command(at_s: float, value: float = 50.0, actuator: str = "P-1.PumpSpeed") -> Command:
    at_ns = T0 + int(at_s * S)
    return Command(f"{actuator}:{at_s}", "row-a", "hot", "P-1", actuator, value, "%", at_ns, at_ns + S, "")


def sheet(rule: str, when: str) -> Sheet:
    return Sheet(rule, "a.yaml", 1, "Pump", 2, "high", {"when": when}, "m", "", "", ())


def comparison(
    before: Sequence[Episode],
    after: Sequence[Episode],
    commands: tuple[Sequence[Command], Sequence[Command]] = ((), ()),
    sheets: tuple[Sequence[Sheet], Sequence[Sheet]] = ((), ()),
    incidents: Sequence[KnownIncident] = (),
    names: tuple[str, str] = ("recorded", "candidate"),
    seconds: float = 3600,
) -> Comparison:
    """Of an hour."""
    end_ns = T0 + int(seconds * S)
    sides = [
        Side(
            name,
            Said(tuple(sorted(said, key=lambda one: one.raised_ns)), tuple(given)),
            {one.rule: one for one in of},
            {"row-a": end_ns},
            is_recorded=name == "recorded",
        )
        for name, said, given, of in zip(names, (before, after), commands, sheets, strict=True)
    ]
    return compare(sides[0], sides[1], [(T0, end_ns)], incidents)
