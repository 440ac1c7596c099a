"""Which transitions of which alarms a subscription is told of. Pure: no clock, no I/O.

Rules: an occurrence is heard by `is_annunciated` and nothing else; what comes of it (acknowledged, over, reset) is
told where the occurrence was heard; what changes no state (a comment, a value that is not known any more) is no
transition; the silent states are told where they are asked for by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from gateways.alerts.hours import covers
from gateways.alerts.model import Filter, Subscription
from rules.alarms.annunciation import SILENT, is_annunciated
from rules.alarms.life_cycle import NEEDS_ACKNOWLEDGEMENT, State
from rules.engine.outputs import Alarm

_KNOWN_MAX: Final = 65_536
"""Alarms of which it is remembered who wants to hear of them."""


class Transition(NamedTuple):
    """An alarm's word, and what has to be known of what was before it.

    `is_heard`: its occurrence was annunciated, by this word or before. `is_change`: it is another state than before,
    or another occurrence.
    """

    alarm: Alarm
    is_heard: bool
    is_change: bool


class Last(NamedTuple):
    """The last word on an alarm, and whether its occurrence was heard."""

    alarm: Alarm
    is_heard: bool


def transition(last: Last | None, word: Alarm) -> Transition:
    """What a word is, seen from the one before it."""
    before = None if last is None else last.alarm
    is_same = last is not None and last.alarm.raised_id == word.raised_id
    is_heard = is_annunciated(before, word) or (last is not None and last.is_heard and is_same)
    is_change = before is None or not is_same or before.state != word.state
    return Transition(word, is_heard, is_change)


def standing(word: Alarm) -> Transition:
    """What an alarm is that stood before anybody watched it: told where it still needs an acknowledgement."""
    is_heard = word.state not in SILENT and word.raised_id != ""
    return Transition(word, is_heard, needs_acknowledgement(word))


def needs_acknowledgement(word: Alarm) -> bool:
    """Whether somebody has yet to say that they have seen it."""
    return word.state in NEEDS_ACKNOWLEDGEMENT


def is_told(filter_: Filter, one: Transition, zone: ZoneInfo) -> bool:
    """Whether a subscription that wants to hear of the alarm is told of this."""
    word = one.alarm
    if not one.is_change or word.state not in filter_.states:
        return False
    if word.state not in SILENT and not one.is_heard:
        return False
    return filter_.hours is None or covers(filter_.hours, word.at_ns, zone)


def is_firing(word: Alarm) -> bool:
    """Whether it stands for a system that knows only firing and resolved: heard, and its condition holds or latches."""
    return word.state not in SILENT and word.state not in (State.NORMAL, State.RETURNED_UNACKNOWLEDGED)


class Directory:
    """Who wants to hear of an alarm, whatever its state.

    `type_of`: the type of an asset, '' of what is none (the source of a gap). `group_of`: the group of an alarm, by its
    rule and asset, '' for none.
    """

    def __init__(
        self,
        subscriptions: Iterable[Subscription],
        type_of: Callable[[str], str],
        group_of: Callable[[str, str], str],
    ) -> None:
        self._wanted = [
            (
                one,
                frozenset(one.filter.severities),
                _matcher(one.filter.units),
                _matcher(one.filter.types),
                _matcher(one.filter.rules),
                _matcher(one.filter.groups),
                _matcher(one.filter.assets),
            )
            for one in subscriptions
        ]
        self._type_of = type_of
        self._group_of = group_of
        self._of = lru_cache(_KNOWN_MAX)(self._look)

    def of(self, alarm: Alarm) -> Sequence[Subscription]:
        """In the order of the file."""
        return self._of(alarm.unit, alarm.rule, alarm.asset, alarm.severity)

    def _look(self, unit: str, rule: str, asset: str, severity: str) -> Sequence[Subscription]:
        kind, group = self._type_of(asset), self._group_of(rule, asset)
        return tuple(
            one
            for one, severities, units, types, rules, groups, assets in self._wanted
            if (not severities or severity in severities)
            and units(unit)
            and types(kind)
            and rules(rule)
            and groups(group)
            and assets(asset)
        )


def _matcher(names: Sequence[str]) -> Callable[[str], bool]:
    """Whether a name is one of these, or matches one that is a pattern; without any, every name does."""
    if not names:
        return lambda _: True
    if not any(letter in name for name in names for letter in "*?["):
        return frozenset(names).__contains__
    pattern = re.compile("|".join(translate(name) for name in names))
    return lambda name: pattern.match(name) is not None
