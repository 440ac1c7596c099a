"""The worker's part in an activation: an engine is offered what it means before it sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rules.engine.inputs import Activation, Identity
from streams.wire import encode_input
from tests.streams.worker.scenario import PARTITIONS, MemoryfulEngine, OneRuleSet, Plant, inputs


def activation(unit: str, digest: str, sequence: int) -> Activation:
    return Activation(unit, Identity("activation", 1, sequence), "site-1", digest)


@dataclass
class Following(OneRuleSet):
    """Rules that every engine knows from the snapshots of this test."""

    known: tuple[str, ...] = ("rules-1", "rules-2")


async def test_an_engine_is_offered_what_it_lacks(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(
        *inputs(3),
        *(
            encode_input(activation("row-a", digest, n), PARTITIONS)
            for n, digest in ((1, "rules-1"), (2, "rules-2"))
        ),
        *inputs(5)[-16:],
    )
    processor = await plant.worker()
    await plant.feed(processor)
    engines = {unit.id: unit.engine for one in processor._partitions.values() for unit in one.units.values()}
    engine = engines["row-a"]
    assert isinstance(engine, MemoryfulEngine)
    assert (engine.withdrawn, engine.offers) == (
        ["rules-2"],
        {},
    )  # offered before the step, withdrawn after it
    assert all(not other.withdrawn for name, other in engines.items() if name != "row-a")  # type: ignore[attr-defined]


async def test_a_restart_goes_on_with_the_rules_of_the_snapshot(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(10))
    plant.rules = OneRuleSet("rules-2", ("rules-2",))
    await plant.run()
    plant.rules = Following()
    processor = await plant.worker()
    said = processor.metrics()
    assert set(said["rules"].values()) == {"rules-2"}
    assert set(said["access"].values()) == {"people-1"}
    assert said["restores_of_other_rules"] == 0
