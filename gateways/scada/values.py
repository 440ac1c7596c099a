"""What the plant reads now: points from readings, fields of GPUs from the last frame, the heartbeat from itself.

Rules: quality becomes a status code, and a point's own code is kept as its server gave it. What has not come for three
periods is an uncertain last usable value, and says so without anybody's new reading. A reading that is older than the
last one of its point, and backfill, change nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from asyncua import ua
from numpy.typing import NDArray

from gateways.opcua.convert import moment_of
from gateways.scada.encoding import double_variant
from gateways.scada.items import Sample
from gateways.scada.model import Model
from gateways.scada.names import node, text_of
from rules.engine.inputs import Frame, Readings
from rules.gpu_fields import GPU_FIELDS
from rules.quality import BAD_STATUS, Quality
from rules.site.model import SILENT_NS, Site

SILENT_PERIODS: Final = 3
_CODES: Final = ua.StatusCodes
_OF_QUALITY: Final = {
    Quality.GOOD: 0,
    Quality.UNCERTAIN: _CODES.Uncertain,
    Quality.BAD: BAD_STATUS,
    Quality.MISSING: _CODES.BadNotSupported,
}
_BY_GRADE: Final = np.array([_OF_QUALITY[quality] for quality in Quality], np.uint32)
_NOTHING: Final = Sample(b"\x00", None, _CODES.BadWaitingForInitialData, 0, 0)

Own = Callable[[str], Sample | None]
"""A value of the server's own, by the text of its node."""


class Taken(NamedTuple):
    """Readings of points of the site: columns of one length. `changed`: the places that now have another value."""

    places: NDArray[np.intp]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    status: NDArray[np.uint32]
    changed: NDArray[np.intp]


class PlantValues:
    """The last values of a site. `own`: the heartbeat's."""

    def __init__(self, site: Site, model: Model, clock: Callable[[], int], own: Own) -> None:
        self._site, self._model, self._clock, self._own = site, model, clock, own
        count = len(site.points)
        self.place_of: dict[str, int] = {point: place for place, point in enumerate(site.points)}
        self.nodes: list[Any] = [node(point) for point in site.points]
        self._silent_ns: list[int] = [SILENT_PERIODS * point.period_ns for point in site.points.values()]
        self._values = np.full(count, np.nan)
        self._status = np.full(count, _CODES.BadWaitingForInitialData, np.uint32)
        self._times = np.zeros(count, np.int64)
        self._received = np.zeros(count, np.int64)
        self._frames: dict[tuple[str, str], tuple[Frame, int]] = {}
        self._frame_periods: Mapping[str, int] = {
            gpu: source.period_ns for gpu, source in site.gpu_sources.items()
        }
        self._places = lru_cache(maxsize=512)(self._find)

    def see_readings(self, readings: Readings) -> Taken:
        """Take what is newer than what there was. All of them that are points of the site, as columns."""
        known, places = self._places(readings.points)
        times, values = readings.time_ns[known], readings.values[known]
        status = _codes(readings.status[known], readings.quality[known])
        is_newer = times > self._times[places]
        at = places[is_newer]
        self._times[at], self._values[at], self._status[at] = (
            times[is_newer],
            values[is_newer],
            status[is_newer],
        )
        self._received[at] = self._clock()
        return Taken(places, times, values, status, at)

    def _find(self, points: tuple[str, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        known = [index for index, point in enumerate(points) if point in self.place_of]
        places = [self.place_of[points[index]] for index in known]
        return np.array(known, np.intp), np.array(places, np.intp)

    def see_frame(self, frame: Frame) -> None:
        """Keep the last frame of each asset."""
        if not frame.backfill and len(frame.time_ns):
            self._frames[frame.unit, frame.asset] = (frame, self._clock())

    def sample(self, node_id: Any) -> Sample | None:
        """As it is now; None for a node that has no such value."""
        text = text_of(node_id)
        place = self.place_of.get(text)
        if place is not None:
            return self._of_point(place)
        field = self._model.gpu_field(text)
        return self._own(text) if field is None else self._of_gpu(*field)

    def span(self, node_id: Any) -> float:
        """Of its range; 0 where there is none."""
        point = self._model.point(text_of(node_id))
        return 0.0 if point is None else point.high - point.low

    def _of_point(self, place: int) -> Sample:
        received_ns = int(self._received[place])
        if not received_ns:
            return _NOTHING
        value, status = float(self._values[place]), int(self._status[place])
        if not status >> 30 and self._clock() - received_ns > self._silent_ns[place]:
            status = _CODES.UncertainLastUsableValue
        return Sample(double_variant(value), value, status, int(self._times[place]), received_ns)

    def _of_gpu(self, gpu: str, column: int) -> Sample:
        unit = self._site.units[self._site.assets[gpu].unit]
        lane = unit.gpu_lane[gpu]
        for asset in (*self._model.above(gpu), unit.id):
            kept = self._frames.get((unit.id, asset))
            if kept is None:
                continue
            frame, received_ns = kept
            found = np.flatnonzero(frame.gpu == lane - unit.gpu_range[asset][0])
            if len(found):
                is_silent = self._clock() - received_ns > SILENT_PERIODS * self._frame_periods.get(
                    gpu, SILENT_NS
                )
                return _of_frame(frame, int(found[0]), column, received_ns, is_silent)
        return _NOTHING

    def data_value(self, node_id: Any) -> Any:
        """A value as asyncua reads it."""
        sample = self.sample(node_id) or _NOTHING
        variant = None
        if not sample.status >> 31:
            variant = ua.ua_binary.variant_from_binary(ua.utils.Buffer(sample.variant))
        return ua.DataValue(
            variant,
            ua.StatusCode(sample.status),
            SourceTimestamp=moment_of(sample.source_ns) if sample.source_ns else None,
            ServerTimestamp=moment_of(sample.server_ns) if sample.server_ns else None,
        )


def _of_frame(frame: Frame, lane: int, column: int, received_ns: int, is_silent: bool) -> Sample:
    value, quality = float(frame.values[-1, lane, column]), Quality(int(frame.quality[-1, lane]))
    if GPU_FIELDS[column].name == "energy" and frame.energy_mj[-1, lane] >= 0:
        value = float(frame.energy_mj[-1, lane]) * GPU_FIELDS[column].scale
    status = _CODES.BadNotSupported if math.isnan(value) else _OF_QUALITY[quality]
    if is_silent and not status >> 30:
        status = _CODES.UncertainLastUsableValue
    return Sample(double_variant(value), value, status, int(frame.time_ns[-1]), received_ns)


def _codes(status: NDArray[np.uint32], quality: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """A source's own codes; where its code is good and the quality is not (a clock, a doubt of ours), the quality's."""
    return np.where((status >> 30 == 0) & (quality > 0), _BY_GRADE[quality], status)
