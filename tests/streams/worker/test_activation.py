"""The worker's part in an activation: an engine is offered what it means before it sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rules.engine.engine import Engine
from rules.engine.inputs import Activation, Identity
from streams.topics import partition_of
from streams.wire import encode_input
from tests.rules.access import people
from tests.rules.engine.plant import LOW, START, UNIT, program, site, tick
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


@dataclass
class Asked(OneRuleSet):
    """Real engines; which rule sets were read for them."""

    digests: list[str] = field(default_factory=list)

    def new_engine(self, unit: str, digest: str = "") -> Any:
        return Engine(program(LOW), site(), unit, "rules-1")

    async def rules_of(self, digest: str, unit: str) -> str:
        self.digests.append(digest)
        return "nobody has it"


@pytest.mark.parametrize("batch_seed", range(3))
async def test_what_is_forged_costs_no_look_at_rule_sets(tmp_path: Path, batch_seed: int) -> None:
    plant = Plant(tmp_path, site=site(), rules=Asked(), batch_seed=batch_seed)
    await plant.ready()
    forged = [
        Activation(UNIT, Identity("activation", START + n, 1), "a", f"forged-{n}", START) for n in range(9)
    ]
    genuine = people.activation("other", epoch=START)
    sent = [tick(START), people.listing(), *forged, genuine, *forged]
    await plant.send(*(encode_input(value, PARTITIONS) for value in sent))
    processor = await plant.worker()
    await plant.feed(processor)
    assert plant.rules.digests == ["other"]  # type: ignore[attr-defined]
    engine = processor._partitions[partition_of(UNIT, PARTITIONS)].units[UNIT].engine
    assert engine.counters["activations_refused"] == 19
