"""The process that `headrace bench scada` measures: the role `scada` on a log in memory, and words to feed it.

Usage: python -m gateways.bench.scada_server SITE ENDPOINT FOLDER. Commands are JSON lists, a line each, and each is
answered with a JSON line: `["stand", N]` so many alarms stand; `["say", PER_S, SECONDS]` so many words a second;
`["metrics"]` what the role says of itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from gateways.bench.session import quiet_logging
from gateways.scada import role
from rules.engine.outputs import Alarm
from rules.language.program import Program
from rules.site.model import Site
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.rule_sets.rule_folder import load_program
from streams.settings import ScadaSettings, Settings
from streams.site_folder import load_site
from streams.topics import ALARMS, TOPICS
from streams.wire import encode_output

STEP_S = 0.02
PARTITIONS = 3
KEPT = 2_000


def words(site: Site, program: Program) -> Iterator[Alarm]:
    """A word on each alarm that the rules may have: it went off."""
    for rule in program.rules:
        for asset in rule.assets:
            unit = site.assets[asset].unit
            yield Alarm(
                "", unit, rule.id, asset, rule.severity, "unacknowledged", "", 0, None, 61.0,
                f"{asset}: 61 °C, above the site's target",
            )  # fmt: skip


class Load:
    """Alarms that come and go."""

    def __init__(self, bus: MemoryBus, site: Site, program: Program) -> None:
        self._bus = bus
        self._words = list(islice(words(site, program), 50_000))
        self._count = 0
        self._standing = 0

    async def stand(self, count: int) -> dict[str, Any]:
        """So many stand."""
        self._standing = min(count, len(self._words))
        for place in range(self._standing):
            self._say(place, is_true=True)
        return {"standing": self._standing}

    async def say(self, per_s: int, seconds: int) -> dict[str, Any]:
        """Words at a rate; when each is due, and not later because others were."""
        begin, said, cpu_s = time.monotonic(), 0, time.process_time()
        while said < per_s * seconds:
            due = min(per_s * seconds, int((time.monotonic() - begin) * per_s))
            for number in range(said, due):
                self._say(number % self._standing, is_true=number // self._standing % 2 == 1)
            said = due
            await asyncio.sleep(STEP_S)
        wall_s = time.monotonic() - begin
        return {"said": said, "wall_s": wall_s, "cpu_s": time.process_time() - cpu_s}

    def _say(self, place: int, is_true: bool) -> None:
        self._count += 1
        now_ns = time.time_ns()
        word = replace(self._words[place], id=f"bench:{self._count}", at_ns=now_ns, raised_ns=now_ns)
        word = replace(word, raised_id=word.id) if is_true else replace(
            word, raised_id="bench:0", cleared_ns=now_ns, state="returned-unacknowledged"
        )  # fmt: skip
        self._bus.append(encode_output(word, PARTITIONS))

    async def forget(self) -> None:
        """What has been read long ago leaves the log: it would be the log's memory that grows."""
        while True:
            for partition in self._bus.places(ALARMS.name):
                self._bus.truncate(partition, self._bus.end(partition) - KEPT)
            await asyncio.sleep(1.0)


async def main(site_dir: Path, endpoint: str, folder: Path) -> None:
    """Serve until the commands end."""
    quiet_logging()
    site, bus = load_site(site_dir), MemoryBus()
    await bus.create_topics(TOPICS, PARTITIONS)
    settings = Settings(run_dir=folder, scada=ScadaSettings(endpoint=endpoint, allow_none=True))
    context = RoleContext("scada", site, site_dir, settings, bus, asyncio.Event())
    load = Load(bus, site, load_program(site_dir, site))
    tasks = [asyncio.create_task(role.run(context))]
    while context.state != "ready":
        await asyncio.sleep(0.02)
    answer({"ready": True})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        name, *given = json.loads(line)
        if name == "metrics":
            answer({key: context.metrics[key] for key in ("alarms", "notifications", "notifications_lost")})
        else:
            if name == "say" and len(tasks) == 1:
                tasks.append(asyncio.create_task(load.forget()))
            answer(await getattr(load, name)(*given))
    context.stop.set()
    await tasks[0]
    for task in tasks[1:]:
        task.cancel()


def answer(said: dict[str, Any]) -> None:
    """One JSON line."""
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
