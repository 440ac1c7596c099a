"""The roles as the simulation runs them: the production code down to its ports, and what stands in for the field there.

Rules: a role is `async def role(context)`, as in production; ticker and worker are the production roles themselves. The
OPC UA gateway's `SourcePoints` is fed as its session feeds it; the actuators write to the field's targets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from gateways.actuators.actuators import Actuators, target_of
from gateways.actuators.dead_man import DeadMan
from gateways.actuators.fallback_store import FILE, FallbackStore
from gateways.actuators.ledger import CommandLedger
from gateways.actuators.receipts import Receipts
from gateways.opcua.convert import Sample
from gateways.opcua.points import SourcePoints
from gateways.sim.frames import FrameSource
from gateways.whole.field import Field, FieldTarget
from gateways.whole.group import Group, GroupInput
from gateways.whole.process import PROCESS
from gateways.whole.recorded import Recordings
from gateways.whole.tap import Accepted, Tap
from rules.quality import BAD_NO_COMMUNICATION, quality_of_status
from rules.site.model import Source
from streams import ticker
from streams.command_signatures import trusted_keys
from streams.publisher.publisher import Publisher
from streams.record import Message
from streams.recorder import recorder
from streams.role import SCHEMA, RoleContext, Status, status_body
from streams.topics import STATUS
from streams.worker import role as worker

Role = Callable[[RoleContext], Coroutine[Any, Any, None]]
Say = Callable[[Message], None]
"""Puts a message onto the log, if somebody reaches it now."""

SAY_EVERY_S: Final = 1.0
READ_AFTER_S: Final = 0.001
"""Behind the field's step, so that what is read is of this moment."""
ACTUATORS: Final = "actuators"
WORKER: Final = "worker"
TICKER: Final = "ticker"
RECORDER: Final = "recorder"


def roles_of(
    field: Field, group: Group, accepted: Accepted, recordings: Recordings, say: Say
) -> dict[str, Role]:
    """Every role of a site, by the name of its instance."""
    site = field.plant.layout.site
    roles: dict[str, Role] = {name: _speaking(ticker.run, TICKER, say) for name in (TICKER, f"{TICKER}-2")}
    for name in (WORKER, f"{WORKER}-2"):
        roles[name] = _speaking(partial(_worker, group=group), WORKER, say)
    roles[RECORDER] = partial(_recorder, recordings=recordings)
    roles[ACTUATORS] = _speaking(partial(_actuators, field=field, accepted=accepted), ACTUATORS, say)
    for frames in field.frames:
        roles[frames.id] = partial(_frames, field=field, accepted=accepted, source=frames)
    for source in site.sources.values():
        if source.kind == "opcua":
            roles[source.id] = partial(_opcua, field=field, accepted=accepted, source=source)
    return roles


async def _say(context: RoleContext, say: Say) -> None:
    """Once a second what actuators listen to, and nothing that two runs of a seed would not both say.

    Straight onto the log: a fault that waits for a role's next message is for another one.
    """
    while True:
        await asyncio.sleep(SAY_EVERY_S)
        heard: dict[str, Any] = {
            name: context.metrics[name] for name in ("last_tick_ns", "now_ns") if name in context.metrics
        }
        status: Status = {**status_body(context), "pid": 0, "metrics": heard}
        say(
            Message(
                STATUS.name, 0, context.name.encode(), orjson.dumps(status), (("schema", SCHEMA.encode()),)
            )
        )


def _speaking(role: Role, kind: str, say: Say) -> Role:
    """The role, which is of that kind, and its words beside it."""

    async def run(context: RoleContext) -> None:
        context.kind = kind
        saying = asyncio.create_task(_say(context, say))
        try:
            await role(context)
        finally:
            saying.cancel()

    return run


async def _worker(context: RoleContext, group: Group) -> None:
    await worker.run(context, lambda callbacks: GroupInput(group, context.bus, callbacks))


async def _recorder(context: RoleContext, recordings: Recordings) -> None:
    process = PROCESS.get()
    assert process is not None
    recordings.take_over()
    process.disk.append(recordings)
    await recorder.run(context)


async def _frames(context: RoleContext, field: Field, accepted: Accepted, source: FrameSource) -> None:
    """One sample a period of every rack of the source."""
    publisher = await Publisher.open(context, source.id)
    tap: Any = Tap(publisher, source.id, accepted, context.clock)
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
    server = _Server(field, np.array([place[point.id] for point in table.points]))
    carrying = asyncio.create_task(table.carry())
    connected, lost_ns = False, context.clock()
    try:
        while not context.stop.is_set():
            await _until_next(source.period_ns)
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
                server.subscribed()
            server.report(table)
    finally:
        table.finish()
        await carrying
        await publisher.close()


class _Server:
    """The field's OPC UA server as a session sees it: changes are reported, the silent points are read."""

    def __init__(self, field: Field, places: NDArray[np.intp]) -> None:
        self._field = field
        self._places = places
        self.subscribed()

    def subscribed(self) -> None:
        """Every value is new to a subscription that begins."""
        self._values = np.full(len(self._places), np.nan)
        self._status = np.zeros(len(self._places), np.uint32)

    def report(self, table: SourcePoints) -> None:
        """What has changed since the last time, and of the rest what is asked for."""
        places, shown = self._places, self._field.plant.points()
        values, status = shown.values[places], shown.status[places]
        is_stale = self._field.plant.sensors.stale[places]
        changed = ((values != self._values) | (status != self._status)) & ~is_stale
        self._values = np.where(changed, values, self._values)
        self._status = np.where(changed, status, self._status)
        stamps = (shown.time_ns[places] + self._field.start_ns).tolist()
        samples = list(map(_sample, stamps, values.tolist(), status.tolist()))
        for row in np.flatnonzero(changed).tolist():
            table.reported(row, samples[row])
        for row in table.silent():
            table.confirmed(row, samples[row])


def _sample(stamp_ns: int, value: float, status: int) -> Sample:
    return Sample(stamp_ns, stamp_ns, value, quality_of_status(status), status)


async def _actuators(context: RoleContext, field: Field, accepted: Accepted) -> None:
    """As the role of production, with the field's targets."""
    ledger = CommandLedger(context.settings.run_dir / "actuators.sqlite")
    publisher = await Publisher.open(context, ACTUATORS)
    tap: Any = Tap(publisher, ACTUATORS, accepted, context.clock)
    names = sorted({target_of(actuator) for actuator in context.site.actuators.values()})
    targets = {name: FieldTarget(field, name, context.clock) for name in names}
    store = FallbackStore(context.settings.run_dir / FILE)
    trusted = trusted_keys(context.settings.commands.trusted, context.site.name)
    receipts = Receipts(tap)
    dead_man = DeadMan(context, receipts, store, _servers(targets))
    actuators = Actuators(context, receipts, ledger, targets, dead_man, trusted)
    try:
        await actuators.run()
    finally:
        await publisher.close()
        await actuators.tell(everything=True)
        ledger.close()
        store.close()


def _servers(targets: Mapping[str, FieldTarget]) -> dict[str, FieldTarget]:
    return {name: target for name, target in targets.items() if name != "nvml"}


async def _until_next(period_ns: int) -> None:
    """The next multiple of a period, of true time: a source samples by its own oscillator, whatever its clock says."""
    now_s, period_s = asyncio.get_running_loop().time() - READ_AFTER_S, period_ns / 1e9
    due_s = (int(now_s / period_s + 1e-6) + 1) * period_s
    await asyncio.sleep(due_s - now_s)
