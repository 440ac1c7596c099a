"""Role `opcua`: every OPC UA source of the site, each in a task of its own, into the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from gateways.opcua.gateway import SourceGateway, findings_of
from gateways.opcua.security import require_sound
from rules.errors import InvariantError
from streams.publisher.publisher import Publisher
from streams.role import RoleContext

STATUS_EVERY_S = 1.0
SUMMED = (
    "readings",
    "points",
    "points_bad",
    "points_stale",
    "missing_nodes",
    "reconnects",
    "gaps",
    "subscriptions",
)


async def run(context: RoleContext) -> None:
    """Work until `context.stop`.

    Raises ConfigurationError, with every finding, for sources that can't work as the site file has them, and
    InvariantError when a publisher has ended: what it would have carried must not vanish.
    """
    # What asyncua logs with a traceback, each refused connection among it, the gateway says in a line of its own.
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    site = context.site
    sources = [source for source in site.sources.values() if source.kind == "opcua"]
    require_sound([finding for source in sources for finding in findings_of(site, source)])
    publishers = {source.id: await Publisher.open(context, source.id) for source in sources}
    gateways = {
        source.id: SourceGateway(site, source, publishers[source.id], context.settings.run_dir, context.clock)
        for source in sources
    }
    stop = asyncio.Event()
    works = [asyncio.create_task(gateway.run(stop)) for gateway in gateways.values()]
    watch = asyncio.create_task(_watch(context, gateways, publishers))
    try:
        done, _ = await asyncio.wait([watch, *works], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        stop.set()
        watch.cancel()
        await asyncio.gather(watch, *works, return_exceptions=True)
        for publisher in publishers.values():
            await publisher.close()


async def _watch(
    context: RoleContext, gateways: Mapping[str, SourceGateway], publishers: Mapping[str, Publisher]
) -> None:
    """Write the status once a second until the stop; a publisher that has ended ends the role."""
    while not context.stop.is_set():
        by_source = {source: gateway.metrics() for source, gateway in gateways.items()}
        context.metrics["sources"] = by_source
        context.metrics.update({name: sum(part[name] for part in by_source.values()) for name in SUMMED})
        if context.state == "starting" and all(part["state"] != "connecting" for part in by_source.values()):
            context.ready()
        for source, publisher in publishers.items():
            if publisher.metrics["state"] == "ended":
                raise InvariantError(f"the publisher of {source} has ended; its log says why")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(context.stop.wait(), STATUS_EVERY_S)
