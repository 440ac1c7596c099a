"""`headrace bench alerts`: from a transition on the log to who wants to hear of it, with real processes.

An embedded broker, the role `alerts`, and a receiver of webhooks, each a process of its own. First transitions at a
steady rate, and how long each takes to its first delivery, while another receiver hangs. Then a flood while a share of
the deliveries fails, and the role is killed (`kill -9`) again and again: every (subscription, transition) has to
arrive, those that come twice have to be known by their ids, and of each alarm a subscription hears in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from gateways.bench.alerts_load import (
    Wanted,
    expected,
    flood,
    racks,
    site_text,
    steady,
    subscriptions_text,
    wanted,
)
from gateways.bench.machine import machine
from gateways.bench.session import quiet_logging
from gateways.bench.sink import running_sink
from gateways.broker import EmbeddedBroker
from gateways.listen import free_port
from gateways.up.summary import percentiles_ms
from rules.engine.outputs import Alarm
from rules.errors import UnreachableError
from streams.bus.kafka import KafkaBus
from streams.settings import BrokerSettings
from streams.wire import encode_output

PARTITIONS: Final = 3
FAILING_SHARE: Final = 0.2
READY_S: Final = 30.0
ENOUGH_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it. `rate`: transitions a second, for `seconds`."""

    subscriptions: int = 1000
    racks: int = 500
    rate: int = 100
    seconds: float = 30.0
    kills: int = 3
    seed: int = 1


@dataclass(slots=True)
class Role:
    """The process of the role, started again after each kill."""

    folder: Path
    bootstrap: str
    process: asyncio.subprocess.Process | None = None
    cpu_s: float = 0.0
    status: dict[str, Any] = field(default_factory=dict)
    _reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when it is ready. UnreachableError."""
        await self._spawn()
        assert self.process is not None
        async with asyncio.timeout(READY_S):
            while self.status.get("state") != "ready":
                if self.process.returncode is not None:
                    raise UnreachableError(
                        f"the role ended: {(self.folder / 'alerts.log').read_text()[-800:]}"
                    )
                await asyncio.sleep(0.02)

    async def _spawn(self) -> None:
        environment = {
            **os.environ,
            "HEADRACE_BROKER__BOOTSTRAP": self.bootstrap,
            "HEADRACE_RUN_DIR": str(self.folder / "run"),
        }
        self.status = {}
        with (self.folder / "alerts.log").open("ab") as words:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateways.cli.main", "run", "alerts", str(self.folder), "--json"),
                *("--option", f"parent_pid={os.getpid()}"),
                stdout=asyncio.subprocess.PIPE,
                stderr=words,
                env=environment,
                limit=1 << 24,
            )
        self._reading = asyncio.create_task(self._read())

    async def kill(self) -> None:
        """Kill -9, and start again. It is at work before its status, once a second, says that it is ready."""
        await self.end(hard=True)
        await self._spawn()

    async def end(self, hard: bool = False) -> None:
        """End it, and add what it cost."""
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(process.pid).cpu_times()
            self.cpu_s += times.user + times.system
        if hard:
            process.kill()
        else:
            process.terminate()
        await process.wait()
        if self._reading is not None:
            await self._reading

    async def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.status = json.loads(line)


@dataclass(slots=True)
class Arrivals:
    """What the sink has taken: (when in ns, the id of a delivery)."""

    log: Path
    seen: list[tuple[int, str]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    _offset: int = 0

    def look(self) -> None:
        """Read on; the last line may be half."""
        with self.log.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode().splitlines():
            at, *ids = line.split(" ")
            self.seen += [(int(at), one) for one in ids]
            self.ids.update(ids)


def bench_alerts(size: Size, as_json: bool) -> int:
    """1 where something was lost, out of order, or too many."""
    quiet_logging()
    with tempfile.TemporaryDirectory(prefix="headrace-alerts-") as folder:
        result = asyncio.run(_run(size, Path(folder)))
    print(json.dumps(result) if as_json else "\n".join(_lines(result)))
    flood_ = result["flood"]
    wrong = flood_["lost"] + flood_["unexpected"] + flood_["out_of_order"] + result["steady"]["lost"]
    return 1 if wrong else 0


async def _run(size: Size, folder: Path) -> dict[str, Any]:
    found = wanted(size.subscriptions, size.racks)
    (folder / "site.yaml").write_text(site_text(size.racks))
    broker = EmbeddedBroker(free_port(), folder, PARTITIONS)
    await broker.start()
    bus = KafkaBus(BrokerSettings(bootstrap=broker.bootstrap, partitions=PARTITIONS))
    role = Role(folder, broker.bootstrap)
    try:
        async with running_sink(folder / "steady.log", 0.0, size.seed) as address:
            (folder / "subscriptions.yaml").write_text(subscriptions_text(found, address))
            await role.start()
            steady_ = await _steady(size, found, bus, Arrivals(folder / "steady.log"), role)
            await role.end()
        async with running_sink(folder / "flood.log", FAILING_SHARE, size.seed) as address:
            (folder / "subscriptions.yaml").write_text(subscriptions_text(found, address))
            await role.start()
            flooded = await _flood(size, found, bus, Arrivals(folder / "flood.log"), role)
    finally:
        await role.end(hard=True)
        await bus.close()
        await broker.stop()
    return {"subscriptions": len(found), "steady": steady_, "flood": flooded, "machine": machine()}


async def _steady(
    size: Size, found: Sequence[Wanted], bus: KafkaBus, arrivals: Arrivals, role: Role
) -> dict[str, Any]:
    """Transitions at the rate; how long each takes."""
    producer = await bus.producer("bench-alerts")
    said = dict[str, Alarm]()
    began = time.monotonic()
    count = round(size.rate * size.seconds)
    for number, plain in enumerate(itertools.islice(steady(racks(size.racks), size.seed), count)):
        await asyncio.sleep(max(0.0, began + number / size.rate - time.monotonic()))
        alarm = _now(plain)
        said[alarm.id] = alarm
        await producer.send(encode_output(alarm, PARTITIONS))
    await producer.flush()
    await producer.close()
    told = expected(found, said.values())
    ids = {f"{name}/{one}" for (name, _), ones in told.items() for one in ones}
    took_s = await _arrived(arrivals, ids)
    first, every = dict[str, int](), list[int]()
    for at_ns, own_id in arrivals.seen:
        transition = own_id.partition("/")[2]
        took_ns = at_ns - said[transition].at_ns
        every.append(took_ns)
        first.setdefault(transition, took_ns)
    process = role.process
    times = psutil.Process(process.pid).cpu_times() if process is not None else None
    return {
        "transitions": len(said),
        "transitions_per_s": size.rate,
        "deliveries": len(arrivals.seen),
        "lost": len(ids - arrivals.ids),
        "first_delivery_ms": percentiles_ms(first.values()),
        "every_delivery_ms": percentiles_ms(every),
        "behind_s": round(took_s, 2),
        "role_cpu_s": None if times is None else round(times.user + times.system, 2),
        "hanging_backlog": role.status.get("metrics", {}).get("channels", {}).get("hangs", {}).get("backlog"),
    }


async def _flood(
    size: Size, found: Sequence[Wanted], bus: KafkaBus, arrivals: Arrivals, role: Role
) -> dict[str, Any]:
    """Everything at once; the role is killed each time that another part has arrived."""
    producer = await bus.producer("bench-alerts")
    said = [_now(one) for one in flood(racks(size.racks), 10_000_000)]
    told = expected(found, said)
    ids = {f"{name}/{one}" for (name, _), ones in told.items() for one in ones}
    began = time.monotonic()
    for alarm in said:
        await producer.send(encode_output(alarm, PARTITIONS))
    await producer.flush()
    await producer.close()
    at_kill = []
    for kill in range(1, size.kills + 1):
        await _arrived(arrivals, ids, len(ids) * kill // (size.kills + 1))
        at_kill.append(len(arrivals.ids & ids))
        await role.kill()
    await _arrived(arrivals, ids)
    took_s = time.monotonic() - began
    await asyncio.sleep(1.0)  # what comes twice comes late
    arrivals.look()
    await role.end()
    mine = [one for _, one in arrivals.seen if one in ids]
    return {
        "racks": size.racks,
        "transitions": len(said),
        "expected": len(ids),
        "delivered": len(ids & arrivals.ids),
        "lost": len(ids - arrivals.ids),
        "unexpected": len({one for one in arrivals.ids - ids if not one.startswith("hangs/")}),
        "doubles": len(mine) - len(set(mine)),
        "out_of_order": _out_of_order(told, mine),
        "kills": len(at_kill),
        "delivered_at_kill": at_kill,
        "failing_share": FAILING_SHARE,
        "failures": role.status.get("metrics", {}).get("failures"),
        "took_s": round(took_s, 1),
        "role_cpu_s": round(role.cpu_s, 2),
    }


def _now(alarm: Alarm) -> Alarm:
    now_ns = time.time_ns()
    cleared_ns = now_ns if alarm.state == "normal" else None
    return dataclasses.replace(
        alarm, at_ns=now_ns, raised_ns=alarm.raised_ns or now_ns, cleared_ns=cleared_ns
    )


async def _arrived(arrivals: Arrivals, ids: set[str], enough: int | None = None) -> float:
    """Wait until so many (all where left out) have arrived, or nobody believes in it any more; how long that took."""
    began = time.monotonic()
    wanted_ = len(ids) if enough is None else enough
    while True:
        arrivals.look()
        if len(arrivals.ids & ids) >= wanted_ or time.monotonic() - began > ENOUGH_S:
            return time.monotonic() - began
        await asyncio.sleep(0.05)


def _out_of_order(told: dict[tuple[str, str], list[str]], arrived: Sequence[str]) -> int:
    """Deliveries that came, for the first time, before one that is older of the same alarm and subscription."""
    place = {one: number for number, one in reversed(list(enumerate(arrived)))}
    wrong = 0
    for (name, _), ones in told.items():
        places = [place[f"{name}/{one}"] for one in ones if f"{name}/{one}" in place]
        wrong += sum(later < earlier for earlier, later in itertools.pairwise(places))
    return wrong


def _lines(result: dict[str, Any]) -> list[str]:
    lines = [f"{'subscriptions':22} {result['subscriptions']}"]
    for part in ("steady", "flood"):
        lines.append(part)
        lines += [f"  {name:20} {value}" for name, value in result[part].items()]
    return [*lines, f"{'machine':22} {result['machine']}"]
