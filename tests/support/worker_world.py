"""A site with a broker of its own, workers as processes, and what undisturbed engines say to the same log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from rules.engine.engine import Engine
from rules.engine.inputs import Fact, Frame, Identity, Input, Tick
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from rules.site.model import Site
from streams.bus.bus import Producer
from streams.bus.kafka import KafkaBus
from streams.record import header
from streams.rule_sets.rule_folder import load_program
from streams.rule_sets.rule_set import rule_set_of
from streams.settings import BrokerSettings
from streams.site_folder import load_site
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL, STATUS, TOPICS
from streams.wire import decode_input, encode_input, encode_output
from tests.support.broker import LIMIT_S, Broker

ROOT = Path(__file__).parents[2]
NARVIK = ROOT / "examples" / "narvik"
PARTITIONS = 3
T0 = 4_000_000_000 * 10**9
"""Far ahead of every clock: commands have not expired where actuators work on them."""
STEP_NS = 100_000_000
GARBAGE = b"\0"
RULE = """
rules:
  gpu-hot:
    for: GPU
    when: temperature > 85 degC
    until: temperature < 80 degC
    on_delay: 300 ms
    severity: high
    message: "{asset}: {value:.0f} degC"
    then:
      - command: limit each GPU.power_limit to 500 W
  hot-behind-feed:                      # the feeds are of another unit than the GPUs: what it needs are facts
    for: PowerMeter
    when: max(GPU.temperature) > 85 degC
    until: max(GPU.temperature) < 80 degC
    severity: medium
    message: "{asset}: {value:.0f} degC"
"""


@dataclass
class World(Broker):
    """A broker, a site folder, and one worker process at a time."""

    producer: Producer
    site_dir: Path
    site: Site
    partitions: int = PARTITIONS

    def worker(
        self, *options: str, name: str = "worker", **environment: str
    ) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
        words = [word for option in options for word in ("--option", option)]
        return self.process("run", "worker", str(self.site_dir), "--name", name, *words, **environment)

    async def send(self, first: int, last: int) -> None:
        """Frames and ticks of the steps `first` to `last`, in the order of their times."""
        for step in range(first, last):
            for value in inputs_of(self.site, step):
                await self.producer.send(encode_input(value, self.partitions))
        await self.producer.flush()

    async def status(
        self, wanted: Callable[[dict[str, Any]], bool], role: str = "worker", limit_s: float = LIMIT_S
    ) -> dict[str, Any]:
        """The first status of a role that is as `wanted`."""
        reader = await self.bus.reader([STATUS.name])
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    for record in await reader.read(0.5):
                        said = orjson.loads(record.value or b"{}")
                        if record.key == role.encode() and wanted(said):
                            return dict(said)
        except TimeoutError:
            pytest.fail(f"'{role}' did not come so far:\n{self.last_words()}")
        finally:
            await reader.close()

    async def worked_off(self, pid: int) -> dict[str, Any]:
        """The status of the process `pid` when it has come to the end of the log as it is now."""
        ends = await self.ends()

        def is_there(said: dict[str, Any]) -> bool:
            reached = said["metrics"].get("positions", {})
            return said["pid"] == pid and all(reached.get(number, 0) >= end for number, end in ends.items())

        return await self.status(is_there)

    async def undisturbed(self, positions: dict[str, int]) -> tuple[dict[str, bytes], set[bytes]]:
        """What engines say to the log up to `positions`: outputs by id, and facts."""
        digest, program = rule_set_of(self.site_dir, self.site).digest, load_program(self.site_dir, self.site)
        engines = {unit: Engine(program, self.site, unit, digest) for unit in self.site.units}
        outputs: dict[str, bytes] = {}
        facts: set[bytes] = set()
        for record in await self.read(EVENTS.name):
            if record.offset >= positions[str(record.partition)] or record.value == GARBAGE:
                continue
            value = decode_input(record.key, record.headers, record.value)
            for output in engines[value.unit].step([value]):
                said = encode_output(output, self.partitions).value or b""
                if isinstance(output, Fact):
                    facts.add(said)
                else:
                    outputs[output.id] = said
        return outputs, facts

    async def facts(self) -> set[bytes]:
        """Those on the log, each once."""
        found = [r for r in await self.read(EVENTS.name) if header(r.headers, "schema") == b"fact/1"]
        return {record.value or b"" for record in found}

    async def said(self) -> dict[str, bytes]:
        """Outputs on the log by id; no id with two contents."""
        found: dict[str, bytes] = {}
        for record in await self.read(ALARMS.name, COMMANDS.name, JOURNAL.name):
            assert record.value is not None
            name = orjson.loads(record.value)["id"]
            assert found.setdefault(name, record.value) == record.value
        return found


def inputs_of(site: Site, step: int) -> list[Input]:
    """One sample of 100 ms: a frame per rack, of which one GPU gets hot for half a second in every second.

    The memory of the last GPU gets hot with every other sample.
    """
    time_ns = T0 + step * STEP_NS
    values: list[Input] = []
    ticks: list[Input] = []
    for name, unit in site.units.items():
        racks = [asset.id for asset in unit.assets if asset.type == "Rack"]
        for index, rack in enumerate(racks):
            low, high = unit.gpu_range[rack]
            data = np.full((1, high - low, FIELD_COUNT), 50.0, np.float32)
            data[0, step // 10 % (high - low), FIELD_INDEX["temperature"]] = 95.0 if step % 10 < 5 else 50.0
            data[0, -1, FIELD_INDEX["memory_temperature"]] = 95.0 if step % 2 else 50.0
            flags = np.zeros((1, high - low), np.uint8)
            identity = Identity("plant-frames", 1, step * len(racks) + index + 1)
            gpus = np.arange(high - low, dtype=np.uint16)
            energy = np.full((1, high - low), step, np.int64)
            values.append(
                Frame(name, identity, time_ns, rack, np.array([time_ns]), gpus, data, flags, energy)
            )
        ticks.append(Tick(name, Identity("ticker", 0, time_ns // STEP_NS), time_ns))
    return [*values, *ticks]


@asynccontextmanager
async def world_on(bootstrap: str, folder: Path, partitions: int = PARTITIONS) -> AsyncIterator[World]:
    """The site on an empty broker."""
    site_dir = folder / "site"
    (site_dir / "rules").mkdir(parents=True)
    (site_dir / "site.yaml").write_text((NARVIK / "site.yaml").read_text())
    (site_dir / "rules" / "rules.yaml").write_text(RULE)
    bus = KafkaBus(BrokerSettings(bootstrap=bootstrap, partitions=partitions, request_timeout_s=30))
    await bus.create_topics(TOPICS, partitions)
    producer = await bus.producer("test")
    try:
        yield World(folder, bootstrap, bus, producer, site_dir, load_site(site_dir), partitions)
    finally:
        await producer.close()
        await bus.close()
