"""Apache Kafka for a bench: one broker or several in KRaft mode, as child processes, from a folder of its jars.

Rules: what is killed keeps its data, and comes back with it; everything listens on the loopback address. Besides the
listener that everybody may use there is one for each of `links`: its clients are sent through a `Link`, which can
hold or cut what they say.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateways.bench.link import Link
from gateways.listen import free_port
from rules.errors import UnreachableError

START_LIMIT_S: Final = 120.0
_JVM: Final = (
    "-Xms96m",
    "-Xmx320m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:MaxDirectMemorySize=96m",
    "-XX:-UsePerfData",
)
_LOG4J: Final = """
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""


@dataclass(slots=True)
class _Node:
    number: int
    folder: Path
    ports: Mapping[str, int]
    """By the name of a listener; CONTROLLER and PLAIN among them."""

    process: asyncio.subprocess.Process | None = None
    links: dict[str, Link] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None


def refuse_no_kafka(jars: Path) -> None:
    """UnreachableError where there is no Java, or the folder has no jars of Apache Kafka."""
    if shutil.which("java") is None:
        raise UnreachableError("Java is not installed: Apache Kafka needs a Java runtime (17 or later)")
    if not list(jars.glob("kafka_2.*.jar")):
        raise UnreachableError(f"no jars of Apache Kafka in {jars}: make them with mvn, see docs/chaos.md")


class KafkaCluster:
    """Brokers 1 to `nodes`, each with its data below `folder`; `jars` is a folder of Apache Kafka's.

    Three keep each record three times, and take one that two of them have.
    """

    pid: int | None = None
    """Of the one process that a system measures; here are several."""

    def __init__(
        self, folder: Path, jars: Path, nodes: int = 1, links: Sequence[str] = (), append_time: bool = False
    ) -> None:
        """`append_time`: a record's time is when the broker took it, not when it was sent."""
        refuse_no_kafka(jars)
        self._jars = jars
        self._folder = folder
        self._timestamps = "LogAppendTime" if append_time else "CreateTime"
        self._links = tuple(name.upper() for name in links)
        names = ("CONTROLLER", "PLAIN", *self._links)
        self._nodes = {
            number: _Node(number, folder / f"broker-{number}", {name: free_port() for name in names})
            for number in range(1, nodes + 1)
        }

    @property
    def bootstrap(self) -> str:
        """Where anyone finds it."""
        return ",".join(f"127.0.0.1:{node.ports['PLAIN']}" for node in self._nodes.values())

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of the brokers."""
        return tuple(self._nodes)

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the brokers that run."""
        running = (node.process for node in self._nodes.values() if node.is_running)
        return tuple(process.pid for process in running if process is not None)

    def log_bytes(self, topic: str) -> int:
        """What the first broker keeps of a topic: the batches as they came over the network, without their indexes."""
        folder = self._nodes[1].folder / "data"
        return sum(file.stat().st_size for file in folder.glob(f"{topic}-*/*.log"))

    def bootstrap_of(self, link: str) -> str:
        """Where the clients of a link find it."""
        return ",".join(f"127.0.0.1:{node.links[link.upper()].port}" for node in self._nodes.values())

    def links_of(self, link: str) -> list[Link]:
        """Those of all brokers."""
        return [node.links[link.upper()] for node in self._nodes.values()]

    async def start(self) -> None:
        """Return when all answer. UnreachableError."""
        for node in self._nodes.values():
            for name in self._links:
                node.links[name] = await Link.open(node.ports[name])
        cluster = "H" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        for node in self._nodes.values():
            await self._format(node, cluster)
        await asyncio.gather(*(self.start_node(number) for number in self._nodes))

    async def start_node(self, number: int) -> None:
        """Start one that does not run; return when it answers. UnreachableError."""
        node = self._nodes[number]
        if node.is_running:
            return
        log = node.folder / "server.log"
        begin = log.stat().st_size if log.exists() else 0
        with log.open("ab") as words:
            node.process = await self._java(
                "kafka.Kafka", str(node.folder / "server.properties"), words=words.fileno()
            )
        until = time.monotonic() + START_LIMIT_S
        while b"Kafka Server started" not in log.read_bytes()[begin:]:
            if not node.is_running or time.monotonic() > until:
                raise UnreachableError(f"broker {number} did not start: {log.read_text()[-1500:]}")
            await asyncio.sleep(0.05)

    async def kill_node(self, number: int) -> None:
        """Kill -9."""
        await self._end(self._nodes[number], signal.SIGKILL)

    async def stop_node(self, number: int) -> None:
        """An orderly end."""
        await self._end(self._nodes[number], signal.SIGTERM)

    def signal_node(self, number: int, sign: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP."""
        process = self._nodes[number].process
        if process is not None and process.returncode is None:
            process.send_signal(sign)

    async def stop(self) -> None:
        """End all; their data stays."""
        for node in self._nodes.values():
            self.signal_node(node.number, signal.SIGCONT)
            await self._end(node, signal.SIGKILL)
            for link in node.links.values():
                await link.close()

    async def wait(self) -> int:
        """For ever: who dies here is meant to, and comes back."""
        await asyncio.Event().wait()
        return 0

    async def _end(self, node: _Node, sign: signal.Signals) -> None:
        if node.process is not None and node.process.returncode is None:
            node.process.send_signal(sign)
            await node.process.wait()

    async def _format(self, node: _Node, cluster: str) -> None:
        node.folder.mkdir(parents=True, exist_ok=True)
        (node.folder / "log4j2.properties").write_text(_LOG4J)
        file = node.folder / "server.properties"
        file.write_text(self._properties(node))
        words = (node.folder / "format.log").open("wb")
        with words:
            process = await self._java(
                "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(file), words=words.fileno()
            )
            if await process.wait():
                raise UnreachableError(f"the storage tool failed: {(node.folder / 'format.log').read_text()}")

    def _properties(self, node: _Node) -> str:
        copies, least = (3, 2) if len(self._nodes) >= 3 else (1, 1)
        listeners = {name: f"127.0.0.1:{port}" for name, port in node.ports.items()}
        advertised = {
            name: f"127.0.0.1:{node.links[name].port}" if name in node.links else address
            for name, address in listeners.items()
            if name != "CONTROLLER"
        }
        voters = ",".join(f"{one.number}@127.0.0.1:{one.ports['CONTROLLER']}" for one in self._nodes.values())
        values = {
            "process.roles": "broker,controller",
            "node.id": node.number,
            "controller.quorum.voters": voters,
            "listeners": ",".join(f"{name}://{address}" for name, address in listeners.items()),
            "advertised.listeners": ",".join(f"{name}://{address}" for name, address in advertised.items()),
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "log.dirs": node.folder / "data",
            "log.message.timestamp.type": self._timestamps,
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": least,
            "offsets.topic.num.partitions": 2,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.num.partitions": 2,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": least,
            "share.coordinator.state.topic.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": least,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "broker.session.timeout.ms": 6000,
            "broker.heartbeat.interval.ms": 1000,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "log.cleaner.dedupe.buffer.size": 4_194_304,
            "log.index.size.max.bytes": 1_048_576,
        }
        return "\n".join(f"{name}={value}" for name, value in values.items()) + "\n"

    async def _java(self, main: str, *arguments: str, words: int) -> asyncio.subprocess.Process:
        """A process of Java that ends with this one."""
        log4j = f"-Dlog4j2.configurationFile={self._folder / 'broker-1' / 'log4j2.properties'}"
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateways.with_parent", str(os.getpid()), str(int(signal.SIGKILL))),
            *(str(shutil.which("java")), *_JVM, log4j, "-cp", f"{self._jars}/*", main, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
