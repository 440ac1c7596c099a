"""Role `scada`: the OPC UA server of a site (docs/scada.md).

Option: `endpoint` in place of that of the settings.

Rules: clients are let in when the whole picture of `alarms` has been read; a log that has a hiccup, or a worker that
is gone, ends no session: values grow old and say so, the heartbeat stands still. Only what the log says is shown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from gateways.access.signing import needed_edge_key
from gateways.access.users import Users
from gateways.actions import action_sender
from gateways.role_options import unknown_options
from gateways.scada.certificates import Pki
from gateways.scada.conditions import Conditions
from gateways.scada.heartbeat import Heartbeat
from gateways.scada.history import History
from gateways.scada.history_read import HistoryReader
from gateways.scada.hub import Hub
from gateways.scada.methods import Methods
from gateways.scada.model import Model
from gateways.scada.rule_facts import RuleFacts
from gateways.scada.server import Core, ScadaServer
from gateways.scada.values import PlantValues
from rules.engine.inputs import Frame, Readings, Tick
from rules.engine.outputs import Alarm
from rules.errors import ConfigurationError, UndecodableError, UnreachableError
from streams.bus.bus import Reader, up_to_the_end
from streams.last_words import LastWords
from streams.log_limit import limited
from streams.record import Record, TopicPartition
from streams.replay_mark import replay_of
from streams.role import RoleContext, as_status
from streams.rule_sets.rule_folder import load_program
from streams.rule_sets.rule_set import newest_rule_set, published_rule_sets, taken_up
from streams.topics import ALARMS, EVENTS, JOURNAL, STATUS
from streams.wire import decode_input, decode_output

log = logging.getLogger("headrace.scada")
log_again = limited("headrace.scada")
T = TypeVar("T")

READ_S: Final = 0.2
AGAIN_S: Final = 1.0
ALARMS_PAUSE_S: Final = 0.05
INPUTS_PAUSE_S: Final = 0.2
"""A fetch costs the embedded broker as much as its log is long (decision 0030): many records at once are cheaper."""
BEAT_S: Final = 1.0


class Scada:
    """All parts of the role."""

    def __init__(self, context: RoleContext) -> None:
        settings, site = context.settings.scada, context.site
        _check(context)
        self.context = context
        self.metrics = context.metrics
        model = Model(site)
        users = Users(context.site_dir)
        self.key = None if users.is_open else needed_edge_key(context.settings, "scada")
        self.heartbeat = Heartbeat(site.units, context.clock)
        self.values = PlantValues(site, model, context.clock, self.heartbeat.sample)
        self.history = History(list(site.points.values()), settings.history_h, settings.history_mb)
        self.facts = RuleFacts(site, model)
        self.conditions = Conditions(self.facts.source)
        self.last_words = LastWords()
        folder = settings.pki or context.settings.run_dir / "scada-pki"
        pki = Pki(folder, context.clock)
        core = Core(users, pki, settings.allow_none, context.metrics)
        self.hub = Hub(
            core.types, self.values, lambda: self.conditions.standing(context.clock), context.clock
        )
        self.methods = Methods(site, self.conditions, self.hub, self.facts.has_rule, context.metrics)
        core.use(self.hub, HistoryReader(self.history, self.values.place_of, core.aspace), self.methods)
        endpoint = context.options.get("endpoint", settings.endpoint)
        self.server = ScadaServer(core, endpoint, site.name)
        self._model = model
        self._rules_digest, self._knows_rules = "", False
        self.metrics.update(
            alarms=0, transitions=0, stale_words=0, readings=0, frames=0, unreadable=0, history_values=0
        )
        self.metrics.update(endpoint=endpoint, pki=str(folder.resolve()))

    async def prepare(self) -> None:
        """Rules, address space, certificate. UnreachableError: there is no log, or none of a site."""
        if not await self.context.bus.partitions(ALARMS.name):
            raise UnreachableError(
                "the log has no topic 'alarms': start the site with `headrace up`, or create its topics"
            )
        await self._take_up("")
        await self.server.prepare(self._model, self.values.data_value)

    async def _take_up(self, digest: str) -> None:
        """The rules of a digest; without one the newest of the log, or those of the folder."""
        bus, site = self.context.bus, self.context.site
        try:
            sets = await published_rule_sets(bus) if digest else {}
            rule_set = sets.get(digest) if digest else await newest_rule_set(bus, site)
            if rule_set is None and digest:
                return
            program = await asyncio.to_thread(
                lambda: (
                    load_program(self.context.site_dir, site) if rule_set is None else rule_set.program(site)
                )
            )
        except (ConfigurationError, UnreachableError) as error:
            log.warning("types and limits of alarms stay those of before: %s", error)
            return
        self.facts.take_up(program)
        self._rules_digest = "" if rule_set is None else rule_set.digest

    # What the log says.

    def see_alarms(self, records: Sequence[Record]) -> None:
        """Words on alarms."""
        now_ns = self.context.clock()
        for record in records:
            if not self.last_words.wins(record):
                self.metrics["stale_words"] += 1
                continue
            try:
                word = decode_output(record.headers, record.value) if record.value is not None else None
            except UndecodableError:
                self.metrics["unreadable"] += 1
                continue
            if isinstance(word, Alarm) and word.unit in self.context.site.units:
                event = self.conditions.see(word, now_ns)
                if event is not None:
                    self.metrics["transitions"] += 1
                    self.hub.say(event)
        self.metrics["alarms"] = len(self.conditions)

    async def see_inputs(self, records: Sequence[Record]) -> None:
        """Readings, frames and ticks; rules that units have taken up; and the words of roles."""
        for record in records:
            try:
                if record.topic == STATUS.name:
                    await self._see_status(record)
                    continue
                if record.topic == JOURNAL.name:
                    await self._see_journal(record)
                    continue
                value = decode_input(record.key, record.headers, record.value)
            except UndecodableError:
                self.metrics["unreadable"] += 1
                continue
            if value.unit not in self.context.site.units:
                continue
            if isinstance(value, Readings):
                self._see_readings(value)
            elif isinstance(value, Frame):
                self.values.see_frame(value)
                self.metrics["frames"] += 1
            elif isinstance(value, Tick):
                self.heartbeat.hear_tick(value.unit)

    async def _see_journal(self, record: Record) -> None:
        unit, digest = taken_up(record) or ("", "")
        if unit in self.context.site.units:
            self._knows_rules = True
            if digest != self._rules_digest:
                await self._take_up(digest)

    def _see_readings(self, readings: Readings) -> None:
        if readings.backfill:
            return
        taken = self.values.see_readings(readings)
        self.metrics["readings"] += len(taken.places)
        self.history.add(taken.places, taken.times, taken.values, taken.status)
        self.hub.show(self.values.nodes[place] for place in taken.changed)

    async def _see_status(self, record: Record) -> None:
        """A worker that is ready works, and knows which rules rule. UndecodableError: anyone can write to the topic."""
        if record.value is None:
            return
        status = as_status(record.value)
        if status is None:
            raise UndecodableError("status", "it says nothing of a role")
        if status["kind"] != "worker":
            return
        if status["state"] == "ready":
            self.heartbeat.hear_worker()
        rules = status["metrics"].get("rules")
        ruling = {str(one) for one in rules.values()} if isinstance(rules, dict) else set()
        if ruling and not self._knows_rules:  # those of its start were a guess; the journal says what follows
            self._knows_rules = True
            if self._rules_digest not in ruling:
                await self._take_up(max(ruling))

    # The loops.

    async def read_alarms(self) -> None:
        """The whole picture first, and then let clients in."""
        reader = await _patiently(self._alarms_so_far)
        try:
            await self.server.start()
            self.context.ready()
            while True:
                self.see_alarms(await reader.read(READ_S, limit=2_000))
                await asyncio.sleep(ALARMS_PAUSE_S)
        finally:
            await reader.close()

    async def _alarms_so_far(self) -> Reader:
        """A reader behind them. What is read twice is seen once."""
        bus = self.context.bus
        reader = await bus.reader([ALARMS.name])
        try:
            self.see_alarms([record async for record in up_to_the_end(bus, reader, ALARMS.name)])
        except BaseException:
            await reader.close()
            raise
        return reader

    async def read_inputs(self) -> None:
        """From now on."""
        reader = await _patiently(self._inputs_from_now)
        try:
            while True:
                await self.see_inputs(await reader.read(READ_S, limit=2_000))
                await asyncio.sleep(INPUTS_PAUSE_S)
        finally:
            await reader.close()

    async def _inputs_from_now(self) -> Reader:
        bus, start = self.context.bus, dict[TopicPartition, int]()
        topics = (EVENTS.name, JOURNAL.name, STATUS.name)
        for topic in topics:
            start |= await bus.ends(topic)
        return await bus.reader(topics, start)

    async def beat(self) -> None:
        """Once a second: the heartbeat, what has grown old, the metrics."""
        while True:
            await self.server.set_service_level(self.heartbeat.beat())
            self.hub.show(self.hub.watched())
            subscriptions = self.server.core.subscription_service
            self.metrics.update(
                sessions=len(self.server.core._external_sessions),
                subscriptions=len(subscriptions.subscriptions),
                notifications=self.hub.notifications,
                notifications_lost=subscriptions.lost,
                history_values=self.history.kept,
                silent=list(self.heartbeat.silent),
            )
            await asyncio.sleep(BEAT_S)

    async def act(self) -> None:
        """Let operators act, unless this is a replay's log."""
        await _patiently(self._act)

    async def _act(self) -> None:
        context = self.context
        if (replay := await replay_of(context.bus)) is not None:
            log.warning("a replay of %s runs here: nobody can act", replay.recording)
            await _for_ever()
        try:
            async with action_sender(
                context.bus, context.site, "scada", self.key, context.clock
            ) as self.methods.sender:
                await _for_ever()
        finally:
            self.methods.sender = None


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Its result, tried again while the log is away: that ends no session."""
    while True:
        try:
            return await work()
        except UnreachableError as error:
            log_again.warning("the log is away, and is asked again: %s", error)
            await asyncio.sleep(AGAIN_S)


async def _for_ever() -> None:
    """Until it is cancelled."""
    await asyncio.Event().wait()


def _check(context: RoleContext) -> None:
    if findings := unknown_options("scada", context.options, ("endpoint",)):
        raise ConfigurationError(findings)


async def run(context: RoleContext) -> None:
    """Serve until told to stop. Raises ConfigurationError, UnreachableError (no log; a port that is taken)."""
    # what asyncua logs of each refused request with a traceback, is counted and said in a line
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    logging.getLogger("asyncua.server.internal_subscription").setLevel(logging.ERROR)
    scada = Scada(context)
    await scada.prepare()
    stopped = asyncio.create_task(context.stop.wait())
    works = [
        asyncio.create_task(work()) for work in (scada.read_alarms, scada.read_inputs, scada.beat, scada.act)
    ]
    try:
        done, _ = await asyncio.wait([stopped, *works], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (stopped, *works):
            task.cancel()
        await asyncio.gather(stopped, *works, return_exceptions=True)
        await scada.server.stop()
