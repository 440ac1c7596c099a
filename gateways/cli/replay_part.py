"""`headrace replay --from --to --unit`: moments as people say them, as event time."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

from gateways.cli.durations import seconds_of
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from streams.recording import Recording
from streams.replay_start import Part, alarm_raised_ns, first_tick_ns

BEFORE_ALARM_NS: Final = 10_000_000_000
"""How long before an alarm was raised one begins: the delay of most rules, and what led to it."""
_BARE = re.compile(r"\d+(\.\d+)?")
_FORMS = (
    "write a time as 2026-01-01T10:00:00Z, from the beginning as 90, 90s or 1.5h, or as the id of an alarm"
)


def part_of(
    recordings: Sequence[Recording],
    begin: str | None,
    end: str | None,
    units: Collection[str],
    known_units: Collection[str],
) -> Part:
    """What the options mean. Raises ConfigurationError for what can't be read or isn't there."""
    wrong = [unit for unit in units if unit not in known_units]
    if wrong:
        raise ConfigurationError(
            [
                Finding("--unit", 0, 0, f"the site has no unit '{unit}'", nearest(unit, known_units))
                for unit in wrong
            ]
        )
    from_ns = 0 if begin is None else _moment_ns(recordings, begin, "--from", BEFORE_ALARM_NS)
    to_ns = None if end is None else _moment_ns(recordings, end, "--to", 0)
    if to_ns is not None and to_ns <= from_ns:
        raise ConfigurationError([Finding("--to", 0, 0, "the end is not after the beginning", "")])
    return Part(from_ns, to_ns, tuple(units) or None)


def _moment_ns(recordings: Sequence[Recording], text: str, option: str, before_alarm_ns: int) -> int:
    seconds = _seconds(text)
    if seconds is not None:
        first_ns = next((ns for ns in map(first_tick_ns, recordings) if ns is not None), None)
        if first_ns is None:
            raise ConfigurationError([Finding(option, 0, 0, "the recording has no ticks to count from", "")])
        return first_ns + int(seconds * 1e9)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        found = (alarm_raised_ns(recording, text) for recording in recordings)
        raised_ns = next((ns for ns in found if ns is not None), None)
        if raised_ns is None:
            raise ConfigurationError(
                [Finding(option, 0, 0, f"{text!r} is no time, and no alarm has this id", _FORMS)]
            ) from None
        return raised_ns - before_alarm_ns
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def _seconds(text: str) -> float | None:
    """Seconds from the beginning, None where the text is no duration."""
    if _BARE.fullmatch(text):
        return float(text)
    try:
        return seconds_of(text, "")
    except ConfigurationError:
        return None
