"""Alarms and gaps as plain data for `--json`: one form, whichever command prints them. Times are ISO 8601, UTC."""

from __future__ import annotations

from rules.engine.inputs import Gap
from rules.engine.outputs import Alarm
from streams.times import iso_utc


def plain_alarm(alarm: Alarm, raised: Alarm | None = None) -> dict[str, str | None]:
    """One occurrence of an alarm by its last word; `id` is that of the transition that raised it.

    `raised`, the first word on it: its message is the one that tells what happened, that of a clearing is beside it.
    """
    return {
        "id": alarm.raised_id,
        "rule": alarm.rule,
        "unit": alarm.unit,
        "asset": alarm.asset,
        "severity": alarm.severity,
        "raised_at": iso_utc(alarm.raised_ns),
        "cleared_at": None if alarm.cleared_ns is None else iso_utc(alarm.cleared_ns),
        "unknown_since": None if alarm.unknown_ns is None else iso_utc(alarm.unknown_ns),
        "message": (raised or alarm).message,
        "cleared_message": None if alarm.cleared_ns is None else alarm.message,
    }


def told(alarm: Alarm) -> str:
    """Its message, and since when nobody knows whether it still holds."""
    if alarm.unknown_ns is None:
        return alarm.message
    return f"{alarm.message} (unknown since {iso_utc(alarm.unknown_ns)[11:19]})"


def plain_gap(gap: Gap) -> dict[str, str | int | None]:
    """What a source could not deliver, in its own words; `readings` None for a restart: nobody was there to count."""
    return {
        "source": gap.identity.source,
        "unit": gap.unit,
        "reason": gap.reason,
        "from": iso_utc(gap.from_ns),
        "to": iso_utc(gap.to_ns),
        "readings": None if gap.reason == "restart" else gap.readings,
    }
