"""Whether Headrace works on a unit, as roles themselves say it on the topic `status`.

Rules: a unit lives while the `now` of its engine rises and is not far behind the clock: that takes a ticker, a worker
that works on the unit, and a log that carries both. Only a worker is heard of units and a ticker of ticks, each role
for itself; a time that lies far ahead of the clock is none. Silence counts from the start where nothing has ever come,
or from where the process before had it begin; it runs by the loop's clock, which nobody sets back, and not while this
process stood still. Anyone can write to the topic: what is kept of roles by name has a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from streams.log_limit import limited

log_again = limited(__name__)

PART_S: Final = 5.0
"""A part that has said nothing for so long is named as the silent one: each says something once a second."""
AHEAD_NS: Final = 60_000_000_000
"""A time that lies further ahead of our clock is none."""
WORKER: Final = "worker"
TICKER: Final = "ticker"
NAME_MAX: Final = 200
"""Letters of a role's name; one that has more is not heard."""
ROLES_MAX: Final = 100
"""Of whom it is kept what they said last."""


class Life:
    """`clock`: the wall clock in ns; `time_s`: the loop's; `silent_ns`: since when units were silent, by the clock, as
    the process before ended.
    """

    def __init__(
        self,
        units: Iterable[str],
        clock: Callable[[], int],
        time_s: Callable[[], float],
        silent_ns: Mapping[str, int],
    ) -> None:
        self._clock = clock
        self._time_s = time_s
        begun_s, begun_ns = time_s(), clock()
        self._alive_s = {
            unit: begun_s - max(0, begun_ns - silent_ns.get(unit, begun_ns)) / 1e9 for unit in units
        }
        """When a unit's `now` was the present, in time of the loop."""

        self._alive_ns: dict[str, int] = {}
        """What its `now` was then, of units of which a word of life has come since the start."""

        self._said_ns: dict[str, dict[str, int]] = {}
        """The highest `now` by role and unit, of a ticker its tick: who repeats one stands still. The role that was
        heard last is at the end.
        """

        self._ticked_s = self._said_s = begun_s

    def hear(self, role: str, kind: str, metrics: Mapping[str, Any]) -> None:
        """What a role says of itself. Anyone can write to the topic: what is no number is passed over."""
        self._said_s = self._time_s()
        if kind not in (TICKER, WORKER):
            return
        if len(role) > NAME_MAX:
            log_again.warning(
                "a status is passed over: the name of its role has %d letters, and %d are allowed",
                len(role),
                NAME_MAX,
            )
            return
        said_ns = self._said_ns.pop(role, {})
        if kind == TICKER:
            self._hear_tick(said_ns, metrics.get("last_tick_ns"))
        else:
            self._hear_units(said_ns, metrics.get("now_ns"))
        self._said_ns[role] = said_ns
        if len(self._said_ns) > ROLES_MAX:
            log_again.warning(
                "more than %d workers and tickers have spoken: the first is forgotten", ROLES_MAX
            )
            del self._said_ns[next(iter(self._said_ns))]

    def _hear_tick(self, said_ns: dict[str, int], tick_ns: Any) -> None:
        if self._is_higher(said_ns.get("", 0), tick_ns):
            said_ns[""], self._ticked_s = tick_ns, self._said_s

    def _hear_units(self, said_ns: dict[str, int], now_ns: Any) -> None:
        for unit, unit_ns in now_ns.items() if isinstance(now_ns, dict) else ():
            if unit in self._alive_s and self._is_higher(said_ns.get(unit, 0), unit_ns):
                said_ns[unit] = unit_ns
                alive_s = self._said_s - max(0.0, (self._clock() - unit_ns) / 1e9)
                if alive_s > self._alive_s[unit]:
                    self._alive_s[unit], self._alive_ns[unit] = alive_s, unit_ns

    def stood_still(self, seconds: float) -> None:
        """For so long our own process did nothing, and heard nothing: what was said meanwhile is still to be read."""
        now_s = self._time_s()
        self._alive_s = {unit: min(now_s, alive_s + seconds) for unit, alive_s in self._alive_s.items()}
        self._ticked_s = min(now_s, self._ticked_s + seconds)
        self._said_s = min(now_s, self._said_s + seconds)

    def was_heard(self, unit: str) -> bool:
        """Whether a word of life has come since the start."""
        return unit in self._alive_ns

    def silence_s(self, unit: str) -> float:
        """How long the unit has been without Headrace."""
        return self._time_s() - self._alive_s[unit]

    def now_ns(self, unit: str) -> int:
        """The present: the clock's, or the unit's own by its last word of life, where the clock is ahead of it."""
        clock_ns, alive_ns = self._clock(), self._alive_ns.get(unit)
        return clock_ns if alive_ns is None else min(clock_ns, alive_ns + round(self.silence_s(unit) * 1e9))

    def silent_part(self) -> str:
        """Where to look: the log where nobody is heard, the ticker where its ticks stand still, else the worker."""
        now_s = self._time_s()
        if now_s - self._said_s > PART_S:
            return "log"
        return "ticker" if now_s - self._ticked_s > PART_S else "worker"

    def _is_higher(self, before_ns: int, said_ns: Any) -> bool:
        """Whether it is a time, above the one before, and none that is still to come."""
        return isinstance(said_ns, int) and before_ns < said_ns <= self._clock() + AHEAD_NS
