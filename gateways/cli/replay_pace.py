"""How fast a replay runs, how far it is, and Ctrl-C: the only clock of a replay is here, and it decides no output.

Rules: speed counts in event time from the moment that was asked for; what is run to come to the state there is run at
once; Ctrl-C ends the reading, and what was read is finished, so that the answer is that of a shorter recording. The
second Ctrl-C ends the process as usual.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.recording.recording import Recording
from streams.replay.start import Part, span_of

_SHOWN_EVERY_S = 0.2


def speed_of(text: str) -> float | None:
    """Times real time, None for `max`. Raises ConfigurationError."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ConfigurationError(
            [Finding("--speed", 0, 0, f"{text!r} is no speed", "write max, or 1, 10, 0.5 times real time")]
        )
    return speed


class Pace:
    """Hears the event time of each tick that is read, and says whether to go on.

    `span_ns`: event time from and to, as far as they are known; `speed`: times real time, None as fast as it goes.
    `console`: where the bar is shown, None for nowhere.
    """

    def __init__(
        self,
        span_ns: tuple[int, int | None],
        speed: float | None,
        *,
        console: Console | None = None,
        clock_s: Callable[[], float] = time.monotonic,
        wait_s: Callable[[float], object] | None = None,
    ) -> None:
        self._from_ns, self._to_ns = span_ns
        self._speed = speed
        self._clock_s = clock_s
        self._stop = threading.Event()
        self._wait_s = wait_s or self._stop.wait
        self._begun: tuple[int, float] | None = None
        """Event time, and the clock's, at the first tick from `from_ns` on."""

        self._now_ns = 0
        self._shown_s = 0.0
        self._bar = Progress(
            TextColumn("{task.fields[at]}"),
            BarColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=console is None,
        )
        total = None if self._to_ns is None else max(self._to_ns - self._from_ns, 1) / 1e9
        self._task = self._bar.add_task("", total=total, at="", speed="")

    def __enter__(self) -> Self:
        """Takes Ctrl-C over."""
        self._before = signal.signal(signal.SIGINT, self._interrupted)
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        signal.signal(signal.SIGINT, self._before)

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()
        signal.signal(signal.SIGINT, self._before)

    def __call__(self, event_ns: int) -> bool:
        """False: read no further."""
        self._now_ns = max(self._now_ns, event_ns)
        if self._now_ns >= self._from_ns:
            now_s = self._clock_s()
            if self._begun is None:
                self._begun = self._now_ns, now_s
            recorded_s = (self._now_ns - self._begun[0]) / 1e9
            if self._speed is not None:
                ahead_s = recorded_s / self._speed - (now_s - self._begun[1])
                if ahead_s > 0:
                    self._wait_s(ahead_s)
            if now_s - self._shown_s > _SHOWN_EVERY_S:
                self._shown_s = now_s
                self._show(recorded_s, self._clock_s() - self._begun[1])
        return not self._stop.is_set()

    def _show(self, recorded_s: float, taken_s: float) -> None:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self._now_ns / 1e9))
        speed = f"{recorded_s / taken_s:,.0f} x real time" if taken_s > 0 else ""
        self._bar.update(self._task, completed=(self._now_ns - self._from_ns) / 1e9, at=at, speed=speed)


def paced(recordings: Sequence[Recording], of: Part, speed: float | None = None) -> Pace:
    """For a replay of a part of recordings, with a bar where somebody looks at stderr."""
    begin_ns, end_ns = span_of(recordings, of)
    return Pace((begin_ns or 0, end_ns), speed, console=terminal())


def terminal() -> Console | None:
    """Where a bar is shown: stderr, where somebody looks at it."""
    return Console(stderr=True) if sys.stderr.isatty() else None
