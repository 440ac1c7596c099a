"""Apache Kafka in KRaft mode for tests, one broker or several, from Maven's jars, without containers.

Java 17+ and Maven are needed, and for the first run a Maven repository; the jars (45 MB) stay in .cache/kafka.
`kill` and `start` keep the data, as a crash and a restart do.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from gateways.listen import free_port

HERE = Path(__file__).parent
CACHE = HERE.parents[2] / ".cache" / "kafka"
START_LIMIT_S = 300.0
END_LIMIT_S = 120.0
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
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{more_listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{more_listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
default.replication.factor={copies}
min.insync.replicas=1
offsets.topic.num.partitions=2
offsets.topic.replication.factor={copies}
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=4194304
log.index.size.max.bytes=1048576
"""


class NoKafkaError(Exception):
    """This machine lacks Java or Maven: the tests are left out."""


class KafkaFailedError(Exception):
    """Nothing is missing, and yet it did not start, or its jars did not come: the tests fail."""


class ApacheKafka:
    """A broker on two free ports of the loopback, with its data below `folder`.

    `more`: further lines of its configuration; `listeners`: names of further ones, each on a port of its own (`ports`);
    `format_options`: for the storage tool.
    """

    def __init__(
        self, folder: Path, more: str = "", listeners: Sequence[str] = (), format_options: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.port, self.controller = free_port(), free_port()
        self.ports = {name: free_port() for name in listeners}
        self.node, self.voters, self.copies = 1, f"1@127.0.0.1:{self.controller}", 1
        # A cluster id that begins with "-" is an option to the storage tool.
        self.cluster = "H" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]
        self._more = more
        self._format_options = format_options
        self._process: subprocess.Popen[bytes] | None = None
        self._log_from = 0

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it answers. NoKafkaError, KafkaFailedError."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it; `wait` returns when it answers. NoKafkaError, KafkaFailedError."""
        configuration = self.folder / "server.properties"
        if not configuration.exists():
            self._format(configuration)
        log = self.folder / "server.log"
        self._log_from = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            command = java("kafka.Kafka", str(configuration))
            self._process = subprocess.Popen(command, stdout=output, stderr=output)

    def wait(self) -> None:
        """Return when it answers. KafkaFailedError."""
        assert self._process is not None
        log = self.folder / "server.log"
        limit = time.monotonic() + START_LIMIT_S
        while "Kafka Server started" not in log.read_bytes()[self._log_from :].decode(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > limit:
                self.kill()
                raise KafkaFailedError(f"the broker did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)

    def _format(self, configuration: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        more_listeners = "".join(f",{name}://127.0.0.1:{port}" for name, port in self.ports.items())
        lines = CONFIGURATION.format(
            port=self.port, controller=self.controller, folder=self.folder, node=self.node,
            voters=self.voters, copies=self.copies, more_listeners=more_listeners,
        )  # fmt: skip
        configuration.write_text(lines + self._more)
        words = ["format", "-t", self.cluster, "-c", str(configuration), *self._format_options]
        done = subprocess.run(
            java("kafka.tools.StorageTool", *words), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise KafkaFailedError(f"the storage tool failed: {done.stderr or done.stdout}")

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
            try:
                process.wait(END_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


class ApacheCluster:
    """Several brokers, with as many copies of everything as there are, up to three. Arguments as of `ApacheKafka`."""

    def __init__(
        self,
        folder: Path,
        brokers: int = 3,
        more: str = "",
        listeners: Sequence[str] = (),
        format_options: Sequence[str] = (),
    ) -> None:
        self.brokers = [
            ApacheKafka(folder / str(node), more, listeners, format_options) for node in range(1, brokers + 1)
        ]
        voters = ",".join(
            f"{node}@127.0.0.1:{one.controller}" for node, one in enumerate(self.brokers, start=1)
        )
        for node, one in enumerate(self.brokers, start=1):
            one.node, one.voters, one.copies = node, voters, min(3, brokers)
            one.cluster = self.brokers[0].cluster

    @property
    def bootstrap(self) -> str:
        return ",".join(one.bootstrap for one in self.brokers)

    def addresses(self, listener: str) -> str:
        """Where clients of a further listener find it."""
        return ",".join(f"127.0.0.1:{one.ports[listener]}" for one in self.brokers)

    def start(self) -> None:
        """Return when all of them answer. NoKafkaError, KafkaFailedError."""
        try:
            for one in self.brokers:
                one.launch()
            for one in self.brokers:
                one.wait()
        except (NoKafkaError, KafkaFailedError):
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL to all."""
        for one in self.brokers:
            one.kill()


def jars() -> Path:
    """The folder of the jars, fetched once by whichever process comes first. NoKafkaError, KafkaFailedError."""
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if "java" in missing:
        raise NoKafkaError("Java is not installed")
    pom = HERE / "pom.xml"
    ready = CACHE / f"complete-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            if missing:
                raise NoKafkaError("Maven is not installed")
            _fetch(pom)
            ready.touch()
    return CACHE


def _fetch(pom: Path) -> None:
    command = [
        "mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies",
        "-DincludeScope=runtime", f"-DoutputDirectory={CACHE}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        raise KafkaFailedError(f"Maven could not fetch the jars: {done.stdout[-500:]}")


def java(*arguments: str) -> list[str]:
    """The command that runs a class of the jars. NoKafkaError, KafkaFailedError."""
    return ["java", *JVM, "-cp", f"{jars()}/*", *arguments]
