"""Moments of a recording as people say them, for `--from` and `--to`, as event time in ns.

A time (ISO 8601, UTC where no zone is said), how long after the recording's first tick (`90`, `90s`, `1.5h`), or the id
of an alarm: `--from` is then some seconds before it was raised, `--to` when it cleared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from gateways.cli.durations import seconds_of
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.recording.recording import Recording
from streams.recording.ticks import begin_of_log_ns
from streams.replay.start import AlarmSpan, alarm_span
from streams.times import time_ns_of

BEFORE_ALARM_NS: Final = 10_000_000_000
"""How long before an alarm was raised one begins: the delay of most rules, and what led to it."""
_BARE = re.compile(r"\d+(\.\d+)?")
_FORMS = (
    "write a time as 2026-01-01T10:00:00Z, from the beginning as 90, 90s or 1.5h, or as the id of an alarm"
)


def begin_ns(recordings: Sequence[Recording], text: str | None) -> int:
    """What `--from` means, 0 for None. Raises ConfigurationError for what can't be read or isn't there."""
    if text is None:
        return 0
    found = _moment(recordings, text, "--from")
    return found if isinstance(found, int) else found.raised_ns - BEFORE_ALARM_NS


def end_ns(recordings: Sequence[Recording], text: str | None) -> int | None:
    """What `--to` means; None for the end. Raises ConfigurationError for what can't be read or isn't there."""
    if text is None:
        return None
    found = _moment(recordings, text, "--to")
    return found if isinstance(found, int) else found.cleared_ns


def _moment(recordings: Sequence[Recording], text: str, option: str) -> int | AlarmSpan:
    seconds = _seconds(text)
    if seconds is not None:
        first_ns = begin_of_log_ns(recordings)
        if first_ns is None:
            raise ConfigurationError([Finding(option, 0, 0, "the recording has no ticks to count from", "")])
        return first_ns + int(seconds * 1e9)
    try:
        return time_ns_of(text)
    except ValueError:
        span = alarm_span(recordings, text)
    if span is None:
        message = f"{text!r} is no time, and no alarm has this id"
        raise ConfigurationError([Finding(option, 0, 0, message, _FORMS)])
    return span


def _seconds(text: str) -> float | None:
    """Seconds from the beginning, None where the text is no duration."""
    if _BARE.fullmatch(text):
        return float(text)
    try:
        return seconds_of(text, "")
    except ConfigurationError:
        return None
