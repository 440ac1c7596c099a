"""A number that a role tells the engine of itself, as a reading: an ordinary rule makes an alarm of it.

Rules: as the recorder tells its free space (decisions 0004 and 0094): a reading on `events` as any other, so that a
replay raises the same alarm; a site without a source of that kind is told nothing, and nobody while publishers hold.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import numpy as np

from rules.quality import Quality
from rules.site.model import Point, SourceKind
from rules.site.units import convert
from streams.publisher.publisher import Publisher
from streams.role import RoleContext


def own_points(context: RoleContext, kind: SourceKind, point_type: str) -> list[Point]:
    """The points at which the site wants to be told, all of one source of `kind`."""
    site = context.site
    points = [point for point in site.points.values() if site.sources[point.source].kind == kind]
    return [point for point in points if point.point_type == point_type and point.source == points[0].source]


async def tell_count(context: RoleContext, points: Sequence[Point], count: Callable[[], int | None]) -> None:
    """Publish how many there are, once each period of the source, until the stop; nothing while that is None."""
    source = context.site.sources[points[0].source]
    publisher = await Publisher.open(context, source.id)
    try:
        while not context.stop.is_set():
            number = None if context.metrics.get("holding") else count()
            for point in () if number is None else points:
                value = np.array([convert(float(number or 0), "", point.engineering_unit)])
                unit, now = context.site.assets[point.asset].unit, np.array([context.clock()])
                good, status = np.array([Quality.GOOD], np.uint8), np.zeros(1, np.uint32)
                publisher.publish_readings(unit, (point.id,), now, now, value, good, status)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(source.period_ns / 1e9):
                    await context.stop.wait()
    finally:
        await _close(publisher)


async def _close(publisher: Publisher) -> None:
    """To its end, also where whoever waits for it is cancelled meanwhile: what it has not sent goes to the spool."""
    closing = asyncio.create_task(publisher.close())
    while not closing.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(closing)
    closing.result()
