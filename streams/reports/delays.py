"""Which delay would have kept an alarm from chattering, and how many of its annunciations that would have cut.

Rules: of what was recorded, and nothing else: an on-delay of d cuts what was over within d; an off-delay of d keeps as
one what goes off again within d of its return, and so does a dead-band that it does not leave in that time. Both are on
top of what the rule has. The suggestion is the least delay with which the alarm does not chatter; where none of these
does it, there is none.

Source: ANSI/ISA-18.2-2016, clause 10 and 16: on- and off-delay and dead-band against chattering alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from streams.compare.episodes import Episode
from streams.compare.kpis import chattering_places

TRIED_S: Final = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300)


class Cut(NamedTuple):
    """What a delay of so many seconds would have cut, of how many raisings; whether the rest chatters."""

    delay_s: int
    cut: int
    chatters: bool


class Delays(NamedTuple):
    """Of one alarm: every delay that was tried."""

    raised: int
    on: tuple[Cut, ...]
    off: tuple[Cut, ...]

    @property
    def suggested_on(self) -> Cut | None:
        """The least on-delay with which it does not chatter."""
        return next((one for one in self.on if not one.chatters), None)

    @property
    def suggested_off(self) -> Cut | None:
        """The least off-delay with which it does not chatter."""
        return next((one for one in self.off if not one.chatters), None)


def delays(raisings: Sequence[Episode]) -> Delays:
    """Of the occurrences of one alarm, in their order; one that stands at the end outlasts every delay."""
    return Delays(
        len(raisings),
        tuple(_tried(raisings, seconds, _with_on_delay) for seconds in TRIED_S),
        tuple(_tried(raisings, seconds, _with_off_delay) for seconds in TRIED_S),
    )


def _tried(
    raisings: Sequence[Episode], seconds: int, left: Callable[[Sequence[Episode], int], list[int]]
) -> Cut:
    rest = left(raisings, seconds * 1_000_000_000)
    return Cut(seconds, len(raisings) - len(rest), bool(chattering_places(rest)))


def _with_on_delay(raisings: Sequence[Episode], delay_ns: int) -> list[int]:
    return [
        one.raised_ns + delay_ns
        for one in raisings
        if one.cleared_ns is None or one.cleared_ns - one.raised_ns >= delay_ns
    ]


def _with_off_delay(raisings: Sequence[Episode], delay_ns: int) -> list[int]:
    return [one.raised_ns for one in raisings[:1]] + [
        after.raised_ns
        for before, after in pairwise(raisings)
        if before.cleared_ns is None or after.raised_ns - before.cleared_ns >= delay_ns
    ]
