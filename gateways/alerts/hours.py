"""Times of the day in the site's time zone, at which somebody wants to hear, or wants to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from gateways.alerts.model import Hours

_DAY_MIN: Final = 24 * 60


def covers(hours: Hours, at_ns: int, zone: ZoneInfo) -> bool:
    """Whether a moment lies in them. Over midnight they belong to the day on which they began."""
    local = datetime.fromtimestamp(at_ns / 1e9, UTC).astimezone(zone)
    minute, day = local.hour * 60 + local.minute, local.weekday()
    if hours.begin_min < hours.end_min:
        return day in hours.days and hours.begin_min <= minute < hours.end_min
    if minute >= hours.begin_min:
        return day in hours.days
    return minute < hours.end_min and (day - 1) % 7 in hours.days


def end_ns(hours: Hours, at_ns: int, zone: ZoneInfo) -> int:
    """When they are over, of a moment that lies in them: their first end after it by the clock on the wall."""
    local = datetime.fromtimestamp(at_ns / 1e9, UTC).astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    while True:
        end = midnight + timedelta(minutes=hours.end_min % _DAY_MIN, days=hours.end_min // _DAY_MIN)
        # the wall clock of the zone, also where it is set forward or back in between
        moment_ns = round(end.replace(tzinfo=zone).timestamp() * 1e9)
        if moment_ns > at_ns and not covers(hours, moment_ns, zone):
            return moment_ns
        midnight += timedelta(days=1)
