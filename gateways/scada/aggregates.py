"""Aggregates of history: Average, Minimum, Maximum and Count over intervals (OPC 10000-13).

Rules: only good values count (uncertain ones as well, where the client says so); an interval without any has no value
and BadNoData, but a Count of 0; one in which others were left out is UncertainDataSubNormal. The time of a result is
the begin of its interval. Average is that of the values, not weighted by time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from asyncua import ua
from numpy.typing import NDArray

from gateways.scada.history import Kept

INTERVALS_MAX: Final = 10_000
BAD_NO_DATA: Final = ua.StatusCodes.BadNoData
SUB_NORMAL: Final = ua.StatusCodes.UncertainDataSubNormal
CALCULATED: Final = 0x0401
"""InfoType DataValue with the aggregate bit `Calculated` (OPC 10000-4, table 178)."""

FUNCTIONS: Final[Mapping[Any, tuple[str, Callable[[NDArray[np.float64]], float]]]] = {
    ua.NodeId(ua.ObjectIds.AggregateFunction_Average): ("Average", lambda values: float(values.mean())),
    ua.NodeId(ua.ObjectIds.AggregateFunction_Minimum): ("Minimum", lambda values: float(values.min())),
    ua.NodeId(ua.ObjectIds.AggregateFunction_Maximum): ("Maximum", lambda values: float(values.max())),
    ua.NodeId(ua.ObjectIds.AggregateFunction_Count): ("Count", lambda values: float(len(values))),
}


class Result(NamedTuple):
    """Of one interval: its begin, the value, and a status code."""

    time_ns: int
    value: float
    status: int


def processed(
    kept: Kept, function: Any, start_ns: int, end_ns: int, interval_ns: int, uncertain_is_bad: bool
) -> list[Result]:
    """A result for each interval from start to end; an interval of 0 is all of it. `function`: one of `FUNCTIONS`."""
    name, work_out = FUNCTIONS[function]
    low, high = min(start_ns, end_ns), max(start_ns, end_ns)
    step_ns = interval_ns or high - low
    edges = np.array([*range(low, high, step_ns), high], np.int64)
    places = np.searchsorted(kept.times, edges)
    results = []
    for index, begin_ns in enumerate(edges[:-1].tolist()):
        inside = slice(places[index], places[index + 1])
        status = kept.status[inside]
        counts = status >> 30 == 0 if uncertain_is_bad else status >> 31 == 0
        values = kept.values[inside][counts]
        if not len(values) and name != "Count":
            results.append(Result(begin_ns, 0.0, BAD_NO_DATA))
            continue
        is_whole = len(values) == len(status)
        results.append(Result(begin_ns, work_out(values), CALCULATED | (0 if is_whole else SUB_NORMAL)))
    return results if start_ns <= end_ns else results[::-1]
