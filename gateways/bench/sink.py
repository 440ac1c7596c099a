"""A receiver of webhooks (`alerts_sink`) as a child of a bench."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from rules.errors import UnreachableError

_READY_S: Final = 30.0


@contextlib.asynccontextmanager
async def running_sink(log: Path, share: float, seed: int) -> AsyncIterator[str]:
    """A receiver, of which a share of what it gets fails; its address. UnreachableError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateways.with_parent", str(os.getpid()), str(int(signal.SIGKILL))),
        *(sys.executable, "-m", "gateways.bench.alerts_sink", str(log), str(share), str(seed)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        port = (await asyncio.wait_for(process.stdout.readline(), _READY_S)).decode().strip()
        if not port:
            raise UnreachableError("the receiver of the bench did not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
