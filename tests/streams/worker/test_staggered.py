"""Units of one partition whose snapshots lie apart: each goes on from its own, and nothing is reported again."""

from __future__ import annotations

from pathlib import Path

import orjson

from streams.snapshots import Snapshot, log_ids, snapshot_messages
from streams.topics import partition_of
from tests.streams.worker.scenario import PARTITIONS, UNITS, Plant, garbage, readings


async def test_each_unit_skips_what_its_snapshot_has(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    shared = [[u for u in UNITS if partition_of(u, PARTITIONS) == n] for n in range(PARTITIONS)]
    behind, ahead = next(units for units in shared if len(units) > 1)[:2]
    place = partition_of(behind, PARTITIONS)
    log = [
        readings(unit, n) for n in (1, 2) for unit in (behind, ahead)
    ]  # offsets 2 to 5, behind the activations
    await plant.send(*log, garbage(behind), readings(ahead, 3), readings(behind, 3), garbage(behind))
    (name,) = await log_ids(plant.bus, await plant.bus.producer("test"))
    for unit, offset, last in ((behind, 4, 1), (ahead, 8, 3)):
        state = orjson.dumps({"last": {"plant": last}, "total": 0.0})
        chunks, manifest = snapshot_messages(
            Snapshot(unit, 1, offset, name, "program-1", "site-1", state), PARTITIONS
        )
        await plant.send(*chunks, manifest)
    processor = await plant.worker()
    assert processor.positions()[place] == 4
    await plant.feed(processor)
    assert processor.counts.inputs["readings"] == 2
    assert not any(counters.get("repeats", 0) for counters in processor.metrics()["engine"].values())
    assert [offset for _, _, offset in plant.dead_letters()] == [b"9"]
