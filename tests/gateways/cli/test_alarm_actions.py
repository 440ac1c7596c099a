"""`headrace ack`, `shelve` and their like as processes against the embedded broker; a small worker answers."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateways.broker import EmbeddedBroker
from rules.engine.engine import Engine
from rules.engine.outputs import Alarm
from streams.bus.kafka import KafkaBus
from streams.settings import BrokerSettings
from streams.topics import EVENTS
from streams.wire import decode_input, decode_output, encode_input, encode_output
from tests.rules.engine.plant import SITE, UNIT, S, flow, program, site, tick

ROOT = Path(__file__).parents[3]
RULES = """
  rack-low:
    for: Rack
    when: RackLiquidFlow < 70 L/min
    severity: high
    message: "{asset}"
"""
R1, R2 = f"{UNIT}:rack-low:R1", f"{UNIT}:rack-low:R2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "rules.yaml").write_text("rules:\n" + RULES)
    (tmp_path / "site.yaml").write_text(SITE.replace("tick: 100 ms", "tick: 100 ms\nrules: [rules]"))
    return tmp_path


@asynccontextmanager
async def running(broker: EmbeddedBroker) -> AsyncIterator[list[Alarm]]:
    """A worker of one unit in which both racks are low; what it says of them."""
    bus = KafkaBus(BrokerSettings(bootstrap=broker.bootstrap))
    engine, said = Engine(program(RULES), site(), UNIT), list[Alarm]()
    reader, producer = await bus.reader([EVENTS.name]), await bus.producer("worker")
    now_ns = int(time.time()) * S
    first = [
        tick(now_ns),
        flow(1, now_ns, 60, point="R1.RackLiquidFlow"),
        flow(2, now_ns, 50, point="R2.RackLiquidFlow"),
    ]
    for value in first:
        await producer.send(encode_input(value, 3))

    async def work() -> None:
        while True:
            for record in await reader.read(0.1):
                value = decode_input(record.key, record.headers, record.value)
                for output in engine.step([value]):
                    message = encode_output(output, 3)
                    await producer.send(message)
                    made = decode_output(message.headers, message.value)
                    if isinstance(made, Alarm):
                        said.append(made)

    task = asyncio.create_task(work())
    while len(said) < 2:
        await asyncio.sleep(0.02)
    await producer.flush()
    try:
        yield said
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for one in (reader, producer, bus):
            await one.close()


async def headrace(
    folder: Path,
    broker: EmbeddedBroker,
    command: str,
    *arguments: str,
    by: str | None = "eva",
    key: Path | None = None,
) -> tuple[int, Any, str]:
    site = () if command == "users" else ("--site", str(folder))
    who = (*(("--by", by) if by else ()), *(("--key", str(key)) if key else ()))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateways.cli.main", command, *arguments, "--json", *who, *site),
        *("--bootstrap", broker.bootstrap),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()


async def test_a_pattern_finds_what_the_action_makes_sense_for(
    embedded_broker: EmbeddedBroker, folder: Path
) -> None:
    async with running(embedded_broker) as said:
        code, answers, _ = await headrace(folder, embedded_broker, "ack", "row:*:R1", "--comment", "seen")
        assert (code, answers) == (0, [{"alarm": R1, "kind": "alarm-acknowledged", "reason": ""}])
        assert (said[-1].state, said[-1].by, said[-1].comment) == ("acknowledged", "eva", "seen")
        code, answers, _ = await headrace(folder, embedded_broker, "ack", "row:*")
        assert [one["alarm"] for one in answers] == [R2]
        code, answers, _ = await headrace(folder, embedded_broker, "ack", "row:*")
        assert (code, answers) == (0, [])


async def test_what_is_named_in_full_is_asked_for_and_its_refusal_told(
    embedded_broker: EmbeddedBroker, folder: Path
) -> None:
    async with running(embedded_broker):
        code, answers, _ = await headrace(folder, embedded_broker, "reset", R1)
        assert (code, answers[0]["reason"]) == (1, "its condition still holds")
        code, answers, _ = await headrace(folder, embedded_broker, "ack", "row:other:R1")
        assert (code, answers[0]["reason"]) == (1, "there is no such alarm")


async def test_shelved_and_heard_again(embedded_broker: EmbeddedBroker, folder: Path) -> None:
    async with running(embedded_broker) as said:
        code, _, _ = await headrace(
            folder, embedded_broker, "shelve", R1, R2, "--for", "1h", "--why", "known"
        )
        assert code == 0
        assert [one.state for one in said[-2:]] == ["shelved", "shelved"]
        assert said[-1].shelved_until_ns is not None
        code, answers, _ = await headrace(folder, embedded_broker, "unshelve", "*")
        assert (code, len(answers)) == (0, 2)
        assert [one.state for one in said[-2:]] == ["unacknowledged", "unacknowledged"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ack", "R1"], "there is no such alarm (its name is unit:rule:asset"),
        (["ack", "hall:*:X"], "no alarm has such a name"),
        (["shelve", R1, "--for", "soon", "--why", "x"], "--for"),
        (["ack", R1, "--by", "a:b"], "'a:b' is no name"),
        (["comment", R1, "--text", "\udcff"], "is not in UTF-8"),
    ],
)
async def test_a_wrong_call_is_said_before_anything_is_sent(
    embedded_broker: EmbeddedBroker, folder: Path, arguments: list[str], words: str
) -> None:
    async with running(embedded_broker) as said:
        command, *rest = arguments
        by = [] if "--by" in rest else ["--by", "eva"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateways.cli.main", command, *rest, *by),
            *("--site", str(folder), "--bootstrap", embedded_broker.bootstrap),
            cwd=ROOT,
            stderr=subprocess.PIPE,
        )
        _, err = await process.communicate()
        assert process.returncode == 2
        assert words in err.decode()
        assert len(said) == 2
