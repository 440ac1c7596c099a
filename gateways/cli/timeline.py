"""A scenario's signals and alarms over time, in a few lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from rules.quality import Quality
from streams.scenarios.model import Trace
from streams.scenarios.run import Result, seconds

WIDTH: Final = 60
_LEVELS: Final = "▁▂▃▄▅▆▇█"


def timeline(result: Result) -> Iterator[str]:
    """One line a signal (`·` silence, `?` a sample that is not good) and one an alarm (`━` while it stands)."""
    duration_ns = result.scenario.duration_ns
    names = [*result.traces, *(f"{seen.rule} on {seen.asset}" for seen in result.seen)]
    width = max((len(name) for name in names), default=0)
    for name, trace in result.traces.items():
        yield f"{name:{width}} {_signal(trace, duration_ns)} {_range(trace)}"
    for seen in result.seen:
        begin = _column(seen.raised_ns, duration_ns)
        end = WIDTH if seen.cleared_ns is None else max(_column(seen.cleared_ns, duration_ns), begin + 1)
        bar = " " * begin + "━" * (end - begin) + " " * (WIDTH - end)
        until = "" if seen.cleared_ns is None else f" to {seconds(seen.cleared_ns)}"
        yield f"{f'{seen.rule} on {seen.asset}':{width}} {bar} {seconds(seen.raised_ns)}{until}"
    end_text = seconds(duration_ns)
    yield f"{'':{width}} 0{end_text:>{WIDTH - 1}}"


def _column(time_ns: int, duration_ns: int) -> int:
    return min(WIDTH - 1, time_ns * WIDTH // max(duration_ns, 1))


def _signal(trace: Trace, duration_ns: int) -> str:
    """The last sample of each column's time; a column without one between two samples carries on."""
    good = trace.values[(trace.quality == Quality.GOOD) & np.isfinite(trace.values)]
    low, high = (float(good.min()), float(good.max())) if good.size else (0.0, 0.0)
    marks = ["·"] * WIDTH
    gap_ns = int(np.diff(trace.time_ns).min(initial=duration_ns)) if trace.time_ns.size > 1 else duration_ns
    for at_ns, value, quality in zip(
        trace.time_ns.tolist(), trace.values.tolist(), trace.quality.tolist(), strict=True
    ):
        mark = "?"
        if quality == Quality.GOOD and math.isfinite(value):
            mark = _LEVELS[0 if high == low else int((value - low) / (high - low) * (len(_LEVELS) - 1))]
        for column in range(_column(at_ns, duration_ns), _column(at_ns + gap_ns - 1, duration_ns) + 1):
            marks[column] = mark
    return "".join(marks)


def _range(trace: Trace) -> str:
    good = trace.values[(trace.quality == Quality.GOOD) & np.isfinite(trace.values)]
    return f"{good.min():g} … {good.max():g}" if good.size else "never good"
