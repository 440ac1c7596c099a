"""From the words of the log to notifications in the outbox: who is told, when, and what goes together.

Rules that this module obeys:
- A read of the log is one transaction: its words, what is held, what goes out, and where to go on.
- A word that was here before is passed by, wherever it comes from; one older than the outbox remembers is, too, unless
  nobody has acknowledged it yet.
- On the first start the log is history: of it only what still needs an acknowledgement is told.
- What a replay says is nobody's alarm, and what a worker says that has lost the unit is nobody's word (`last_words`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from gateways.alerts.filters import (
    Directory,
    Last,
    Transition,
    is_told,
    needs_acknowledgement,
    standing,
    transition,
)
from gateways.alerts.grouping import Batch, Grouper, Item, places
from gateways.alerts.log_state import KEEP_NS, Position, digest
from gateways.alerts.model import Subscription, Subscriptions
from gateways.alerts.notification import Link, Notification, folded, of_batch
from gateways.alerts.outbox import Outbox
from rules.alarms.life_cycle import State
from rules.engine.outputs import Alarm
from rules.errors import UndecodableError
from rules.site.model import Site
from streams.last_words import LastWords
from streams.record import Record
from streams.replay_mark import is_replayed
from streams.wire import decode_output

log = logging.getLogger(__name__)

Clock = Callable[[], int]
COUNTERS: Final = (
    "words",
    "repeats",
    "too_old",
    "replayed",
    "stale_words",
    "unreadable",
    "notifications",
    "folded",
    "escalated",
    "orphaned",
)


class Sent(NamedTuple):
    """A notification that is on its way now."""

    seq: int
    lane: str
    channel: str


class Intake:
    """Takes records of `alarms`, and the time as it goes. `metrics` counts what it does."""

    def __init__(
        self,
        site: Site,
        subscriptions: Subscriptions,
        outbox: Outbox,
        clock: Clock,
        metrics: dict[str, Any],
        link: Link = lambda _alarm, _subscription: "",
    ) -> None:
        self._site = site
        self._subscriptions = subscriptions
        self._outbox = outbox
        self._clock = clock
        self._metrics = metrics
        self._link = link
        metrics.update(dict.fromkeys(COUNTERS, 0))
        self._directory = Directory(subscriptions.of_alarms, self.type_of, subscriptions.group_of)
        self._groupers = {
            one.name: Grouper(one, subscriptions.zone) for one in subscriptions.of_alarms if one.is_held
        }
        self.last = outbox.last_words()
        """By alarm its last word."""
        self._last_words = LastWords()
        self._is_history = not outbox.has_news
        self._take_up()

    @property
    def held(self) -> int:
        """Transitions that wait for their time."""
        return sum(grouper.held for grouper in self._groupers.values())

    def take(self, records: Sequence[Record]) -> list[Sent]:
        """Records of `alarms`, in order; what is on its way because of them, and on disk. UnreachableError."""
        now_ns = self._clock()
        positions = dict[int, Position]()
        sent = list[Sent]()
        with self._outbox.transaction():
            for record in records:
                alarm = self._alarm(record)
                if alarm is not None and self._outbox.is_new(alarm.id, now_ns):
                    sent += self._word(alarm, now_ns)
                elif alarm is not None:
                    self._metrics["repeats"] += 1
                positions[record.partition] = Position(record.offset + 1, digest(record.value or b""))
            self._outbox.move_to(positions)
        return sent

    def end_of_history(self) -> list[Sent]:
        """The log was read up to here: from now on each word is news. UnreachableError."""
        if not self._is_history:
            return []
        now_ns, sent = self._clock(), list[Sent]()
        with self._outbox.transaction():
            self._outbox.begin_news()
            for last in list(self.last.values()):
                sent += self._tell(standing(last.alarm), now_ns)
        self._is_history = False
        return sent

    def due(self) -> list[Sent]:
        """What waited for its time and goes out now; escalations that nobody acknowledged. UnreachableError."""
        now_ns, sent = self._clock(), list[Sent]()
        ready = [
            name for name, one in self._groupers.items() if (at := one.due_ns) is not None and at <= now_ns
        ]
        steps = self._outbox.due_steps(now_ns)
        if not ready and not steps:
            return sent
        with self._outbox.transaction():
            for name in ready:
                sent += self._send(
                    self._subscriptions.subscriptions[name], self._groupers[name].due(now_ns), now_ns
                )
            for step in steps:
                sent += self._step(step.subscription, step.step, step.key, step.occurrence, now_ns)
            self._outbox.drop_steps(now_ns)
        return sent

    def put(self, notification: Notification, channels: Iterable[str]) -> list[Sent]:
        """What Headrace says of itself, through the outbox as everything else."""
        with self._outbox.transaction():
            return self._put(notification, channels, self._clock())

    def _take_up(self) -> None:
        lost = Counter[str]()
        gone = list[int]()
        for name, item, hold in self._outbox.held():
            if name in self._groupers:
                self._groupers[name].restore(item, hold)
            else:
                lost[name] += 1
                gone.append(item.place)
        if gone:
            with self._outbox.transaction():
                self._outbox.release(gone)
            self._metrics["orphaned"] += len(gone)
            log.warning(
                "held for subscriptions that are gone or hold nothing any more, and dropped: %s", dict(lost)
            )

    def _alarm(self, record: Record) -> Alarm | None:
        if is_replayed(record.headers):
            self._metrics["replayed"] += 1
            return None
        if not self._last_words.wins(record):
            self._metrics["stale_words"] += 1
            return None
        try:
            output = decode_output(record.headers, record.value)
        except UndecodableError as error:
            self._metrics["unreadable"] += 1
            log.warning("alarms: partition %d, offset %d: %s", record.partition, record.offset, error)
            return None
        return output if isinstance(output, Alarm) and output.unit in self._site.units else None

    def _word(self, alarm: Alarm, now_ns: int) -> list[Sent]:
        self._metrics["words"] += 1
        last = self.last.get(alarm.key)
        if last is not None and last.alarm.id == alarm.id:
            return []
        if self._is_history:  # told, if at all, at its end
            self._keep(standing(alarm))
            return []
        one = transition(last, alarm)
        if alarm.at_ns and alarm.at_ns < now_ns - KEEP_NS and not needs_acknowledgement(alarm):
            self._metrics["too_old"] += 1
            return []
        self._keep(one)
        if last is not None:
            self._outbox.settle(alarm.key, alarm.raised_id if needs_acknowledgement(alarm) else "")
        return self._tell(one, now_ns)

    def _keep(self, one: Transition) -> None:
        self.last[one.alarm.key] = Last(one.alarm, one.is_heard)
        self._outbox.keep_word(one)

    def _tell(self, one: Transition, now_ns: int) -> list[Sent]:
        sent = list[Sent]()
        for subscription in self._directory.of(one.alarm):
            if not is_told(subscription.filter, one, self._subscriptions.zone):
                continue
            grouper = self._groupers.get(subscription.name)
            if grouper is None:
                sent += self._send(subscription, [Batch("", (Item(one.alarm),))], now_ns)
                continue
            batches, hold = grouper.take(one.alarm, self.type_of(one.alarm.asset), now_ns)
            sent += self._send(subscription, batches, now_ns)
            if hold is not None:
                grouper.restore(self._outbox.hold(subscription.name, one.alarm, hold, now_ns), hold)
        return sent

    def _send(self, subscription: Subscription, batches: Sequence[Batch], now_ns: int) -> list[Sent]:
        sent = list[Sent]()
        for batch in batches:
            notification = of_batch(subscription, batch, self._site.name, now_ns, self._link)
            if len(batch.items) > 1:
                self._metrics["folded"] += folded(notification.data)
            sent += self._put(notification, subscription.to, now_ns)
            self._escalate(subscription, batch, now_ns)
        self._outbox.release(places(batches))
        return sent

    def _escalate(self, subscription: Subscription, batch: Batch, now_ns: int) -> None:
        """The time to acknowledge runs from when they are told."""
        if not subscription.escalate:
            return
        for item in batch.items:
            if item.alarm.state == State.UNACKNOWLEDGED.value or self._is_history:
                due_ns = [now_ns + step.after_ns for step in subscription.escalate]
                self._outbox.escalate(subscription.name, item.alarm, due_ns)

    def _step(self, name: str, number: int, key: str, occurrence: str, now_ns: int) -> list[Sent]:
        """Escalate, unless somebody has seen it meanwhile or the subscription has no such step any more."""
        subscription, last = self._subscriptions.subscriptions.get(name), self.last.get(key)
        if subscription is None or number > len(subscription.escalate) or last is None:
            return []
        if last.alarm.raised_id != occurrence or not needs_acknowledgement(last.alarm):
            return []
        self._metrics["escalated"] += 1
        batch = Batch("", (Item(last.alarm),))
        notification = of_batch(subscription, batch, self._site.name, now_ns, self._link, number)
        return self._put(notification, subscription.escalate[number - 1].to, now_ns)

    def _put(self, notification: Notification, channels: Iterable[str], now_ns: int) -> list[Sent]:
        self._metrics["notifications"] += 1
        return [
            Sent(seq, notification.lane or notification.subscription, channel)
            for channel in channels
            if (seq := self._outbox.put(notification, channel, now_ns)) is not None
        ]

    def type_of(self, asset: str) -> str:
        """The type of an asset, '' of what is none."""
        known = self._site.assets.get(asset)
        return "" if known is None else known.type
