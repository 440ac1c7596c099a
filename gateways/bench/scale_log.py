"""What a run of `headrace bench scale` has left on the log: outputs, when they came, and who has claimed what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import orjson

from gateways.bench.scale_load import OUTPUTS
from streams.bus.bus import Bus, up_to_the_end
from streams.topics import OWNERS


class Said(NamedTuple):
    """An output on the log, and when the broker took it (ns)."""

    id: str
    value: bytes
    appended_ns: int

    @property
    def cause(self) -> str:
        """The input that has caused it, or its rule and asset where a deadline has."""
        return self.id.rpartition(":")[0]


async def said_on(bus: Bus) -> list[Said]:
    """All outputs on a log. UnreachableError."""
    found: list[Said] = []
    for topic in OUTPUTS:
        reader = await bus.reader([topic])
        try:
            async for record in up_to_the_end(bus, reader, topic):
                value = record.value or b"{}"
                found.append(Said(orjson.loads(value)["id"], value, record.timestamp_ms * 1_000_000))
        finally:
            await reader.close()
    return found


class Claimed(NamedTuple):
    """So many partitions were claimed at a time (ns)."""

    at_ns: int
    worker: str
    partitions: int


async def claims_since(bus: Bus, since_ns: int) -> list[Claimed]:
    """The claims of all workers since then. UnreachableError."""
    found: list[Claimed] = []
    reader = await bus.reader([OWNERS.name])
    try:
        async for record in up_to_the_end(bus, reader, OWNERS.name):
            at_ns, claim = record.timestamp_ms * 1_000_000, orjson.loads(record.value or b"{}")
            if at_ns >= since_ns:
                found.append(Claimed(at_ns, claim["worker"], len(claim["partitions"])))
    finally:
        await reader.close()
    return found


def compared(said: Iterable[Said], wanted: Mapping[str, bytes]) -> dict[str, int]:
    """How many ids there are, and how many have other bytes than wanted, are missing, or stand beside."""
    different: set[str] = set()
    seen: set[str] = set()
    for one in said:
        seen.add(one.id)
        if one.id in wanted and wanted[one.id] != one.value:
            different.add(one.id)
    return {
        "compared": len(seen & wanted.keys()),
        "different": len(different),
        "missing": len(wanted.keys() - seen),
        "beside": len(seen - wanted.keys()),
    }


class Age(NamedTuple):
    """When a sample was due (ns), and how much later the broker had what it caused."""

    due_ns: int
    age_ns: int


def ages(said: Iterable[Said], due_ns: Mapping[str, int]) -> list[Age]:
    """Of the outputs that one of these causes has caused. The first word counts: who takes over may say it again."""
    first: dict[str, Said] = {}
    for one in said:
        if one.cause in due_ns and one.appended_ns < first.setdefault(one.id, one).appended_ns:
            first[one.id] = one
    return [Age(due_ns[one.cause], one.appended_ns - due_ns[one.cause]) for one in first.values()]
