"""Values of `subscriptions.yaml`: names, times of the day, zones, durations; what is wrong is reported at its place."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final
from zoneinfo import ZoneInfo

from gateways.alerts.model import Hours
from rules.findings import nearest
from rules.strict_yaml import DURATION_NS, Node

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)")
_S: Final = DURATION_NS["s"]


def names_of(node: Node | None, known: Iterable[str] | None, what: str) -> tuple[str, ...]:
    """Names and patterns; where those that there are (`known`) are known, each has to fit one of them."""
    names, known = [], None if known is None else tuple(known)
    for one in () if node is None else node.as_list_or_one():
        name = one.as_text()
        if name is None:
            continue
        if known is not None and not any(fnmatchcase(has, name) for has in known):
            one.report(f"no {what} is called '{name}'", nearest(name, known) or f"one of: {', '.join(known)}")
        names.append(name)
    return tuple(names)


def choices_of(node: Node | None, choices: Iterable[str], what: str) -> tuple[str, ...]:
    """Some of these, one or a list."""
    found = () if node is None else node.as_list_or_one()
    return tuple(choice for one in found if (choice := one.as_choice(choices, what)))


def hours_of(node: Node) -> Hours | None:
    """`{from: "22:00", to: "06:00", days: [fri]}`; None after a finding."""
    fields = node.fields(("from", "to", "days"), ("from", "to"))
    begin, end = (_minutes(fields.get(key)) for key in ("from", "to"))
    if begin is None or end is None:
        return None
    days = frozenset(DAYS.index(day) for day in choices_of(fields.get("days"), DAYS, "day"))
    return Hours(begin, end, days or frozenset(range(7)))


def _minutes(node: Node | None) -> int | None:
    text = None if node is None else node.as_text()
    match = None if text is None else _CLOCK.fullmatch(text)
    minutes = 9999 if match is None else int(match[1]) * 60 + int(match[2])
    if node is not None and text is not None and minutes > 24 * 60:
        node.report(f"'{text}' is no time of the day", "such as '06:30', up to '24:00'")
    return minutes if minutes <= 24 * 60 else None


def zone_of(node: Node) -> ZoneInfo:
    """A time zone; UTC after a finding."""
    name = node.as_text() or "UTC"
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        from zoneinfo import available_timezones

        node.report(
            f"no time zone is called '{name}'", nearest(name, available_timezones()) or "such as Europe/Oslo"
        )
        return ZoneInfo("UTC")


def duration_of(node: Node | None, default_s: float, high_s: float) -> int:
    """In ns; 0 after a finding."""
    if node is None:
        return round(default_s * _S)
    return node.as_duration_ns(1, round(high_s * _S)) or 0


def seconds_of(node: Node | None, default_s: float, low_s: float, high_s: float) -> float:
    """A duration in s."""
    if node is None:
        return default_s
    return (node.as_duration_ns(round(low_s * _S), round(high_s * _S)) or default_s * _S) / _S


def integer_of(node: Node | None, default: int, low: int, high: int) -> int:
    """A whole number."""
    value = None if node is None else node.as_integer(low, high)
    return default if value is None else value
