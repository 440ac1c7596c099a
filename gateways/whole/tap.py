"""What publishers were handed, remembered outside of the processes: the one side of 'nothing lost'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rules.engine.inputs import Frame, Gap, Input, Readings, Receipt
from streams.publisher.publisher import Publisher


class Handed(NamedTuple):
    """One input, by what it says. `from_ns` to `to_ns`: its event times."""

    source: str
    unit: str
    kind: str
    what: str
    from_ns: int
    to_ns: int


def handed(value: Input) -> Handed | None:
    """How an input of the log was handed over; None for what no publisher was handed."""
    source = value.identity.source.removesuffix("/backfill")
    if isinstance(value, Frame):
        return _frame(source, value.unit, value.asset, value.time_ns)
    if isinstance(value, Readings):
        return _readings(source, value.unit, value.points, value.time_ns)
    if isinstance(value, Receipt):
        return Handed(
            source, value.unit, "receipt", f"{value.command} {value.status}", value.at_ns, value.at_ns
        )
    if isinstance(value, Gap):
        return Handed(source, value.unit, "gap", value.reason, value.from_ns, value.to_ns)
    return None


def _frame(source: str, unit: str, asset: str, time_ns: Any) -> Handed:
    return Handed(source, unit, "frame", asset, int(time_ns[0]), int(time_ns[-1]))


def _readings(source: str, unit: str, points: tuple[str, ...], time_ns: Any) -> Handed:
    return Handed(
        source, unit, "readings", f"{points[0]} {len(points)}", int(time_ns.min()), int(time_ns.max())
    )


class Accepted:
    """`open`: what is not on the log yet, with the times (of the publisher's clock) at which it was handed over."""

    def __init__(self) -> None:
        self.open: dict[Handed, list[int]] = {}
        self.count = 0

    def add(self, one: Handed, at_ns: int) -> None:
        """A publisher has taken it."""
        self.count += 1
        self.open.setdefault(one, []).append(at_ns)

    def arrived(self, one: Handed) -> None:
        """It stands on the log, for the first time or again."""
        self.open.pop(one, None)


class Tap:
    """A publisher that remembers; everything else is the publisher's."""

    def __init__(
        self, publisher: Publisher, source: str, accepted: Accepted, clock: Callable[[], int]
    ) -> None:
        self._publisher = publisher
        self._source = source
        self._accepted = accepted
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)

    def publish_frame(self, unit: str, asset: str, time_ns: Any, *rest: Any) -> None:
        """As the publisher's."""
        self._publisher.publish_frame(unit, asset, time_ns, *rest)
        self._accepted.add(_frame(self._source, unit, asset, time_ns), self._clock())

    def publish_readings(self, unit: str, points: tuple[str, ...], time_ns: Any, *rest: Any) -> None:
        """As the publisher's."""
        self._publisher.publish_readings(unit, points, time_ns, *rest)
        self._accepted.add(_readings(self._source, unit, points, time_ns), self._clock())

    def publish_gap(self, unit: str, reason: str, from_ns: int, to_ns: int, readings: int) -> None:
        """As the publisher's."""
        self._publisher.publish_gap(unit, reason, from_ns, to_ns, readings)
        self._accepted.add(Handed(self._source, unit, "gap", reason, from_ns, to_ns), self._clock())

    def publish_receipt(
        self,
        unit: str,
        command: str,
        actuator: str,
        status: str,
        value: float,
        back: Any,
        at_ns: int,
        detail: str,
    ) -> None:
        """As the publisher's."""
        given: Any = status
        self._publisher.publish_receipt(unit, command, actuator, given, value, back, at_ns, detail)
        what = Handed(self._source, unit, "receipt", f"{command} {status}", at_ns, at_ns)
        self._accepted.add(what, self._clock())
