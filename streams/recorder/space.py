"""How much a recorder can still record, told to the engine as a reading: an ordinary rule makes an alarm of it.

Rules: it is a reading on `events` as any other, so that a replay raises the same alarm (decision 0004); a site that
has no source of kind `recorder` is told nothing; nothing is told while publishers hold.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import numpy as np

from rules.quality import Quality
from rules.site.model import Point
from rules.site.units import convert
from streams.publisher.publisher import Publisher
from streams.recorder.retention import Retention
from streams.role import RoleContext

POINT_TYPE = "FreeSpace"


def space_points(context: RoleContext) -> list[Point]:
    """The points at which the site wants to be told, all of one source and of type `FreeSpace`."""
    site = context.site
    points = [point for point in site.points.values() if site.sources[point.source].kind == "recorder"]
    return [point for point in points if point.point_type == POINT_TYPE and point.source == points[0].source]


async def tell_space(context: RoleContext, points: Sequence[Point], retention: Retention) -> None:
    """Publish what `retention` has room for, once each period of the source, until the stop."""
    source = context.site.sources[points[0].source]
    publisher = await Publisher.open(context, source.id)
    try:
        while not context.stop.is_set():
            room_bytes = retention.room_bytes()
            context.metrics["room_gb"] = round(room_bytes / 1e9, 3)
            if not context.metrics.get("holding"):
                for point in points:
                    _publish(publisher, context, point, room_bytes)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(context.stop.wait(), source.period_ns / 1e9)
    finally:
        await publisher.close()


def _publish(publisher: Publisher, context: RoleContext, point: Point, room_bytes: int) -> None:
    unit = context.site.assets[point.asset].unit
    now = np.array([context.clock()])
    value = np.array([convert(float(room_bytes), "B", point.engineering_unit)])
    good = np.array([Quality.GOOD], np.uint8)
    publisher.publish_readings(unit, (point.id,), now, now, value, good, np.zeros(1, np.uint32))
