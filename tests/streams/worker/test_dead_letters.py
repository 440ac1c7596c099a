"""What nobody can read: to `dead-letters` with its reason, once, and the worker goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.engine.inputs import Gap, Identity
from rules.errors import InvariantError, UndecodableError
from streams.bus.bus import refuse_oversized
from streams.dead_letter import dead_letter
from streams.record import Headers, Message, Record, header
from streams.topics import DEAD_LETTERS, EVENTS, partition_of
from streams.wire import encode_input
from tests.streams.worker.scenario import PARTITIONS, UNITS, Plant, inputs, readings, small_site, tick

HERE = partition_of("row-a", PARTITIONS)


def record(
    value: bytes | None = b"x", key: bytes | None = b"row-a", headers: tuple[tuple[str, bytes], ...] = ()
) -> Record:
    return Record(EVENTS.name, HERE, 4, 0, key, value, headers)


def long_gap() -> Message:
    """A record that any broker takes, and of which no alarm could be said."""
    return encode_input(Gap("row-a", Identity("plant", 9, 1), "x" * 600_000, 0, 0, 1), PARTITIONS)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Message(EVENTS.name, HERE, b"row-a", None), b"empty"),
        (Message(EVENTS.name, HERE, b"row-a", b"x"), b"no-schema"),
        (Message(EVENTS.name, HERE, b"row-a", b"x", (("schema", b"frame/99"),)), b"unknown-schema"),
        (Message(EVENTS.name, HERE, b"row-a", b"x", (("schema", b"tick/1"),)), b"bad-json"),
        (Message(EVENTS.name, HERE, None, b"x", (("schema", b"tick/1"),)), b"bad-key"),
        (tick("nowhere", 3), b"unknown-unit"),
        (long_gap(), b"bad-envelope"),
        (
            Message(EVENTS.name, HERE, b"row-a", b"x", (("schema", b"frame/1"), ("h", b"x" * 10_000))),
            b"bad-header",
        ),
    ],
)
async def test_reasons(tmp_path: Path, message: Message, reason: bytes) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(readings("row-a", 1), message, readings("row-a", 2))
    processor = await plant.worker()
    await plant.feed(processor)
    (letter,) = plant.bus.records(DEAD_LETTERS.name)
    assert header(letter.headers, "dead-letter-reason") == reason
    assert (letter.key, letter.value or None) == (message.key, message.value)
    assert letter.headers[-len(message.headers) :] == message.headers or not message.headers
    assert header(letter.headers, "dead-letter-topic") == b"events"
    assert processor.counts.dead_letters.total() == 1
    assert processor.counts.inputs == {"activation": len(UNITS), "readings": 2}


async def test_a_header_without_a_value_ends_no_worker(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    empty: Headers = (("schema", b"frame/99"), ("h", None))  # type: ignore[assignment]  # as Kafka's clients bring it
    plant.bus.append(Message(EVENTS.name, HERE, b"row-a", b"x", empty))
    await plant.feed(await plant.worker())
    (letter,) = plant.bus.records(DEAD_LETTERS.name)
    assert letter.headers[-1] == ("h", b"")


async def test_a_unit_on_the_wrong_partition_is_not_evaluated(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    right = readings("row-a", 1)
    await plant.send(Message(right.topic, (HERE + 1) % PARTITIONS, right.key, right.value, right.headers))
    await plant.feed(await plant.worker())
    assert [reason for reason, _, _ in plant.dead_letters()] == [b"wrong-partition"]
    assert not [name for name in plant.outputs() if ":plant:" in name]


async def test_what_was_reported_before_a_snapshot_is_not_reported_again(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    await plant.send(*inputs(20, bad_every=2))
    processor = await plant.worker()
    await plant.feed(processor)
    await processor.finish()
    reported = plant.dead_letters()
    await plant.feed(await plant.worker())
    assert plant.dead_letters() == reported
    assert len(reported) == len(set(reported)) == 10


async def test_a_partition_of_garbage_only_is_acknowledged(tmp_path: Path) -> None:
    plant = await Plant(tmp_path, site=small_site(units=["row-a"])).ready()
    empty = (HERE + 1) % PARTITIONS
    processor = await plant.worker()
    for _ in range(2):  # the first second belongs to a snapshot
        await plant.send(Message(EVENTS.name, empty, b"x", b"x"))
        await plant.feed(processor)
    assert plant.committed[empty] == 2
    await plant.send(Message(EVENTS.name, empty, b"x", b"x"))
    plant.bus.hold_acknowledgements()
    await plant.feed(processor)
    assert plant.committed[empty] == 2


async def test_a_hole_in_the_offsets_ends_the_worker(tmp_path: Path) -> None:
    plant = await Plant(tmp_path).ready()
    processor = await plant.worker()
    message = readings("row-a", 1)

    def at(offset: int) -> Record:
        return Record(EVENTS.name, HERE, offset, 0, message.key, message.value, message.headers)

    await processor.process([at(0), at(1)])
    await processor.process([at(1)])
    assert processor.counts.redelivered == 1
    with pytest.raises(InvariantError, match="from offset 2 to 5"):
        await processor.process([at(5)])
    tolerant = await plant.worker(with_holes=True)
    await tolerant.process([at(0), at(5)])
    assert tolerant.counts.skipped_offsets == 4, "on the embedded broker it is counted"
    assert tolerant.positions()[HERE] == 6


def test_headers_of_nothing_are_cut_too() -> None:
    made = dead_letter(record(headers=(("", b""),) * 400_000), UndecodableError("bad-header", ""))
    assert len(made.headers) == 6
    assert header(made.headers, "dead-letter-cut") == b"headers of 800000 bytes"


@given(
    value=st.one_of(st.none(), st.integers(0, 1_000_000).map(bytes)),
    key=st.one_of(st.none(), st.integers(0, 500_000).map(bytes)),
    headers=st.lists(st.tuples(st.text(max_size=5), st.integers(0, 200_000).map(bytes)), max_size=5),
    detail=st.text(max_size=3000),
)
def test_a_dead_letter_always_fits(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes]], detail: str
) -> None:
    made = dead_letter(record(value, key, tuple(headers)), UndecodableError("bad-json", detail))
    refuse_oversized(made)
    assert header(made.headers, "dead-letter-reason") == b"bad-json"
    whole = (made.key, made.value, made.headers[-len(headers) :] if headers else ()) == (
        key,
        value,
        tuple(headers),
    )
    assert whole or header(made.headers, "dead-letter-cut") is not None
