"""The spool: order, identities that stay, what goes first when it is full, and what a reopened file knows."""

import dataclasses
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine.inputs import Frame, Gap, Identity, Input, Readings, Receipt
from rules.errors import ConfigurationError
from rules.gpu_fields import FIELD_COUNT
from streams.publisher.spool import Spool, span_of
from streams.run_folder import FULL_HINT, WRITABLE_HINT

NOBODY = Identity("", 0, 0)


def reading(number: int, unit: str = "a", size: int = 1) -> Readings:
    times = np.full(size, number * 1000)
    zero = np.zeros(size, np.int64)
    points = tuple(f"p{i}" for i in range(size))
    return Readings(
        unit,
        NOBODY,
        number,
        points,
        times,
        zero,
        times / 1,
        zero.astype(np.uint8),
        zero.astype(np.uint32),
        True,
    )


def frame(number: int, unit: str = "a", gpus: int = 4) -> Frame:
    return Frame(
        unit,
        NOBODY,
        number,
        "R01",
        np.array([number * 1000]),
        np.arange(gpus, dtype=np.uint16),
        np.zeros((1, gpus, FIELD_COUNT), np.float32),
        np.zeros((1, gpus), np.uint8),
        np.zeros((1, gpus), np.int64),
        True,
    )


def gap(number: int, unit: str = "a") -> Gap:
    return Gap(unit, NOBODY, "disconnected", number, number + 1, 7)


def make(folder: Path, limit_bytes: int = 10**9, now_ns: int = 5) -> Spool:
    return Spool(folder / "plant.sqlite", "plant", limit_bytes, now_ns)


def drain(spool: Spool, step: int = 3) -> list[Input]:
    found = []
    while taken := spool.take(step):
        found += [record.value for record in taken]
        spool.delete([record.id for record in taken])
    assert spool.records == 0
    assert spool.size_bytes == 0
    return found


def test_it_gives_back_what_it_got_in_order_with_sequences_per_unit(tmp_path: Path) -> None:
    spool = make(tmp_path)
    for number in range(10):
        spool.put(reading(number, "ab"[number % 2]))
    found = drain(spool)
    assert [value.ingest_ns for value in found if isinstance(value, Readings)] == list(range(10))
    assert [value.identity.sequence for value in found] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert {(value.identity.source, value.identity.epoch) for value in found} == {("plant/backfill", 5)}
    spool.close()


def test_a_reopened_file_goes_on_with_its_epoch_sequences_and_counts(tmp_path: Path) -> None:
    spool = make(tmp_path)
    for number in range(4):
        spool.put(reading(number))
    first = spool.take(2)
    spool.delete([first[0].id])
    size = spool.size_bytes
    spool.close()
    again = make(tmp_path, now_ns=99)
    assert (again.records, again.size_bytes, again.epoch) == (3, size, 5)
    assert [taken.value.identity.sequence for taken in again.take(9)] == [2, 3, 4]
    assert again.take(1)[0].value.identity == first[1].value.identity
    assert again.next_live_epoch(200) == 200
    assert again.next_live_epoch(100) == 201
    again.close()


def test_what_is_on_its_way_is_never_given_up(tmp_path: Path) -> None:
    spool = make(tmp_path, 4000)
    while not spool.put(frame(1)).records:
        pass
    frames = spool.records
    spool.take(1)
    for number in range(20):
        spool.put(reading(number, size=20))
    kinds = [type(value) for value in drain(spool)]
    assert kinds[0] is Frame
    assert frames > 1
    assert Frame not in kinds[1:]
    spool.close()


def test_reported_drops_are_forgotten_and_later_ones_are_not(tmp_path: Path) -> None:
    spool = make(tmp_path, 1500)
    while not spool.put(frame(2)).records:
        pass
    reported = spool.dropped()["a"]
    spool.put(frame(9))
    spool.forget_dropped("a", reported)
    left = spool.dropped()["a"]
    assert (left.records, left.readings, left.to_ns) == (1, 4 * FIELD_COUNT, 9000)
    spool.forget_dropped("a", left)
    assert spool.dropped() == {}
    spool.close()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("rrffg"), st.sampled_from("ab"), st.integers(1, 30)), max_size=60),
    st.integers(600, 6000),
)
def test_every_record_is_drained_or_counted(
    tmp_path_factory: pytest.TempPathFactory, what: list[tuple[str, str, int]], limit_bytes: int
) -> None:
    """Whatever comes in whatever order: no hole, no gap or reading lost to a frame, every drop in its unit's count."""
    spool = make(tmp_path_factory.mktemp("spool"), limit_bytes)
    put = {"a": 0, "b": 0}
    readings = {"a": 0, "b": 0}
    for number, (kind, unit, size) in enumerate(what):
        put[unit] += 1
        value = {"r": reading(number, unit, size), "f": frame(number, unit, size), "g": gap(number, unit)}[
            kind
        ]
        readings[unit] += {"r": size, "f": size * FIELD_COUNT, "g": 7}[kind]
        spool.put(value)
        if number % 7 == 6 and (taken := spool.take(1)):
            spool.delete([taken[0].id])
            put[taken[0].value.unit] -= 1
            drained = taken[0].value
            readings[drained.unit] -= size_of(drained)
    dropped = spool.dropped()
    rest = drain(spool)
    for unit in "ab":
        of_unit = [value for value in rest if value.unit == unit]
        lost = dropped.get(unit)
        assert len(of_unit) + (lost.records if lost else 0) == put[unit]
        assert sum(map(size_of, of_unit)) + (lost.readings if lost else 0) == readings[unit]
        sequences = [value.identity.sequence for value in of_unit]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences))) if sequences else True
    gaps = sum(kind == "g" for kind, _, _ in what)
    assert sum(isinstance(value, Gap) for value in rest) <= gaps
    spool.close()


def size_of(value: Input) -> int:
    if isinstance(value, Frame):
        return value.values.size
    return len(value.points) if isinstance(value, Readings) else 7


def test_what_has_no_sample_is_of_the_time_at_which_it_was_said() -> None:
    at_ns = 1_800_000_000_000_000_000
    receipt = Receipt("a", Identity("actuators", 1, 1), "c", "P1.Sp", "done", 1.0, 1.0, at_ns)
    assert span_of(receipt) == (1, 0, at_ns, at_ns)
    empty = dataclasses.replace(frame(1), time_ns=np.array([], np.int64))
    assert span_of(empty) == (1, 0, empty.ingest_ns, empty.ingest_ns)


class Refusing:
    """A database that can't be used, for a reason of SQLite's."""

    def __init__(self, code: int) -> None:
        self._error = sqlite3.OperationalError("no")
        self._error.sqlite_errorcode = code

    def execute(self, *_: object) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (
            sqlite3.SQLITE_BUSY,
            "is another process running as this source? End it, or give it another run_dir",
        ),
        (sqlite3.SQLITE_FULL, FULL_HINT),
        (sqlite3.SQLITE_READONLY_DIRECTORY, WRITABLE_HINT),
        (sqlite3.SQLITE_NOTADB, ""),
    ],
)
def test_a_spool_that_can_t_be_opened_says_what_to_do_about_its_cause(
    code: int, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "connect", lambda *_, **__: Refusing(code))
    with pytest.raises(ConfigurationError) as caught:
        make(tmp_path)
    assert [finding.hint for finding in caught.value.findings] == [hint]


def test_a_second_process_at_the_same_spool_is_told_so(tmp_path: Path) -> None:
    first = make(tmp_path)
    with pytest.raises(ConfigurationError, match="is another process running as this source"):
        make(tmp_path)
    first.close()
