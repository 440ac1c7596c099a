"""Two units with real engines that tell each other facts: a worker that is killed says what one that never was says."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from rules.engine.inputs import Activation, Identity, Input
from streams.bus.memory import MemoryBus
from streams.record import Message
from streams.role import RoleContext
from streams.rule_sets import prepared_rules
from streams.rule_sets.prepare_rules import prepare_aside
from streams.rule_sets.rule_set import RuleSet, rule_set_message, rule_set_of
from streams.settings import Settings
from streams.site_folder import load_site
from streams.topics import ALARMS, COMMANDS, EVENTS, TOPICS
from streams.wire import encode_input
from streams.worker.processor import Processor
from tests.rules.engine.plant import MS, SITE, START, UNIT, S, flow, tick
from tests.streams.worker.scenario import PARTITIONS, Plant, SimulatedCrashError

HALL = "hall"
RULES = """
rules:
  total:
    for: PowerMeter
    when: sum(Rack.RackPower) > 100 kW
    severity: low
    message: "{asset} {value}"
  shed:
    for: Rack
    when: PowerMeter.ActivePower > 300 kW
    severity: high
    message: "{asset} {value}"
    then: [{command: limit each GPU.power_limit to 500 W}]
"""
OTHER = RULES.replace("100 kW", "70 kW").replace("300 kW", "250 kW")
STEPS = 24


@dataclass
class TwoUnits(Plant):
    """Each of its workers is as a process that starts: with the rules that it finds on the log, or in the folder."""

    crashes: int = field(default=0)

    async def start(self, crash_at: str = "") -> Processor:
        context = RoleContext(
            "worker",
            self.site,
            self.run_dir / "site",
            Settings(run_dir=self.run_dir),
            self.bus,
            asyncio.Event(),
        )
        self.rules = await prepared_rules.prepared_rules(context)  # type: ignore[assignment]
        return await self.worker(crash_at)

    async def live(
        self, steps: Sequence[list[Message]], crash_at: str = "", kills: Collection[int] = ()
    ) -> None:
        """The inputs of each step reach the log when what the one before has made is read; killed behind `kills`."""
        processor = await self.start(crash_at)
        for number, step in enumerate(steps):
            await self.send(*step)
            while True:
                try:
                    await self.feed(processor)
                    break
                except SimulatedCrashError:
                    self.crashes += 1
                    await processor.revoke()
                    processor = await self.start(crash_at)
            if number in kills:
                await processor.revoke()
                processor = await self.start()
        await processor.finish()

    def said(self) -> dict[str, set[bytes | None]]:
        """Alarms, commands and facts, each as often as it was said counting once."""
        facts = {
            record.value
            for record in self.bus.records(EVENTS.name)
            if b"fact/1" in dict(record.headers).values()
        }
        outputs = {
            topic: {r.value for r in self.bus.records(topic)} for topic in (ALARMS.name, COMMANDS.name)
        }
        return {**outputs, "facts": facts}


async def two_units(folder: Path) -> TwoUnits:
    site_dir = folder / "site"
    await asyncio.to_thread(_write, site_dir)
    plant = TwoUnits(folder, MemoryBus(), load_site(site_dir))
    await plant.bus.create_topics(TOPICS, PARTITIONS)
    return plant


def _write(site_dir: Path) -> None:
    (site_dir / "rules").mkdir(parents=True)
    (site_dir / "site.yaml").write_text(SITE.replace("tick:", "rules: [rules]\ntick:", 1))
    (site_dir / "rules" / "units.yaml").write_text(RULES)


def a_day() -> list[list[Message]]:
    """Steps of half a second: powers that rise over the limits of both sets of rules and fall again."""
    steps: list[list[Message]] = []
    for n in range(STEPS):
        at_ns = START + n * S // 2
        kw = 20.0 + 5 * min(n, STEPS - n)
        row = [flow(2 * n + k, at_ns + 20 * MS, kw, point=f"R{k}.RackPower") for k in (1, 2)]
        hall = replace(flow(n + 1, at_ns + 20 * MS, 4 * kw, point="H.ActivePower"), unit=HALL)
        inputs: list[Input] = [tick(at_ns), tick(at_ns, HALL), *row, hall]
        steps.append([encode_input(value, PARTITIONS) for value in inputs])
    return steps


def taking_up(rule_set: RuleSet, at_ns: int) -> list[Message]:
    """What `headrace activate` says."""
    identity = Identity("activation", at_ns, 1)
    said = [Activation(unit, identity, "", rule_set.digest, at_ns) for unit in (UNIT, HALL)]
    return [rule_set_message(rule_set), *(encode_input(value, PARTITIONS) for value in said)]


async def test_a_worker_that_is_killed_in_the_middle_of_facts_says_the_same(tmp_path: Path) -> None:
    wanted = await two_units(tmp_path / "undisturbed")
    await wanted.live(a_day())
    said = wanted.said()
    assert {topic: len(values) for topic, values in said.items()} == {
        "alarms": 6,
        "commands": 8,
        "facts": STEPS,
    }
    points = [*(f"publish:{n}" for n in range(1, 42, 4)), "snapshot:2", "snapshot:5", "ack:1", "ack:4"]
    for point in points:
        plant = await two_units(tmp_path / point.replace(":", "-"))
        plant.batch_seed = int(point.partition(":")[2])
        await plant.live(a_day(), point)
        assert plant.crashes == 1, f"{point} was never reached"
        assert plant.said() == said, point


async def test_what_other_rules_have_not_ruled_is_not_decided_by_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def aside(rule_set: RuleSet, *of: Any) -> dict[str, bytes] | str:
        asked.append(rule_set.digest)
        return await prepare_aside(rule_set, *of)

    monkeypatch.setattr(prepared_rules, "prepare_aside", aside)
    found: list[dict[str, set[bytes | None]]] = []
    for kills in ((), (1, 5, 11, 13, 17)):
        plant = await two_units(tmp_path / f"{len(kills)}-kills")
        plant.snapshot_every_s = 3600.0  # each worker begins at the log's beginning
        files = rule_set_of(plant.run_dir / "site", plant.site).files
        others = [
            RuleSet({**files, "rules/units.yaml": rules}) for rules in (OTHER, OTHER.replace("70", "75"))
        ]
        before, *day = a_day()
        await plant.send(*before)  # nobody has activated anything yet
        for step, other in zip((7, 10), others, strict=True):
            day[step] += taking_up(other, START + (step + 1) * S // 2 + 100 * MS)
        await plant.live(day, kills=kills)
        found.append(plant.said())
        assert asked == [other.digest for other in others], (
            "each is made ready once, however often one begins"
        )
        asked.clear()
    assert found[0] == found[1]
    assert len(found[0]["alarms"]) > 0
