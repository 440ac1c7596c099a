"""One Apache Kafka broker in KRaft mode for tests, from Maven's jars, without containers.

Java 17+ and Maven are needed, and for the first run a Maven repository; the jars (45 MB) stay in .cache/kafka.
`kill` and `start` keep the data, as a crash and a restart do.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[2] / ".cache" / "kafka"
START_LIMIT_S = 90.0
JVM = (
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:MaxDirectMemorySize=64m",
    "-XX:-UsePerfData",
    f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}",
)
CONFIGURATION = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=2
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=4194304
log.index.size.max.bytes=1048576
"""


class NoKafkaError(Exception):
    """This machine can't start one; the text says what is missing."""


class ApacheKafka:
    """A broker on two free ports of the loopback, with its data below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self._controller = _free_port(), _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it answers. NoKafkaError without Java, Maven or the jars."""
        jars = _jars()
        configuration = self.folder / "server.properties"
        if not configuration.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            configuration.write_text(
                CONFIGURATION.format(port=self.port, controller=self._controller, folder=self.folder)
            )
            # A cluster id that begins with "-" is an option to the storage tool.
            cluster = "H" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
            command = _java(
                jars, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(configuration)
            )
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise NoKafkaError(f"the storage tool failed: {done.stderr or done.stdout}")
        log = self.folder / "server.log"
        begin = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                _java(jars, "kafka.Kafka", str(configuration)), stdout=output, stderr=output
            )
        limit = time.monotonic() + START_LIMIT_S
        while "Kafka Server started" not in log.read_bytes()[begin:].decode(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > limit:
                self.kill()
                raise NoKafkaError(f"the broker did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """An orderly end."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(30)


def _jars() -> Path:
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if "java" in missing:
        raise NoKafkaError("Java is not installed")
    ready = CACHE / "complete"
    if ready.exists():
        return CACHE
    if missing:
        raise NoKafkaError("Maven is not installed")
    command = [
        "mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies",
        "-DincludeScope=runtime", f"-DoutputDirectory={CACHE}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        raise NoKafkaError(f"Maven could not fetch the jars: {done.stdout[-500:]}")
    ready.touch()
    return CACHE


def _java(jars: Path, *arguments: str) -> list[str]:
    return ["java", *JVM, "-cp", f"{jars}/*", *arguments]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
