"""Alarms and gaps as plain data for `--json`: one form, whichever command prints them. Times are ISO 8601, UTC."""

from __future__ import annotations

from gateways.printable import printable
from rules.engine.inputs import Gap
from rules.engine.outputs import Alarm
from streams.times import iso_utc


def plain_alarm(alarm: Alarm, raised: Alarm | None = None) -> dict[str, str | bool | None]:
    """One occurrence of an alarm by its last word; `id` is that of the transition that raised it.

    `raised`, the first word on it: its message is the one that tells what happened, that of a clearing is beside it.
    """
    return {
        "id": alarm.raised_id,
        "rule": alarm.rule,
        "unit": alarm.unit,
        "asset": alarm.asset,
        "severity": alarm.severity,
        "state": alarm.state,
        "raised_at": iso_utc(alarm.raised_ns) if alarm.raised_id else None,
        "cleared_at": _iso(alarm.cleared_ns),
        "unknown_since": _iso(alarm.unknown_ns),
        "acknowledged_at": _iso(alarm.acknowledged_ns),
        "confirmed_at": _iso(alarm.confirmed_ns),
        "shelved_until": _iso(alarm.shelved_until_ns),
        "one_shot": alarm.one_shot,
        "out_of_service_until": _iso(alarm.out_of_service_until_ns),
        "suppressed_by": alarm.suppressed_by or None,
        "first_up": alarm.first_up or None,
        "by": alarm.by or None,
        "comment": alarm.comment or None,
        "message": (raised or alarm).message,
        "cleared_message": None if alarm.cleared_ns is None else alarm.message,
    }


def _iso(time_ns: int | None) -> str | None:
    return None if time_ns is None else iso_utc(time_ns)


def told(alarm: Alarm) -> str:
    """One line: its message, whether it came first, what explains it, since when nobody knows whether it holds, until
    when it is not heard, and who says what.
    """
    more = [
        f"{words} {iso_utc(time_ns)[11:19]}"
        for words, time_ns in (
            ("unknown since", alarm.unknown_ns),
            ("shelved until", alarm.shelved_until_ns),
            ("out of service until", alarm.out_of_service_until_ns),
        )
        if time_ns is not None
    ]
    first = [{"first": "first up", "possibly": "possibly first up"}[alarm.first_up]] if alarm.first_up else []
    explained = [f"by {alarm.suppressed_by}"] if alarm.suppressed_by else []
    more = [*first, *explained, *more]
    by = [f"{alarm.by}: {alarm.comment}" if alarm.comment else alarm.by] if alarm.by else []
    return printable(f"{alarm.message} ({'; '.join([*more, *by])})" if more or by else alarm.message)


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
