"""The service HistoryRead: raw values in pages, and aggregates (OPC 10000-11, 6.5.3 and 6.5.4).

Rules: start is within, end is not; with the end before the start values come backwards, and with one of them left out
as many as were asked for. A continuation point is the time at which the next page begins, so that the server keeps
nothing; who reads a point may read its history. Others have their turn between two nodes.
"""

from __future__ import annotations

import asyncio
import math
import struct
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import ServiceError

from gateways.opcua.convert import time_ns
from gateways.scada.aggregates import FUNCTIONS, INTERVALS_MAX, processed
from gateways.scada.encoding import INT32, data_value, double_variant
from gateways.scada.history import END_NS, History, Kept
from gateways.scada.limits import HISTORIES_MAX, check_count
from gateways.scada.names import text_of

PAGE_MAX: Final = 2_000
ALL_INTERVALS_MAX: Final = 100_000
"""Of all nodes of a request; of one there are `INTERVALS_MAX` at most."""
_CODES: Final = ua.StatusCodes
_DATA: Final = ua.NodeId(ua.ObjectIds.HistoryData_Encoding_DefaultBinary)
_POINT: Final = struct.Struct("<q")


class HistoryReader:
    """`places`: of the points, by id."""

    def __init__(self, history: History, places: dict[str, int], address_space: Any) -> None:
        self._history, self._places, self._space = history, places, address_space

    async def read(self, params: Any) -> list[Any]:
        """A result for each node, in order. ServiceError: more is asked for than one request may."""
        check_count(params.NodesToRead, HISTORIES_MAX)
        if len(params.NodesToRead) * _interval_count(params.HistoryReadDetails) > ALL_INTERVALS_MAX:
            raise ServiceError(_CODES.BadTooManyOperations)
        results = []
        for index, node in enumerate(params.NodesToRead):
            await asyncio.sleep(0)
            result = ua.HistoryReadResult()
            try:
                if not params.ReleaseContinuationPoints:
                    self._read(params.HistoryReadDetails, index, node, result)
            except ServiceError as error:
                result.StatusCode = ua.StatusCode(error.code)
            results.append(result)
        return results

    def _read(self, details: Any, index: int, node: Any, result: Any) -> None:
        place = self._places.get(text_of(node.NodeId))
        if place is None:
            is_known = node.NodeId in self._space
            raise ServiceError(_CODES.BadHistoryOperationUnsupported if is_known else _CODES.BadNodeIdUnknown)
        if isinstance(details, ua.ReadRawModifiedDetails) and not details.IsReadModified:
            found, more_ns = _raw(self._history, place, details, node.ContinuationPoint)
            if more_ns is not None:
                result.ContinuationPoint = _POINT.pack(more_ns)
            rows = zip(found.times.tolist(), found.values.tolist(), found.status.tolist(), strict=True)
        elif isinstance(details, ua.ReadProcessedDetails):
            rows = zip(*_processed(self._history.of(place), details, index), strict=True)
        else:
            raise ServiceError(_CODES.BadHistoryOperationUnsupported)
        values = [data_value(double_variant(value), status, at_ns, 0) for at_ns, value, status in rows]
        if not values:
            result.StatusCode = ua.StatusCode(_CODES.GoodNoData)
        result.HistoryData = ua.ExtensionObject(TypeId=_DATA, Body=INT32.pack(len(values)) + b"".join(values))


def _raw(history: History, place: int, details: Any, continuation: bytes | None) -> tuple[Kept, int | None]:
    """One page, and where the next one begins."""
    start_ns, end_ns = time_ns(details.StartTime), time_ns(details.EndTime)
    count = int(details.NumValuesPerNode)
    if (not start_ns and not end_ns) or ((not start_ns or not end_ns) and not count):
        raise ServiceError(_CODES.BadHistoryOperationInvalid)
    backwards = not start_ns or (end_ns > 0 and end_ns < start_ns)
    if continuation:
        if len(continuation) != _POINT.size:
            raise ServiceError(_CODES.BadContinuationPointInvalid)
        start_ns = _POINT.unpack(continuation)[0]
    page = min(count or PAGE_MAX, PAGE_MAX)
    most = page + 1 if start_ns and end_ns else min(page + 1, count)
    if backwards:
        found = history.of(
            place, end_ns + 1 if start_ns else 0, (start_ns or end_ns) + 1, most, backwards=True
        )
    elif start_ns == end_ns:
        found = history.of(place, start_ns, start_ns + 1, most)
    else:
        found = history.of(place, start_ns, end_ns or END_NS, most)
    more_ns = None if len(found) <= page else int(found.times[page])
    return found.cut(slice(page)), more_ns


def _interval_ns(details: Any) -> int:
    """0 for all of the time at once; below it, it is none."""
    given_ns = details.ProcessingInterval * 1e6
    return round(given_ns) if math.isfinite(given_ns) else -1


def _interval_count(details: Any) -> float:
    """Of each node; 1 where no aggregates are asked for."""
    interval_ns = _interval_ns(details) if isinstance(details, ua.ReadProcessedDetails) else 0
    if interval_ns <= 0:
        return 1
    return abs(time_ns(details.EndTime) - time_ns(details.StartTime)) / interval_ns


def _processed(kept: Kept, details: Any, index: int) -> tuple[list[int], list[float], list[int]]:
    functions = details.AggregateType or []
    if index >= len(functions):
        raise ServiceError(_CODES.BadAggregateListMismatch)
    if functions[index] not in FUNCTIONS:
        raise ServiceError(_CODES.BadAggregateNotSupported)
    start_ns, end_ns = time_ns(details.StartTime), time_ns(details.EndTime)
    interval_ns = _interval_ns(details)
    if not start_ns or not end_ns or start_ns == end_ns or interval_ns < 0:
        raise ServiceError(_CODES.BadInvalidArgument)
    if _interval_count(details) > INTERVALS_MAX:
        raise ServiceError(_CODES.BadTooManyOperations)
    configuration = details.AggregateConfiguration
    is_default = configuration is None or configuration.UseServerCapabilitiesDefaults
    uncertain_is_bad = True if is_default else bool(configuration.TreatUncertainAsBad)
    results = processed(kept, functions[index], start_ns, end_ns, interval_ns, uncertain_is_bad)
    return [one.time_ns for one in results], [one.value for one in results], [one.status for one in results]
