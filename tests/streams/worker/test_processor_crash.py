"""A worker that ends at any moment and starts again says what one that never ended says."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.topics import SNAPSHOTS
from tests.streams.worker.scenario import PARTITIONS, Plant, inputs, readings


async def _undisturbed(path: Path, count: int = 40) -> Plant:
    plant = await Plant(path).ready()
    await plant.send(*inputs(count, bad_every=7))
    assert await plant.run() == 0
    return plant


@pytest.mark.parametrize(
    ("point", "moments"), [("publish", range(1, 340, 13)), ("snapshot", range(1, 9)), ("ack", range(1, 7))]
)
async def test_crash_at_every_kind_of_moment(tmp_path: Path, point: str, moments: range) -> None:
    wanted = await _undisturbed(tmp_path / "undisturbed")
    for moment in moments:
        plant = await Plant(tmp_path / f"{point}-{moment}", batch_seed=moment).ready()
        await plant.send(*inputs(40, bad_every=7))
        assert await plant.run(f"{point}:{moment}") == 1, f"{point}:{moment} was never reached"
        assert plant.outputs() == wanted.outputs()
        assert plant.alarms() == wanted.alarms()
        assert set(plant.dead_letters()) == set(wanted.dead_letters())


async def test_many_crashes_in_one_run(tmp_path: Path) -> None:
    wanted = await _undisturbed(tmp_path / "undisturbed", 60)
    plant = await Plant(tmp_path / "run", batch_seed=3).ready()
    await plant.send(*inputs(60, bad_every=7))
    when = "publish:5,publish:77,snapshot:2,ack:1,publish:150,snapshot:4,ack:2"
    assert await plant.run(when) == 7
    assert plant.outputs() == wanted.outputs()
    assert plant.alarms() == wanted.alarms()


async def test_restart_begins_at_the_snapshots_and_not_at_the_start(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(40))
    first = await plant.worker()
    await plant.feed(first, limit=200)
    reached = dict(first.positions())
    await first.revoke()
    second = await plant.worker()
    assert second.counts.restores > 0
    assert all(0 < plant.starts[1][n] <= reached[n] for n in range(PARTITIONS) if reached[n] > 40)


async def test_nothing_is_acknowledged_beyond_the_lowest_snapshot(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(60))
    processor = await plant.worker()
    await plant.feed(processor, limit=300)
    assert plant.committed
    await processor.revoke()
    starts = await (await plant.worker()).assign(range(PARTITIONS))
    for partition, offset in plant.committed.items():
        assert offset == starts[partition]


async def test_no_snapshot_while_an_output_is_unacknowledged(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(10))
    processor = await plant.worker()
    before = len(plant.bus.records(SNAPSHOTS.name))
    plant.bus.hold_acknowledgements()
    await plant.feed(processor)
    assert len(plant.bus.records(SNAPSHOTS.name)) == before
    assert plant.committed == {}
    plant.bus.release_acknowledgements()
    await plant.idle()
    await plant.send(readings("row-a", 11))
    await plant.feed(processor)
    assert len(plant.bus.records(SNAPSHOTS.name)) > before


async def test_an_output_that_the_broker_refuses_ends_the_worker(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(3))
    processor = await plant.worker()
    plant.bus.drop_acknowledgements(1)
    with pytest.raises(Exception, match="acknowledgement got lost"):
        await plant.feed(processor)
    assert plant.committed == {}


async def test_two_owners_at_once_say_the_same(tmp_path: Path) -> None:
    wanted = await _undisturbed(tmp_path / "undisturbed")
    plant = await Plant(tmp_path / "run").ready()
    await plant.send(*inputs(40, bad_every=7))
    zombie = await plant.worker()
    await plant.feed(zombie, limit=120)
    owner = await plant.worker()
    for _ in range(6):
        await plant.feed(owner, limit=50)
        await plant.feed(zombie, limit=30)
    await plant.feed(owner)
    await owner.finish()
    await plant.feed(zombie)
    await zombie.finish()
    assert plant.outputs() == wanted.outputs()
    third = await plant.worker()
    ends = await plant.bus.ends("events")
    assert plant.starts[-1] == {place.partition: end for place, end in ends.items()}
    assert third.counts.restores == 4


async def test_clean_stop_leaves_nothing_to_do_again(tmp_path: Path) -> None:
    plant = await _undisturbed(tmp_path)
    said = len(plant.bus.records("journal"))
    processor = await plant.worker()
    await plant.feed(processor)
    assert processor.counts.records == 0
    assert len(plant.bus.records("journal")) == said
    ends = await plant.bus.ends("events")
    assert plant.committed == {place.partition: end for place, end in ends.items() if end}
