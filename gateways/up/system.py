"""The whole system on one machine: the broker, role processes, and the reader that watches them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson

from gateways.alerts.files import has_subscriptions
from gateways.broker import EmbeddedBroker
from gateways.listen import address_of, free_port, port_is_free
from gateways.observability.silent import Silent, silent_parts
from gateways.roles import ROLES
from gateways.up.given_broker import GivenBroker
from gateways.up.observer import RECALLED, Observer
from gateways.up.processes import Processes
from gateways.up.progress import Progress
from gateways.up.resources import Resources, cpu_s
from gateways.up.summary import Cost
from rules.errors import UnreachableError
from rules.site.model import Site
from streams.bus.kafka import KafkaBus
from streams.keys import make_key
from streams.output_file import is_file_name
from streams.record import TopicPartition
from streams.roll import carry_over
from streams.rule_sets.rule_folder import load_program
from streams.rule_sets.rule_set import activation, published_rule_sets, rule_set_message, rule_set_of
from streams.settings import PREFIX, Settings
from streams.topics import TOPICS
from streams.wire import encode_input

if TYPE_CHECKING:
    from gateways.up.command import UpRequest

log = logging.getLogger("headrace.up")

SOURCE_ROLES = ("opcua", "nvml", "ticker", "plant")
"""In the order in which they end: the gateways before the plant, so that its end is no disconnection."""
OWN_SOURCES = ("recorder", "alerts", "actuators")
"""They tell readings of Headrace itself, and read to the end of what the worker says."""
STAYING = ("scada",)
"""Neither held nor ended in a roll: it outlives a log that goes away once it is ready, and not before."""
_LOOK_AGAIN_S = 5.0
LOOK_EVERY_S = 0.2
"""A fetch costs the embedded broker as much as its log is long: who is in no hurry, fetches seldom (decision 0030)."""


class System:
    """Everything that `headrace up` starts."""

    def __init__(
        self, request: UpRequest, site: Site, settings: Settings, run_dir: Path, started: float
    ) -> None:
        self.request = request
        self.site = site
        self.run_dir = run_dir
        self.started = started
        self.observer = Observer(site)
        self.resources = Resources()
        self.rolls = 0
        port = free_port() if request.free_ports else int(settings.broker.bootstrap.rsplit(":", 1)[1])
        if request.bootstrap:
            at = {"bootstrap": request.bootstrap}
        else:
            at = {"bootstrap": f"127.0.0.1:{port}", "security_protocol": "PLAINTEXT"}
        self.settings = settings.model_copy(update={"broker": settings.broker.model_copy(update=at)})
        self.broker = (
            GivenBroker(self.settings.broker)
            if request.bootstrap
            else EmbeddedBroker(port, run_dir, self.settings.broker.partitions)
        )
        self.bus = KafkaBus(self.settings.broker)
        self.nvml_state = run_dir / "nvml.state"
        self.processes = Processes(
            run_dir,
            {
                "HEADRACE_BROKER__BOOTSTRAP": self.settings.broker.bootstrap,
                "HEADRACE_BROKER__SECURITY_PROTOCOL": self.settings.broker.security_protocol,
                "HEADRACE_RUN_DIR": str(run_dir),
                "HEADRACE_FAKE_NVML_STATE": str(self.nvml_state),
            },
        )
        self.progress = Progress(self.processes, self.observer, self.bus)
        self.endpoints = self._endpoints()
        self.scada_endpoint = self._scada_endpoint()
        self._roll_not_before = 0.0
        self._rolling = False
        self._changing = asyncio.Lock()
        """Held by who starts or ends roles: an end that comes in between would leave some of them running."""
        self._ending = False
        self.silent_at_end: list[Silent] = []
        self._broker_cpu_s = 0.0
        self._broker_cpu_s_ended = 0.0

    def _endpoints(self) -> dict[str, str]:
        """Options that move OPC UA endpoints to free ports; refuses one that is taken."""
        options = {}
        for source in self.site.sources.values():
            if source.kind != "opcua":
                continue
            url = urlsplit(source.endpoint)
            if self.request.free_ports:
                options[f"endpoint.{source.id}"] = f"opc.tcp://127.0.0.1:{free_port()}{url.path}"
            elif url.port and not port_is_free(url.port):
                raise UnreachableError(
                    f"port {url.port}, which {source.id} needs for the simulated plant, is taken: end the other "
                    "program, change the endpoint in site.yaml, or use --free-ports"
                )
        return options

    def _scada_endpoint(self) -> str:
        """Where SCADA finds its server; refuses a port that is taken."""
        url = urlsplit(self.settings.scada.endpoint)
        if self.request.free_ports:
            return f"opc.tcp://127.0.0.1:{free_port()}{url.path}"
        if url.port and not port_is_free(url.port):
            raise UnreachableError(
                f"port {url.port}, which the SCADA server needs, is taken: end the other program, set scada.endpoint "
                "in headrace.yaml, or use --free-ports"
            )
        return self.settings.scada.endpoint

    async def start(self) -> None:
        """Broker, topics, activation, and all roles but those that bring samples, which `watch` starts."""
        await self.broker.start()
        if self.broker.pid is not None:  # one that was there has worked before
            self._broker_cpu_s_ended = -cpu_s(self.broker.pid)
        # before any role says a word: all that comes behind is the run's own
        self.observer.begin(await self._ends(), time.time_ns())
        if self.request.free_ports and not self.request.bootstrap:
            where = self.settings.broker.bootstrap
            log.info("other commands reach this site with HEADRACE_BROKER__BOOTSTRAP=%s", where)
        await self._activate()
        await self._start("ticker")
        await self._start_consumers()

    async def _ends(self) -> dict[TopicPartition, int]:
        found: dict[TopicPartition, int] = {}
        for topic in TOPICS:
            found |= await self.bus.ends(topic.name)
        return found

    def _plant_options(self) -> dict[str, str]:
        request = self.request
        plant = {
            "seed": str(request.seed),
            "plc": "on" if request.plc else "off",
            "nvml_state": str(self.nvml_state),
            "write_log": str(self.run_dir / "device-writes.jsonl"),
        }
        if request.faults:
            plant["faults"] = ",".join(request.faults)
            plant["faults_from_ns"] = str(time.time_ns() - round((time.monotonic() - self.started) * 1e9))
        return plant

    async def _start(self, role: str, options: Mapping[str, str] | None = None) -> None:
        environment = {**self._command_keys(role), **self.request.environments.get(role, {})}
        given = {**self.endpoints, **self._http(role), **(options or {})}
        has_spare = role == "worker" and bool(self.request.bootstrap)
        await self.processes.start(
            role, self.request.site, given, environment=environment, has_spare=has_spare
        )

    def _command_keys(self, role: str) -> dict[str, str]:
        """Of this run, on a broker of its own: the worker's key, and for the actuators the public part of it."""
        commands = self.settings.commands
        if self.request.bootstrap or commands.key or commands.trusted or role not in ("worker", "actuators"):
            return {}
        private = (self.run_dir / "commands.pem").resolve()
        public = private.with_name(f"{private.name}.pub") if private.exists() else make_key(private)
        if role == "worker":
            return {f"{PREFIX}COMMANDS__KEY": str(private)}
        return {f"{PREFIX}COMMANDS__TRUSTED": orjson.dumps([str(public)]).decode()}

    def _http(self, role: str) -> dict[str, str]:
        """Where a role serves its metrics, if the settings want that: each at a port of its own, from theirs on."""
        found = address_of(self.settings.http.listen)
        if found is None:
            return {}
        first = found[1]
        port = first + list(ROLES).index(role) if first and not self.request.free_ports else 0
        return {"http": f"{self.settings.http.listen.rpartition(':')[0]}:{port}"}

    async def _start_consumers(self) -> None:
        crashes = {"crash_at": ",".join(self.request.crashes)} if self.request.crashes else {}
        await self._start("worker", crashes)
        if not self.request.monitor_only:
            await self._start("actuators")
        if has_subscriptions(self.request.site):
            await self._start("alerts", {"listen": "127.0.0.1:0"} if self.request.free_ports else {})
        if self.request.record is not None:
            name = self.request.record.resolve()
            if not is_file_name(name):
                await self._start("recorder", {"folder": str(name)})
            else:
                file = name if not self.rolls else name.with_stem(f"{name.stem}-{self.rolls}")
                await self._start("recorder", {"file": str(file)})

    async def _activate(self) -> None:
        """Say on a log without rules that the folder's rule; nothing where a root key would have to sign that."""
        load_program(self.request.site, self.site)  # what is wrong is said in the words of its files
        if self.site.root_key or await published_rule_sets(self.bus):
            return  # the worker begins with the folder's, or goes on with those of the log
        rule_set = rule_set_of(self.request.site, self.site)
        producer = await self.bus.producer("up-activation")
        await producer.send(rule_set_message(rule_set))
        for unit in self.site.units:
            value = activation(self.site, unit, rule_set.digest, time.time_ns())
            await producer.send(encode_input(value, self.settings.broker.partitions))
        await producer.flush()
        await producer.close()

    async def _begin_events(self) -> None:
        """The first records of a fresh log, from one writer: several at once can leave a hole (decision 0030).

        Each unit's last tick again, which is a repeat: its rules are those of its snapshot.
        """
        producer = await self.bus.producer("up-roll")
        for tick in self.observer.ticks.values():
            await producer.send(encode_input(tick, self.settings.broker.partitions))
        await producer.flush()
        await producer.close()

    async def watch(self) -> None:
        """Read every topic, start what brings samples, sample memory and CPU; until cancelled."""
        parts = (self._read(), self._start_sources(), self._sample(), self._watch_broker())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            await asyncio.gather(*tasks)
        finally:  # one that fails takes the others with it: nothing is started any more
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch_broker(self) -> None:
        """Its log is in its memory: when it ends by itself, there is nothing left to go on with."""
        while True:
            code = await self.broker.wait()
            if not self._rolling and self.broker.pid is None:
                raise UnreachableError(
                    f"the embedded broker ended with {code}, and its log, which was in its memory, is gone: start again"
                )
            await asyncio.sleep(0.05)

    async def _start_sources(self) -> None:
        """Each when its turn has come, however long that takes on a slow machine.

        Samples before the first tick would not be evaluated. A gateway that finds no plant would begin with a
        disconnection. SCADA comes last: it takes seconds of a core to start, and nothing waits for it.
        """
        await _until(lambda: self.observer.ticks.keys() >= set(self.site.units))
        await self._start_unless_ending("plant", self._plant_options())
        await _until(lambda: self._is_ready("plant"))
        for role in ("opcua", "nvml"):
            await self._start_unless_ending(role)
        log.info("SCADA finds its server at %s", self.scada_endpoint)
        await self._start_unless_ending("scada", {"endpoint": self.scada_endpoint})

    async def _start_unless_ending(self, role: str, options: Mapping[str, str] | None = None) -> None:
        async with self._changing:
            if not self._ending:
                await self._start(role, options)

    async def _read(self) -> None:
        start = {place: 0 if place.topic in RECALLED else end for place, end in self.observer.began.items()}
        reader = await self.bus.reader([topic.name for topic in TOPICS], start)
        try:
            while True:
                for record in await reader.read(timeout_s=0.5, limit=2000):
                    self.observer.see(record)
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await reader.close()

    async def _sample(self) -> None:
        while True:
            self._sample_cpu()
            if int(time.monotonic() - self.started) % 5 == 0:
                self._sample_memory()
            if self._is_log_full() and time.monotonic() >= self._roll_not_before:
                async with self._changing:
                    if not self._ending:
                        await self.roll()
            await asyncio.sleep(1.0)

    def _sample_memory(self) -> None:
        others = {name: pid for name, child in self.processes.children.items() if (pid := child.pid)}
        spares = {f"{name}, spare": child.spare for name, child in self.processes.children.items()}
        others |= {name: spare.pid for name, spare in spares.items() if spare and spare.returncode is None}
        others["up"] = os.getpid()
        self.resources.sample(time.monotonic() - self.started, self.broker.pid, others)

    def _sample_cpu(self) -> None:
        for child in self.processes.children.values():
            if child.pid is not None:  # one that is just ending has no more to say, and keeps what it said
                child.cpu_s_seen = max(child.cpu_s_seen, cpu_s(child.pid))
        if self.broker.pid is not None:
            self._broker_cpu_s = max(self._broker_cpu_s, cpu_s(self.broker.pid))

    def _is_log_full(self) -> bool:
        limits = self.settings.broker
        return isinstance(self.broker, EmbeddedBroker) and (
            self.resources.broker_mb > limits.embedded_limit_mb
            or self.observer.longest_partition > limits.embedded_limit_records
        )

    async def roll(self) -> None:
        """Go on with a fresh log before memory runs out: the same act as restoring a site on an empty Kafka.

        Publishers hold; the worker reads to the end and stops with final snapshots; what must survive is carried
        over to the fresh broker; everybody goes on. Nothing is lost: what is held is sent afterwards, in order. While
        somebody is still starting, who could not be held or whom a log that goes away would end, it waits.
        """
        began = time.monotonic()
        starting = [role for role in (*SOURCE_ROLES, *OWN_SOURCES) if not self.progress.is_up(role)]
        if starting := [*starting, *(role for role in STAYING if not self.progress.is_ready(role))]:
            log.info("the embedded log is rolled once %s is up", ", ".join(starting))
            self._roll_not_before = began + _LOOK_AGAIN_S
            return
        log.info(
            "the embedded log has %.0f MB, %d records in a partition: rolling to a fresh one",
            self.resources.broker_mb,
            self.observer.longest_partition,
        )
        for role in (*SOURCE_ROLES, *OWN_SOURCES):
            self.processes.signal(role, signal.SIGUSR1)
        if not await self.progress.drained(10.0):
            # what is not read would be lost with the log: it goes on, and is rolled when they have caught up
            for role in (*SOURCE_ROLES, *OWN_SOURCES):
                self.processes.signal(role, signal.SIGUSR2)
            self._roll_not_before = time.monotonic() + 30.0
            return
        for role in ("actuators", "worker", "alerts", "recorder"):
            await self.processes.end(role)
        carried = await carry_over(self.bus, self._fresh_log)
        await self._begin_events()
        self.rolls += 1
        self.observer.longest_partition = 0
        await self._start_consumers()
        for role in SOURCE_ROLES:
            self.processes.signal(role, signal.SIGUSR2)
        log.info("rolled in %.1f s, %d records carried over", time.monotonic() - began, carried)

    async def _fresh_log(self) -> KafkaBus:
        self._sample_cpu()
        self._rolling = True
        await self.broker.stop()
        self._broker_cpu_s_ended, self._broker_cpu_s = self._broker_cpu_s_ended + self._broker_cpu_s, 0.0
        await self.broker.start()
        self._rolling = False
        return self.bus

    def _is_ready(self, role: str) -> bool:
        status = self.observer.status.get(role)
        return status is not None and status["state"] == "ready"

    def silent(self) -> list[Silent]:
        """Which role, or part of one, is silent now, by what the log says of those that were started."""
        return silent_parts(self.observer.status.values(), list(self.processes.children), time.time_ns())

    async def end(self) -> None:
        """Sources, then worker and actuators once they have read everything, then the recorder."""
        self.silent_at_end = self.silent()
        self._ending = True
        async with self._changing:
            await self._end_in_order()

    async def _end_in_order(self) -> None:
        for role in SOURCE_ROLES:
            await self.processes.end(role)
        for role in OWN_SOURCES:
            if self.progress.is_up(role):  # what it says of itself would come behind the worker
                self.processes.signal(role, signal.SIGUSR1)
        await self.progress.drained(20.0)
        self._sample_memory()
        self._sample_cpu()
        for role in ("actuators", "worker", "scada", "alerts", "recorder"):
            await self.processes.end(role)
        await self._settle()

    async def _settle(self) -> None:
        """Let our own reader see the last records: the status that every role leaves behind."""
        until = time.monotonic() + 3.0
        wanted = set(self.processes.children)
        while time.monotonic() < until:
            said = {name for name, status in self.observer.status.items() if status["state"] == "stopping"}
            if wanted <= said:
                return
            await asyncio.sleep(0.1)

    async def end_processes(self) -> None:
        """End whatever still runs, the broker last."""
        await self.processes.end_all()
        await self.bus.close()
        self._sample_cpu()
        await self.broker.stop()

    def cpu_s_by_role(self) -> dict[str, float]:
        """CPU seconds so far, as last seen; those of a role are of all its processes."""
        by_role = {name: child.cpu_s for name, child in self.processes.children.items()}
        by_role["broker"] = self._broker_cpu_s_ended + self._broker_cpu_s
        by_role["up"] = time.process_time()
        return by_role

    def cost(self) -> Cost:
        """What the run cost so far."""
        first = self.observer.first_reading_at
        return Cost(
            cpu_s_by_role=self.cpu_s_by_role(),
            wall_s=time.monotonic() - self.started,
            resources=self.resources,
            first_reading_s=None if first is None else first - self.started,
            rolls=self.rolls,
            silent=self.silent_at_end,
            restarts=self.processes.restarts,
            exits={name: child.exits for name, child in self.processes.children.items()},
        )


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.05)
