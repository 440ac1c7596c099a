"""Role `actuators`: every actuator of the site, from `commands` to the devices.

Rule: a disk that takes nothing ends nothing here, from the start on: the dead man lives in this process.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from typing import Final

from gateways.actuators.actuators import Actuators
from gateways.actuators.dead_man import DeadMan
from gateways.actuators.fallback_store import FILE, FallbackStore
from gateways.actuators.ledger import CommandLedger
from gateways.actuators.nvml_target import NvmlTarget
from gateways.actuators.opcua_target import OpcuaTarget
from gateways.actuators.outcome import Target
from gateways.actuators.receipts import Receipts
from gateways.nvml.library import open_nvml
from gateways.observability.traces import open_traces, untraced
from gateways.opcua.security import check_security, require_sound
from streams.command_signatures import trusted_keys
from streams.log_limit import limited
from streams.publisher.publisher import Publisher
from streams.role import RoleContext

SOURCE = "actuators"
OPEN_AGAIN_S: Final = 5.0

log = logging.getLogger(__name__)
log_again = limited(__name__)


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
        if nvml.refusal:
            log.error("nvml: %s", nvml.refusal)
    trusted = trusted_keys(context.settings.commands.trusted, context.site.name)
    ledger, store = CommandLedger(run_dir / "actuators.sqlite"), FallbackStore(run_dir / FILE)
    receipts = Receipts()
    traces = open_traces(context)
    trace = untraced if traces is None else traces.see
    dead_man = DeadMan(context, receipts, store, servers)
    worker = Actuators(context, receipts, ledger, targets, dead_man, trusted, trace)
    working = [
        asyncio.create_task(carry(context, receipts)),
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
        if receipts.publisher is not None:
            await receipts.publisher.close()
            await worker.tell(everything=True)
        ledger.close()
        store.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)
    for result in ended:
        if isinstance(result, Exception):
            raise result


async def carry(context: RoleContext, receipts: Receipts) -> None:
    """Until cancelled. ConfigurationError for a spool that this process can't have; what only its disk refuses now is
    tried again.
    """
    while receipts.publisher is None:
        try:
            receipts.carry(await Publisher.open(context, SOURCE))
        except (OSError, sqlite3.Error) as error:
            log_again.error("the publisher can't be opened, receipts wait: %s", str(error))
            await asyncio.sleep(OPEN_AGAIN_S)
    await asyncio.Event().wait()
