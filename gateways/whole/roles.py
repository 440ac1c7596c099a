"""The roles as the simulation runs them: the production code down to its ports, and what stands in for the field there.

Rules: a role is `async def role(context)`, as in production; ticker and worker are the production roles themselves. The
OPC UA gateway's `SourcePoints` is fed as its session feeds it; the actuators write to the field's targets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import numpy as np

from gateways.actuators.actuators import Actuators, target_of
from gateways.actuators.ledger import CommandLedger
from gateways.opcua.convert import Sample
from gateways.opcua.points import SourcePoints
from gateways.whole.field import Field, FieldTarget
from gateways.whole.group import Group, GroupInput
from gateways.whole.tap import Accepted, Tap
from rules.quality import BAD_NO_COMMUNICATION, quality_of_status
from rules.site.model import Source
from streams import ticker, worker
from streams.publisher import Publisher
from streams.role import RoleContext

Role = Callable[[RoleContext], Awaitable[None]]

READ_AFTER_S: Final = 0.001
"""Behind the field's step, so that what is read is of this moment."""
ACTUATORS: Final = "actuators"
WORKER: Final = "worker"
TICKER: Final = "ticker"


def roles_of(field: Field, group: Group, accepted: Accepted) -> dict[str, Role]:
    """Every role of a site, by the name of its instance."""
    site = field.plant.layout.site
    roles: dict[str, Role] = {TICKER: ticker.run, f"{TICKER}-2": ticker.run}
    for name in (WORKER, f"{WORKER}-2"):
        roles[name] = partial(_worker, group=group)
    roles[ACTUATORS] = partial(_actuators, field=field, accepted=accepted)
    for frames in field.frames:
        roles[frames.id] = partial(_frames, field=field, accepted=accepted, name=frames.id)
    for source in site.sources.values():
        if source.kind == "opcua":
            roles[source.id] = partial(_opcua, field=field, accepted=accepted, source=source)
    return roles


async def _worker(context: RoleContext, group: Group) -> None:
    await worker.run(context, lambda callbacks: GroupInput(group, context.bus, callbacks))


async def _frames(context: RoleContext, field: Field, accepted: Accepted, name: str) -> None:
    """One sample a period of every rack of the source."""
    source = next(one for one in field.frames if one.id == name)
    publisher = await Publisher.open(context, name)
    tap: Any = Tap(publisher, name, accepted, context.clock)
    try:
        while not context.stop.is_set():
            await _until_next(source.period_ns)
            source.publish(tap, field.telemetry, context.clock())
    finally:
        await publisher.close()


async def _opcua(context: RoleContext, field: Field, accepted: Accepted, source: Source) -> None:
    """Changes and standing values once a period, as a subscription and the confirming reads bring them."""
    publisher = await Publisher.open(context, source.id)
    tap: Any = Tap(publisher, source.id, accepted, context.clock)
    loop = asyncio.get_running_loop()
    table = SourcePoints(context.site, source, tap, context.clock, loop.time)
    place = {point.id: place for place, point in enumerate(field.plant.sensors.points)}
    rows = [place[point.id] for point in table.points]
    periods = np.maximum([point.period_ns // source.period_ns for point in table.points], 1)
    carrying = asyncio.create_task(table.carry())
    connected, lost_ns, turn = False, context.clock(), 0
    try:
        while not context.stop.is_set():
            await _until_next(source.period_ns)
            turn += 1
            if source.id in field.away:
                if connected:
                    connected, lost_ns = False, context.clock()
                    table.declare_bad(range(len(table)), BAD_NO_COMMUNICATION)
                continue
            if not connected:
                connected = True
                now_ns = context.clock()
                table.report_gap("disconnected", lost_ns, now_ns, table.expected(lost_ns, now_ns))
                table.subscribing(range(len(table)))
            _report(table, field, rows, turn % periods == 0)
    finally:
        table.finish()
        await carrying
        await publisher.close()


def _report(table: SourcePoints, field: Field, rows: list[int], due: Any) -> None:
    shown, stale = field.plant.points(), field.plant.sensors.stale
    times, values, status = shown.time_ns.tolist(), shown.values.tolist(), shown.status.tolist()
    for row, place in enumerate(rows):
        if due[row] and not stale[place]:
            stamp, code = times[place] + field.start_ns, status[place]
            table.reported(row, Sample(stamp, stamp, values[place], quality_of_status(code), code))


async def _actuators(context: RoleContext, field: Field, accepted: Accepted) -> None:
    """As the role of production, with the field's targets."""
    ledger = CommandLedger(context.settings.run_dir / "actuators.sqlite")
    publisher = await Publisher.open(context, ACTUATORS)
    tap: Any = Tap(publisher, ACTUATORS, accepted, context.clock)
    names = sorted({target_of(actuator) for actuator in context.site.actuators.values()})
    targets = {name: FieldTarget(field, name, context.clock) for name in names}
    actuators = Actuators(context, tap, ledger, targets)
    try:
        await actuators.run()
    finally:
        await publisher.close()
        await actuators.tell(everything=True)
        ledger.close()


async def _until_next(period_ns: int) -> None:
    """The next multiple of a period, of true time: a source samples by its own oscillator, whatever its clock says."""
    now_s, period_s = asyncio.get_running_loop().time() - READ_AFTER_S, period_ns / 1e9
    due_s = (int(now_s / period_s + 1e-6) + 1) * period_s
    await asyncio.sleep(due_s - now_s)
