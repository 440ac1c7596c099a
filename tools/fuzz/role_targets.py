"""What the roles say to each other: claims, rule sets, snapshots, the mark of a replay, statuses.

Rules: whoever may write to such a topic may write nonsense; who reads it takes it for nothing, and ends for nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import orjson

from gateways.actuators.life import Life
from gateways.cli.workers import Workers
from gateways.observability.silent import expected_roles, silent_parts
from gateways.up.observer import Observer
from rules.errors import ConfigurationError
from streams.bus.memory import MemoryBus
from streams.record import Message, Record
from streams.replay_mark import replay_of
from streams.role import as_status
from streams.rule_sets.rule_set import published_rule_sets
from streams.snapshots import CHUNK_SCHEMA, MANIFEST_SCHEMA, covered_offsets, read_snapshots
from streams.topics import OWNERS, REPLAY_MARK, RULE_SETS, SNAPSHOTS, STATUS
from streams.worker.owners import Owners
from tests.rules.engine.plant import SITE, UNIT, S, site
from tools.fuzz.mutate import of_json
from tools.fuzz.runner import Case

_CHUNK: Final = b"state of a unit"
_DIGEST: Final = hashlib.sha256(_CHUNK).hexdigest()
_CLAIM: Final = {
    "schema": "owner", "epoch": 3, "partitions": [0, 1], "worker": "w", "host": "h", "pid": 7, "life": "h:7:1"
}  # fmt: skip
_MANIFEST: Final = {
    "unit": UNIT, "number": 1, "digest": _DIGEST, "chunks": 1, "bytes": len(_CHUNK), "log_id": "a", "next_offset": 9,
    "rules_digest": "r", "site_digest": "s", "at_ns": 5,
}  # fmt: skip
_STATUS: Final = {
    "schema": "status", "role": "worker-0", "kind": "worker", "pid": 7, "at_ns": S, "state": "ready",
    "metrics": {
        "engine": {"inputs": 1}, "now_ns": {UNIT: S}, "last_tick_ns": S, "rules": {UNIT: "r"}, "access": {UNIT: 0},
        "rule_sets": {"ready": ["r"], "waits": 0, "take_over_ms_max": 1.5}, "activation_pause_ms_max": 0.5,
        "lag": 3, "publishers": {"nvml": {"connected": True, "spool_records": 0}}, "sources": {"plc": {"state": "good"}},
    },
}  # fmt: skip


def _on_bus(
    seed: Any, put: Callable[[MemoryBus, bytes], None], read: Callable[[MemoryBus], Awaitable[object]]
) -> Case:
    """`put` writes what was changed onto a fresh log, `read` is who reads it."""

    def run(data: bytes) -> None:
        async def once() -> None:
            bus = MemoryBus()
            await bus.create_topics([OWNERS, RULE_SETS, SNAPSHOTS, REPLAY_MARK], 1)
            put(bus, data)
            await read(bus)

        asyncio.run(once())

    return Case(of_json([orjson.dumps(seed)]), run)


def claims(_: Path) -> Case:
    """`Owners.claim`: whatever stands there, a worker gets an epoch above all that it could read."""

    async def read(bus: MemoryBus) -> None:
        owners = Owners(bus, await bus.producer("w"), "w", lambda: S)
        epoch = await owners.claim([0, 1])
        assert owners.is_mine(0, epoch)

    return _on_bus(_CLAIM, lambda bus, data: _append(bus, OWNERS.name, b"w", data), read)


def rule_sets(_: Path) -> Case:
    """Rule sets whose key is the digest that they have, and their sites."""
    case = _on_bus({"site.yaml": SITE, "rules/a.yaml": "rules: {}"}, _put_rule_set, _read_rule_sets)
    return case._replace(declared=(ConfigurationError,))


def _put_rule_set(bus: MemoryBus, data: bytes) -> None:
    try:
        files = orjson.loads(data)
        digest = hashlib.sha256(orjson.dumps(files, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except (TypeError, ValueError):
        digest = ""
    _append(bus, RULE_SETS.name, digest.encode(), data)


async def _read_rule_sets(bus: MemoryBus) -> None:
    for one in (await published_rule_sets(bus)).values():
        one.load_site()


def snapshots(_: Path) -> Case:
    """Manifests behind a chunk."""

    def put(bus: MemoryBus, data: bytes) -> None:
        head = (("digest", _DIGEST.encode()),)
        _append(bus, SNAPSHOTS.name, f"{UNIT}:0:0".encode(), _CHUNK, (("schema", CHUNK_SCHEMA), *head))
        _append(bus, SNAPSHOTS.name, f"{UNIT}:0:m".encode(), data, (("schema", MANIFEST_SCHEMA), *head))

    async def read(bus: MemoryBus) -> None:
        await read_snapshots(bus, [UNIT], 1, ["a"])
        await covered_offsets(bus, ["a"])

    return _on_bus(_MANIFEST, put, read)


def marks(_: Path) -> Case:
    """The mark of a replay: whatever it says, it is one."""

    async def read(bus: MemoryBus) -> None:
        assert await replay_of(bus) is not None

    seed = {"recording": "a.mcap", "has_facts": True}
    return _on_bus(seed, lambda bus, data: _append(bus, REPLAY_MARK.name, b"a.mcap", data), read)


def statuses(_: Path) -> Case:
    """A role's word on itself: `up`, `activate`, `status`, the alerts and the actuators read it."""
    plant = site()

    def run(data: bytes) -> None:
        record = Record(STATUS.name, 0, 0, 0, b"worker-0", data, ())
        workers = Workers()
        workers.note([record])
        workers.digests()
        for one in workers.since(0):
            assert all(isinstance(digest, str) for digest in one.rule_sets.ready)
        status = as_status(data)
        if status is not None:
            silent_parts([status], list(expected_roles(plant, True)), 2 * S)
            life = Life([UNIT], lambda: 2 * S, lambda: 2.0, {})
            life.hear(status["role"], status["kind"], status["metrics"])
            life.silent_part()
        Observer(plant).see(record)

    return Case(of_json([orjson.dumps(_STATUS)]), run)


def _append(
    bus: MemoryBus, topic: str, key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...] = ()
) -> None:
    bus.append(Message(topic, 0, key, value, headers))


ROLE_TARGETS: Final = {
    "claims": claims,
    "rule-sets": rule_sets,
    "snapshots": snapshots,
    "marks": marks,
    "statuses": statuses,
}
