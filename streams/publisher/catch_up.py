"""How a source goes on after a hold: in the order of time, faster than time, in step with all the others.

A roll of the log holds every publisher and the ticker for some seconds. If each sent its backlog at once, the ticks
would pass the samples, which would then be late; or the samples the ticks, which would then come from the future.
So each sends, at any moment, what is older than one and the same time, which every process works out for itself
from the moments at which it was held and released.
"""

from __future__ import annotations

from dataclasses import dataclass

SPEED = 5


@dataclass(frozen=True, slots=True)
class CatchUp:
    """The time up to which a source may send: from `held_ns` on, `SPEED` times as fast since `released_ns`."""

    held_ns: int
    released_ns: int

    def until_ns(self, now_ns: int) -> int:
        """What was accepted up to here may be sent at `now_ns`; never beyond it."""
        return min(now_ns, self.held_ns + SPEED * max(0, now_ns - self.released_ns))

    def is_over(self, now_ns: int) -> bool:
        """Whether the present is reached."""
        return self.until_ns(now_ns) >= now_ns
