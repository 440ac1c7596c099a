"""A log roll, and a site restored on an empty log: nothing is lost and nothing said twice with other words."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from rules.engine.outputs import Command
from streams.bus.bus import MAX_MESSAGE_BYTES
from streams.bus.memory import MemoryBus
from streams.record import Message
from streams.roll import carry_over
from streams.rule_sets.rule_set import published_rule_sets, rule_set_message
from streams.snapshots import LOG_KEY, read_snapshots
from streams.topics import ALARMS, DEAD_LETTERS, EVENTS, JOURNAL, OWNERS, TOPICS
from streams.wire import decode_output, encode_output
from tests.streams.rule_sets.narrow import SLOW, rule_set
from tests.streams.worker.scenario import PARTITIONS, UNITS, Plant, inputs


async def fresh() -> MemoryBus:
    bus = MemoryBus()
    await bus.create_topics(TOPICS, PARTITIONS)
    return bus


async def test_a_rolled_log_says_what_one_log_says(tmp_path: Path) -> None:
    messages = inputs(60, bad_every=7)
    half = len(messages) // 2
    wanted = await Plant(tmp_path / "one").ready()
    await wanted.send(*messages)
    await wanted.run()

    plant = await Plant(tmp_path / "two").ready()
    await plant.send(*messages[:half])
    await plant.run()
    before = plant.outputs()
    old_journal = [(r.key, r.value) for r in plant.bus.records(JOURNAL.name)]
    old_letters = [(r.key, r.value) for r in plant.bus.records(DEAD_LETTERS.name)]

    assert await carry_over(plant.bus, fresh, clock_ns=lambda: 0) > 0
    new = await fresh()
    await carry_over(plant.bus, lambda: _given(new), clock_ns=lambda: 0)
    plant.bus = new
    plant.committed.clear()
    assert [(r.key, r.value) for r in new.records(JOURNAL.name)] == old_journal
    assert [(r.key, r.value) for r in new.records(DEAD_LETTERS.name)] == old_letters
    # The last input may have been sent again by a publisher that was not sure: it is a repeat, on any log.
    await plant.send(*messages[half - 3 :])
    await plant.run("publish:31,snapshot:2")

    assert {**before, **plant.outputs()} == wanted.outputs()
    assert plant.alarms() == wanted.alarms()
    last = plant.processors[1]
    assert last.counts.restores_on_other_log == len(UNITS)
    assert plant.starts[1] == dict.fromkeys(range(PARTITIONS), 0)


async def test_the_next_restart_on_the_new_log_begins_at_its_own_snapshots(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(30))
    await plant.run()
    new = await fresh()
    await carry_over(plant.bus, lambda: _given(new), clock_ns=lambda: 0)
    plant.bus = new
    plant.committed.clear()
    known = {(m.key, m.value) for m in inputs(30)}
    await plant.send(*(m for m in inputs(40) if (m.key, m.value) not in known))
    await plant.run()
    processor = await plant.worker()
    ends = await new.ends(EVENTS.name)
    assert processor.counts.restores_on_other_log == 0
    assert plant.starts[-1] == {place.partition: end for place, end in ends.items()}


async def test_rule_sets_come_along(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    sets = [rule_set(SLOW.replace("50", limit)) for limit in ("40", "50", "40")]
    await plant.send(*(rule_set_message(one) for one in sets))
    new = await fresh()
    await carry_over(plant.bus, lambda: _given(new), clock_ns=lambda: 0)
    assert list(await published_rule_sets(new)) == [sets[1].digest, sets[0].digest]


async def test_commands_that_have_expired_stay_behind(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    commands = [Command(f"c{n}", "row-a", "r", "a", "a.x", 1.0, "W", 0, n * 100, "why") for n in range(5)]
    await plant.send(*(encode_output(command, PARTITIONS) for command in commands))
    new = await fresh()
    await carry_over(plant.bus, lambda: _given(new), clock_ns=lambda: 200)
    kept = [decode_output(r.headers, r.value) for r in new.records("commands")]
    assert kept == commands[3:]


async def test_of_alarms_and_snapshots_the_last_word_is_carried(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(40))
    await plant.run()
    new = await fresh()
    await carry_over(plant.bus, lambda: _given(new), clock_ns=lambda: 0)
    records = new.records(ALARMS.name)
    assert {r.key: r.value for r in records} == plant.alarms()
    assert len(records) == len(plant.alarms())
    old = await read_snapshots(plant.bus, UNITS, PARTITIONS, ())
    assert (await read_snapshots(new, UNITS, PARTITIONS, ())).snapshots == old.snapshots
    assert orjson.loads(old.snapshots["row-a"].state)["last"]["plant"] == 40


async def test_a_record_that_the_new_log_refuses_is_carried_again(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(40, bad_every=7))
    await plant.run()
    wanted = await fresh()
    await carry_over(plant.bus, lambda: _given(wanted), clock_ns=lambda: 0)
    new = await fresh()

    async def failing() -> MemoryBus:
        # a first writer beside others on a fresh partition of the embedded broker is told 'UnknownError'
        new.drop_acknowledgements(3)
        return new

    await carry_over(plant.bus, failing, clock_ns=lambda: 0)
    for topic in TOPICS:
        once = [
            (r.key, r.value) for r in wanted.records(topic.name) if not (r.key or b"").startswith(LOG_KEY)
        ]
        found = [(r.key, r.value) for r in new.records(topic.name) if not (r.key or b"").startswith(LOG_KEY)]
        assert list(dict.fromkeys(found)) == list(dict.fromkeys(once)), topic.name
    assert orjson.loads((await read_snapshots(new, UNITS, PARTITIONS, ())).snapshots["row-a"].state)


async def test_a_record_that_none_of_ours_would_send_stays_behind_and_the_rest_is_carried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(10))
    await plant.run()
    wanted = len(plant.bus.records(JOURNAL.name))
    plant.bus.append(Message(OWNERS.name, 0, b"x", b"a" * (MAX_MESSAGE_BYTES + 1)))
    new = await fresh()
    await carry_over(plant.bus, lambda: _given(new), clock_ns=lambda: 0)
    assert len(new.records(JOURNAL.name)) == wanted
    assert [record.key for record in new.records(OWNERS.name)] == [b"worker"]
    assert [one.levelname for one in caplog.records if "stays behind" in one.getMessage()] == ["ERROR"]


async def test_an_empty_log_rolls_into_an_empty_log() -> None:
    assert await carry_over(await fresh(), fresh) == 0


async def _given(bus: MemoryBus) -> MemoryBus:
    return bus
