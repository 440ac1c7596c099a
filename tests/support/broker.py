"""A broker of a test's own, processes that work on it, and what its log holds."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from streams.bus.kafka import KafkaBus
from streams.record import Record
from streams.topics import EVENTS, STATUS

ROOT = Path(__file__).parents[2]
LIMIT_S = 180
"""For machines that are slow or busy: what is waited for comes within seconds elsewhere."""


@dataclass
class Broker:
    """`folder` is the run folder of the processes; what they say is in `words.log` there."""

    folder: Path
    bootstrap: str
    bus: KafkaBus

    @asynccontextmanager
    async def process(self, *words: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """`headrace` with these words, killed at the end. With `--json` its answer can be read.

        Neither its watchdog nor a late answer ends it on a machine that is busy, unless `environment` says so.
        """
        with (self.folder / "words.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateways.cli.main", *words, cwd=ROOT,
                stdout=asyncio.subprocess.PIPE if "--json" in words else log, stderr=log,
                env={
                    **os.environ,
                    "HEADRACE_BROKER__BOOTSTRAP": self.bootstrap,
                    "HEADRACE_RUN_DIR": str(self.folder),
                    "HEADRACE_WORKER__SNAPSHOT_EVERY_S": "0.5",
                    "HEADRACE_WORKER__WATCHDOG_S": "100",
                    "HEADRACE_BROKER__REQUEST_TIMEOUT_S": "30",
                    **environment,
                },
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def headrace(self, *words: str) -> tuple[int, Any]:
        """Its exit code and its answer, with `--json`."""
        async with self.process(*words, "--json") as process:
            output, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
        return process.returncode or 0, json.loads(output)

    def last_words(self) -> str:
        """The end of what the processes have said."""
        return (self.folder / "words.log").read_text()[-3000:]

    async def read(self, *topics: str) -> list[Record]:
        """All that topics hold as they are now."""
        reader = await self.bus.reader(topics)
        ends = {place: end for topic in topics for place, end in (await self.bus.ends(topic)).items()}
        records: list[Record] = []
        async with asyncio.timeout(LIMIT_S):
            while any(reader.positions()[place] < end for place, end in ends.items()):
                records += await reader.read(0.5)
        await reader.close()
        return records

    async def ends(self) -> dict[str, int]:
        """Of `events`, by partition as a status names it."""
        return {str(place.partition): end for place, end in (await self.bus.ends(EVENTS.name)).items()}

    async def until(self, what: str, is_so: Any, patience_s: float = LIMIT_S) -> dict[str, dict[str, Any]]:
        """The newest status of each role, once they are as `is_so` says."""
        reader = await self.bus.reader([STATUS.name])
        newest: dict[str, dict[str, Any]] = {}
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    for record in await reader.read(0.5):
                        newest[(record.key or b"").decode()] = json.loads(record.value or b"{}")
                        if is_so(newest):
                            return newest
        except TimeoutError:
            pytest.fail(f"not in {patience_s:g} s: {what}\n{self.last_words()}")
        finally:
            await reader.close()
