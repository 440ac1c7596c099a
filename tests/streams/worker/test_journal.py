"""The journal of a worker that ends at any moment: its chain holds, and its heads say how far it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.journal.chain import Finding, Verifier
from streams.journal.heads import read_signer
from streams.keys import key_id, make_key, read_public
from streams.topics import JOURNAL
from streams.wire import is_head
from tests.streams.worker.scenario import UNITS, Plant, inputs


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "key.pem")
    return tmp_path / "key.pem"


def verified(plant: Plant, key: Path) -> tuple[Verifier, list[Finding]]:
    public = read_public(key.with_name("key.pem.pub"))
    verifier = Verifier()
    for record in plant.bus.records(JOURNAL.name):
        verifier.take(record.value, f"{record.partition}:{record.offset}", (record.key or b"").decode())
    return verifier, verifier.finish({key_id(public): public})


@pytest.mark.parametrize("seed", range(6))
async def test_kills_between_leave_the_chain_whole_and_signed_to_its_end(
    tmp_path: Path, key: Path, seed: int
) -> None:
    plant = await Plant(tmp_path / "run", batch_seed=seed, signer=read_signer(key)).ready()
    await plant.send(*inputs(60, bad_every=7))
    when = f"publish:{5 + seed},publish:{77 + 9 * seed},snapshot:2,ack:1,publish:{150 + 7 * seed},snapshot:4"
    assert await plant.run(when) == 6
    verifier, found = verified(plant, key)
    assert found == []
    for unit in UNITS:
        chain = verifier.units[unit]
        assert (chain.first, chain.lines, chain.end.number) == (1, 121, 121)
        assert chain.signed is not None
        assert chain.signed.number == 121
    assert sum(chain.repeats for chain in verifier.units.values()) > 0


async def test_a_head_comes_with_each_period_of_event_time_and_with_a_clean_stop(
    tmp_path: Path, key: Path
) -> None:
    plant = await Plant(tmp_path / "run", signer=read_signer(key), head_every_s=2.0).ready()
    await plant.send(*inputs(59))  # ticks of 0.1 s: up to 5.9 s
    assert await plant.run() == 0
    verifier, found = verified(plant, key)
    assert found == []
    for unit in UNITS:
        times = [head.at_ns / 1e9 for head, _ in verifier.units[unit].heads]
        assert len(times) == 3
        assert 2 <= times[0] < 4 <= times[1] < times[2] == 5.9
    heads = sum(is_head(record.headers) for record in plant.bus.records(JOURNAL.name))
    assert plant.processors[-1].metrics()["heads"] == heads == 3 * len(UNITS)


async def test_without_a_key_nothing_is_signed(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(30))
    assert await plant.run() == 0
    assert not any(is_head(record.headers) for record in plant.bus.records(JOURNAL.name))
