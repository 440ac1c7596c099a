"""The table of conditions: the last word on every alarm that stands, as OPC UA events.

Rules: words come from the topic `alarms`, the whole picture first. A word that came already (a worker that was killed
says it again) is no event; an alarm's words never go back in time, so what is older than the last one is a repeat. An
EventId is good as long as the occurrence is that it told of. There is a condition for every alarm that rules of the
site may have; only those that stand take memory, and for an hour of event time those that have stood.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Final

from asyncua import ua

from gateways.scada import encoding
from gateways.scada.condition_fields import Source, fields_of, unshelve_ms
from gateways.scada.event import Event, event_id
from rules.engine.outputs import Alarm

EVENT_IDS_MAX: Final = 64
"""Of one occurrence: an acknowledgement names the event that was seen, which need not be the last."""

SAID_AGAIN_NS: Final = 3_600_000_000_000
"""A worker that was killed says again what it had said since its last snapshot, seconds ago; its unit waits for it."""

Last = tuple[int, tuple[str, ...]]
"""Time of an alarm's last word, and the ids of its words of that time."""

Facts = Callable[[str, str, str], tuple[Source, frozenset[Any]]]
"""Of unit, rule and asset: what does not change of their condition, and the nodes at which it is heard."""


@dataclasses.dataclass(slots=True)
class Condition:
    """An alarm that stands. `event_ids`: of its occurrence, the last ones."""

    word: Alarm
    event: Event
    event_ids: list[bytes]
    source: Source
    last: Last


class Conditions:
    """By the key of the alarm."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._standing: dict[str, Condition] = {}
        self._over: dict[str, dict[str, Last]] = {}
        """By unit and key, of alarms that stand no more, in the order in which they were over."""

    def __len__(self) -> int:
        return len(self._standing)

    def see(self, word: Alarm, received_ns: int) -> Event | None:
        """The event that a word is; None for a repeat, and of what was normal already."""
        known, over = self._standing.get(word.key), self._over.setdefault(word.unit, {})
        at_ns, ids = over.get(word.key, (0, ())) if known is None else known.last
        if word.at_ns < at_ns or (word.at_ns == at_ns and word.id in ids):
            return None
        last = (word.at_ns, (*ids, word.id) if word.at_ns == at_ns else (word.id,))
        over.pop(word.key, None)
        if word.state == "normal":
            _remember(over, word.key, last)
        if word.state == "normal" and known is None:
            return None
        source, notifiers = self._facts(word.unit, word.rule, word.asset)
        last_severity = word.severity if known is None else known.word.severity
        fields = fields_of(word, source, last_severity, received_ns)
        event = Event(ua.NodeId(source.kind.type_id), fields, notifiers)
        if word.state == "normal":
            del self._standing[word.key]
            return event
        before = known.event_ids if known is not None and known.word.raised_id == word.raised_id else []
        event_ids = [*before[-EVENT_IDS_MAX + 1 :], event_id(word.id)]
        self._standing[word.key] = Condition(word, event, event_ids, source, last)
        return event

    def find(self, key: str) -> Condition | None:
        """One that stands."""
        return self._standing.get(key)

    def standing(self, now_ns: Callable[[], int]) -> Iterator[Event]:
        """The state of each that stands, for a refresh: as it is when its turn comes."""
        for key in list(self._standing):
            condition = self._standing.get(key)
            if condition is not None:
                yield _as_it_is(condition, now_ns)


def _remember(over: dict[str, Last], key: str, last: Last) -> None:
    """One more that is over; those of long ago are forgotten."""
    over[key] = last
    while over[first := next(iter(over))][0] < last[0] - SAID_AGAIN_NS:
        del over[first]


def _as_it_is(condition: Condition, now_ns: Callable[[], int]) -> Event:
    """The event of its last word; of one that is shelved, with the time that is left."""
    word, event = condition.word, condition.event
    if word.shelved_until_ns is None:
        return event
    left = {"ShelvingState/UnshelveTime": encoding.double(unshelve_ms(word, now_ns()))}
    return Event(event.kind, {**event.fields, **left}, event.notifiers)
