"""`headrace alarms` against the embedded broker, as a process: what it prints, and that nothing else is said."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gateways.broker import EmbeddedBroker
from gateways.cli.alarms import _print_transition
from rules.engine.outputs import Alarm, Severity
from streams.bus.kafka import KafkaBus
from streams.settings import BrokerSettings
from streams.wire import encode_output

ROOT = Path(__file__).parents[3]
SITE = "examples/narvik"
LONG = "a text that is longer than a terminal of eighty characters has room for, so that it has to fold"


def alarm(rule: str, severity: Severity, raised_s: int, cleared_s: int | None = None) -> Alarm:
    name = f"row-a:plc:1:{raised_s}:0"
    cleared_ns = None if cleared_s is None else cleared_s * 10**9
    state = "unacknowledged" if cleared_s is None else "normal"
    return Alarm(name, "row-a", rule, "R01", severity, state, name, raised_s * 10**9, cleared_ns, 1.0, LONG)


ALARMS = [
    alarm("old-and-low", "low", 1),
    alarm("high-late", "high", 9),
    alarm("urgent", "urgent", 8),
    alarm("high-early", "high", 3),
    alarm("over", "urgent", 2, 4),
]


def test_a_transition_is_one_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    odd = replace(alarm("high\x1b[2J", "high", 9), message="it\nis \x9b2J", by="eva", comment="\x1b[1A")
    _print_transition(odd, as_json=False)
    (line,) = capsys.readouterr().out.split("\n")[:-1]
    assert line.isprintable()
    assert line.endswith(r" high    high\x1b[2J R01 it\nis \x9b2J (eva: \x1b[1A)")


async def say(broker: EmbeddedBroker) -> None:
    """What an owner says, and then one that has lost the unit: that the urgent alarm is over."""
    bus = KafkaBus(BrokerSettings(bootstrap=broker.bootstrap))
    producer = await bus.producer("test")
    for one in ALARMS:
        await producer.send(encode_output(one, 3, owner_epoch=8))
    await producer.send(encode_output(alarm("urgent", "urgent", 8, 9), 3, owner_epoch=7))
    await producer.flush()
    await producer.close()
    await bus.close()


async def headrace(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateways.cli.main", *arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def output(*arguments: str) -> tuple[int | None, str, str]:
    process = await headrace(*arguments)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_the_most_severe_alarms_come_first_and_nothing_is_cut(embedded_broker: EmbeddedBroker) -> None:
    await say(embedded_broker)
    code, out, err = await output("alarms", SITE, "--bootstrap", embedded_broker.bootstrap)
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[3] for row in rows] == ["urgent", "high-early", "high-late", "old-and-low"]
    assert [row[0] for row in rows] == [f"1970-01-01T00:00:0{second}.000" for second in (8, 3, 9, 1)]
    assert out.count(LONG) == 4
    code, out, err = await output("alarms", SITE, "--bootstrap", embedded_broker.bootstrap, "--json")
    assert (code, err) == (0, "")
    rules = [json.loads(line)["rule"] for line in out.splitlines()]
    assert rules == ["over", "urgent", "high-early", "high-late", "old-and-low"]


@pytest.mark.parametrize("options", [(), ("--json",)])
async def test_ctrl_c_ends_it_without_a_word(
    embedded_broker: EmbeddedBroker, options: tuple[str, ...]
) -> None:
    await say(embedded_broker)
    process = await headrace("alarms", SITE, "--bootstrap", embedded_broker.bootstrap, "--follow", *options)
    assert process.stdout is not None
    await process.stdout.readline()
    await asyncio.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert (process.returncode, err) == (130, b"")


@pytest.mark.parametrize("options", ["", "--follow"])
async def test_a_reader_that_has_had_enough_ends_it_without_a_word(
    embedded_broker: EmbeddedBroker, options: str
) -> None:
    await say(embedded_broker)
    process = await headrace(
        "alarms", SITE, "--bootstrap", embedded_broker.bootstrap, "--json", *options.split()
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout._transport.close()  # type: ignore[attr-defined]
    if options:
        await asyncio.sleep(2.0)
        await say(embedded_broker)
    assert await process.stderr.read() == b""
    assert await process.wait() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["alarms", SITE],
        ["journal", "verify", SITE],
        ["record", SITE, "-o", "{tmp}/unused.mcap"],
        ["doctor", SITE],
    ],
)
async def test_without_a_broker_one_sentence_is_said(
    unused_port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str]
) -> None:
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", f"127.0.0.1:{unused_port}")
    code, out, err = await output(*(word.format(tmp=tmp_path) for word in arguments))
    if arguments[0] == "doctor":
        assert (code, err) == (1, "")
        assert f"none at 127.0.0.1:{unused_port}" in out
        return
    assert code == 3
    assert err.startswith(f"headrace: no broker answers at 127.0.0.1:{unused_port}")
    assert err.count("\n") == 1
