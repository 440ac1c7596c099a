"""How many channels are dead, told to the engine as a reading: an ordinary rule makes an alarm of it.

Rules: as the recorder tells its free space (decision 0004): a reading on `events` as any other, so that a replay raises
the same alarm; a site without a source of kind `alerts` is told nothing; nothing is told while publishers hold.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from rules.quality import Quality
from rules.site.model import Point
from rules.site.units import convert
from streams.publisher import Publisher
from streams.role import RoleContext

POINT_TYPE: Final = "DeadChannels"


def channel_points(context: RoleContext) -> list[Point]:
    """The points at which the site wants to be told, all of one source and of type `DeadChannels`."""
    site = context.site
    points = [point for point in site.points.values() if site.sources[point.source].kind == "alerts"]
    return [point for point in points if point.point_type == POINT_TYPE and point.source == points[0].source]


async def tell_dead(context: RoleContext, points: Sequence[Point], count: Callable[[], int]) -> None:
    """Publish how many are dead, once each period of the source, until the stop."""
    source = context.site.sources[points[0].source]
    publisher = await Publisher.open(context, source.id)
    try:
        while not context.stop.is_set():
            if not context.metrics.get("holding"):
                for point in points:
                    value = np.array([convert(float(count()), "", point.engineering_unit)])
                    unit, now = context.site.assets[point.asset].unit, np.array([context.clock()])
                    good, status = np.array([Quality.GOOD], np.uint8), np.zeros(1, np.uint32)
                    publisher.publish_readings(unit, (point.id,), now, now, value, good, status)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(source.period_ns / 1e9):
                    await context.stop.wait()
    finally:
        await publisher.close()
