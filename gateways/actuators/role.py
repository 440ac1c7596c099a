"""Role `actuators`: every actuator of the site, from `commands` to the devices."""

from __future__ import annotations

import asyncio
import logging

from gateways.actuators.actuators import Actuators
from gateways.actuators.dead_man import DeadMan
from gateways.actuators.fallback_store import FILE, FallbackStore
from gateways.actuators.ledger import CommandLedger
from gateways.actuators.nvml_target import DRIVER_REFUSED, NvmlTarget
from gateways.actuators.opcua_target import OpcuaTarget
from gateways.actuators.outcome import Target
from gateways.nvml.library import open_nvml
from gateways.observability.traces import open_traces, untraced
from gateways.opcua.security import check_security, require_sound
from streams.command_signatures import trusted_keys
from streams.publisher.publisher import Publisher
from streams.role import RoleContext

SOURCE = "actuators"

log = logging.getLogger(__name__)


async def run(context: RoleContext) -> None:
    """Work until `context.stop`. Raises ConfigurationError for an endpoint that can't work as it is written."""
    # asyncua logs every refused connection with a traceback; the target says it in one line.
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    run_dir = context.settings.run_dir
    actuators = context.site.actuators.values()
    sources = {actuator.source for actuator in actuators if actuator.kind == "opcua"}
    servers = {
        name: OpcuaTarget(context.site.sources[name], run_dir, context.clock) for name in sorted(sources)
    }
    require_sound([finding for server in servers.values() for finding in check_security(server.source)])
    targets: dict[str, Target] = dict(servers)
    if any(actuator.kind == "nvml" for actuator in actuators):
        nvml = NvmlTarget(await asyncio.to_thread(open_nvml, run_dir), context.clock)
        targets["nvml"] = nvml
        context.metrics["face"] = nvml.face
        if nvml.face == "driver":
            log.error("nvml: %s", DRIVER_REFUSED)
    trusted = trusted_keys(context.settings.commands.trusted, context.site.name)
    ledger, store = CommandLedger(run_dir / "actuators.sqlite"), FallbackStore(run_dir / FILE)
    publisher = await Publisher.open(context, SOURCE)
    traces = open_traces(context)
    trace = untraced if traces is None else traces.see
    dead_man = DeadMan(context, publisher, store, servers)
    worker = Actuators(context, publisher, ledger, targets, dead_man, trusted, trace)
    working = [
        asyncio.create_task(worker.run()),
        *(asyncio.create_task(server.run()) for server in servers.values()),
    ]
    try:
        await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in working:
            task.cancel()
        ended = await asyncio.gather(*working, return_exceptions=True)
        for target in targets.values():
            await target.close()
        await publisher.close()
        await worker.tell(everything=True)
        ledger.close()
        store.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)
    for result in ended:
        if isinstance(result, Exception):
            raise result
