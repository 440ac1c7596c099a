"""Role processes under supervision: start, restart with backoff, kill, end, and what they cost.

Rules: a process is ended by its own pid only; a role that ends by itself is started again and counted, whatever
its exit code. One exception: a role whose first start is refused (exit code 2: its input or call is wrong) can't
come up by trying again, so that is said at once. A role may have a spare: a process that has imported everything and
waits for the first to die (decision 0115).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

log = logging.getLogger("headrace.up")

_REFUSED = 2
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0)
_SPARE_AFTER_S = 4.0
"""What imports takes a core for seconds, which a role that has just begun needs itself."""
_LEAN = {
    # many small processes on few cores: no thread pools, no arenas that keep memory
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(slots=True)
class Child:
    """One supervised role."""

    name: str
    role: str
    site: Path
    options: dict[str, str]
    log_file: Path
    environment: Mapping[str, str]
    has_spare: bool = False
    spare: asyncio.subprocess.Process | None = None
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    cpu_s_ended: float = 0.0
    cpu_s_seen: float = 0.0
    wanted: bool = True
    started_at: float = 0.0
    watch: asyncio.Task[None] | None = None
    exits: list[int] = field(default_factory=list)

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self.process.pid if self.process and self.process.returncode is None else None

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all its processes, as last seen."""
        return self.cpu_s_ended + self.cpu_s_seen


class Processes:
    """All role processes of one `headrace up`."""

    def __init__(self, run_dir: Path, environment: Mapping[str, str]) -> None:
        self.run_dir = run_dir
        self.environment = {**os.environ, **_LEAN, **environment}
        self.children: dict[str, Child] = {}
        self.refused: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done when a role's first start was refused: which role, and its words."""

    @property
    def restarts(self) -> int:
        """How often any role had to be started again."""
        return sum(child.restarts for child in self.children.values())

    async def start(
        self,
        role: str,
        site: Path,
        options: Mapping[str, str],
        name: str | None = None,
        environment: Mapping[str, str] | None = None,
        has_spare: bool = False,
    ) -> Child:
        """Start a role and keep it running until `end`. `environment`: what is its own.

        `has_spare`: from some seconds later on another process waits to go on in its place at once.
        """
        name = name or role
        earlier = self.children.get(name)
        words = self.run_dir / f"{name}.log"
        own = {**self.environment, **(environment or {})}
        child = Child(name, role, site, dict(options), words, own, has_spare)
        if earlier is not None:  # ended on purpose and started again, as in a roll: its costs go on
            child.restarts, child.cpu_s_ended = earlier.restarts, earlier.cpu_s
        self.children[name] = child
        await self._spawn(child)
        child.watch = asyncio.create_task(self._keep(child), name=f"keep-{name}")
        return child

    async def _spawn(self, child: Child) -> None:
        spare, child.spare = child.spare, None
        if spare is not None and spare.stdin is not None and spare.returncode is None:
            spare.stdin.write(b"go\n")
            spare.stdin.close()
            child.process = spare
        else:
            child.process = await self._process(child)
        child.started_at = time.monotonic()

    async def _process(self, child: Child, as_spare: bool = False) -> asyncio.subprocess.Process:
        arguments = [sys.executable, "-m", "gateways.cli.main", "run", child.role, str(child.site)]
        arguments += ["--name", child.name, "--option", f"parent_pid={os.getpid()}"]
        for key, value in {**child.options, **({"spare": "on"} if as_spare else {})}.items():
            arguments += ["--option", f"{key}={value}"]
        with child.log_file.open("ab") as out:
            return await asyncio.create_subprocess_exec(
                *arguments,
                stdin=asyncio.subprocess.PIPE if as_spare else asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=child.environment,
                start_new_session=True,  # Ctrl-C is ours to pass on, in order
            )

    async def _ended(self, child: Child) -> int:
        """The exit code of its process, once it has ended; makes the spare meanwhile."""
        assert child.process is not None
        ended = asyncio.create_task(child.process.wait())
        if child.has_spare:
            await asyncio.wait({ended}, timeout=_SPARE_AFTER_S)
            if child.wanted and not ended.done():
                child.spare = await self._process(child, as_spare=True)
        return await ended

    async def _keep(self, child: Child) -> None:
        quick = 0
        while True:
            code = await self._ended(child)
            child.exits.append(code)
            child.cpu_s_ended += child.cpu_s_seen
            child.cpu_s_seen = 0.0
            if not child.wanted:
                return
            if code == _REFUSED and not child.restarts:
                if not self.refused.done():
                    words = await asyncio.to_thread(child.log_file.read_text, errors="replace")
                    self.refused.set_result(f"{child.name} can't start; its words:\n{words[-2000:]}")
                return
            quick = quick + 1 if time.monotonic() - child.started_at < 5.0 else 0
            child.restarts += 1
            log.warning(
                "%s ended with %s; starting it again (its words: %s)", child.name, code, child.log_file
            )
            await asyncio.sleep(_BACKOFF_S[min(quick, len(_BACKOFF_S) - 1)])
            if not child.wanted:
                return
            await self._spawn(child)

    def kill(self, name: str) -> None:
        """Kill -9: the supervisor's own test switch."""
        pid = self.children[name].pid if name in self.children else None
        if pid is None:
            log.warning("%s does not run: there is nothing to kill", name)
        else:
            os.kill(pid, signal.SIGKILL)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a role that runs."""
        pid = self.children[name].pid if name in self.children else None
        if pid is not None:
            os.kill(pid, number)

    async def end(self, name: str, patience_s: float = 10.0) -> None:
        """SIGTERM, wait, and SIGKILL only for a role that does not listen."""
        child = self.children.get(name)
        if child is None:
            return
        child.wanted = False
        if child.process is not None and child.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.process.terminate()
            try:
                await asyncio.wait_for(child.process.wait(), patience_s)
            except TimeoutError:
                log.error("%s did not end in %.0f s and is killed", name, patience_s)
                child.process.kill()
                await child.process.wait()
        if child.watch is not None:
            await child.watch
        if child.spare is not None and child.spare.returncode is None:
            child.spare.kill()  # it has done nothing yet
            await child.spare.wait()

    async def end_all(self) -> None:
        """End whatever still runs."""
        await asyncio.gather(*(self.end(name) for name in list(self.children)))
