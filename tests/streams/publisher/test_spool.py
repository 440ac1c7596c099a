"""The spool: order, identities that stay, what goes first when it is full, and what a reopened file knows."""

import dataclasses
import errno
import shutil
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine.inputs import Frame, Gap, Identity, Input, Readings, Receipt
from rules.errors import ConfigurationError
from rules.gpu_fields import FIELD_COUNT
from streams.publisher.spool import Spool, span_of
from streams.run_folder import WRITABLE_HINT

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
    while taken := spool.take(step).records:
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


def test_a_reopened_file_keeps_the_identities_that_it_gave_and_gives_new_ones_under_a_new_epoch(
    tmp_path: Path,
) -> None:
    spool = make(tmp_path)
    for number in range(4):
        spool.put(reading(number))
    first = spool.take(2).records
    spool.delete([first[0].id])
    size = spool.size_bytes
    spool.close()
    again = make(tmp_path, now_ns=99)
    assert (again.records, again.size_bytes, again.epoch) == (3, size, 99)
    identities = [taken.value.identity for taken in again.take(9).records]
    assert identities[0] == first[1].value.identity == Identity("plant/backfill", 5, 2)
    assert [(one.epoch, one.sequence) for one in identities[1:]] == [(99, 1), (99, 2)]
    assert [taken.value.identity for taken in again.take(9).records] == identities
    again.close()


@pytest.mark.parametrize("now_ns", [5, 9])
def test_no_file_gives_an_identity_that_a_later_copy_of_it_gave(tmp_path: Path, now_ns: int) -> None:
    spool = make(tmp_path)
    drain(spool)
    spool.close()
    shutil.copy(tmp_path / "plant.sqlite", tmp_path / "backup")
    spool = make(tmp_path, now_ns=now_ns)
    spool.put(reading(1))
    told = [value.identity for value in drain(spool)]
    spool.close()
    shutil.copy(tmp_path / "backup", tmp_path / "plant.sqlite")
    spool = make(tmp_path, now_ns=now_ns + 2)
    spool.put(reading(2))
    [restored] = drain(spool)
    assert (restored.identity.epoch, restored.identity.sequence) > (told[0].epoch, told[0].sequence)
    spool.close()


def test_two_processes_at_one_moment_and_before_it_have_epochs_that_rise(tmp_path: Path) -> None:
    epochs = []
    for now_ns in (7, 7, 3):
        spool = make(tmp_path, now_ns=now_ns)
        epochs.append(spool.epoch)
        spool.close()
    assert epochs == [7, 8, 9]


def test_a_file_of_an_earlier_version_keeps_the_identities_that_it_gave(tmp_path: Path) -> None:
    spool = make(tmp_path)
    for number in range(3):
        spool.put(reading(number))
    spool.take(1)
    for change in (
        "alter table records drop column epoch",
        "update meta set epoch = 4, live_epoch = 8",
        "update sequences set last = 17",
        "update records set sequence = 17 where sequence is not null",
    ):
        spool._database.execute(change)
    spool.close()
    spool = make(tmp_path)
    identities = [value.identity for value in drain(spool)]
    assert [(one.epoch, one.sequence) for one in identities] == [(4, 17), (9, 1), (9, 2)]
    spool.close()


def test_the_disk_has_identities_before_they_leave_and_what_is_put_later(tmp_path: Path) -> None:
    said: list[str] = []
    spool = make(tmp_path)
    spool._database.set_trace_callback(said.append)

    def waits_for_the_disk() -> bool:
        commit = said.index("commit")
        waited = [word for word in said[:commit] if word.startswith("pragma synchronous")]
        said.clear()
        return waited == ["pragma synchronous = full"]

    spool.put(reading(1))
    assert not waits_for_the_disk()
    spool.take(1)
    assert waits_for_the_disk()
    spool.put(reading(2))
    assert not waits_for_the_disk()
    spool.save_in_flight([dataclasses.replace(reading(3), identity=Identity("plant", 5, 1))], {})
    assert waits_for_the_disk()
    assert spool._row("pragma synchronous") == (1,)
    spool.close()


def test_what_is_kept_for_the_live_source_has_its_identity_and_is_no_backfill(tmp_path: Path) -> None:
    spool = make(tmp_path, 3000)
    spool.put(reading(1))
    values = [
        dataclasses.replace(reading(2), identity=Identity("plant", 5, 8), backfill=False),
        dataclasses.replace(gap(3), identity=Identity("plant", 5, 9)),
    ]
    spool.save_in_flight(values, {})
    for _ in range(9):  # a full spool leaves it alone
        spool.put(reading(4))
    spool.put(gap(5))
    spool.close()
    spool = make(tmp_path)
    kept = spool.take_in_flight().records
    assert spool.take_in_flight() == ([], []), "once: who sends it keeps it"
    assert [record.value.identity for record in kept] == [value.identity for value in values]
    assert isinstance(kept[0].value, Readings)
    assert not kept[0].value.backfill
    waiting = spool.take(9).records
    assert waiting[0].value.identity.source == waiting[-1].value.identity.source == "plant/backfill"
    spool.delete([record.id for record in kept])
    assert spool.records == len(waiting)
    spool.close()
    spool = make(tmp_path)
    assert spool.take_in_flight().records == []
    spool.close()


def test_a_report_that_is_kept_is_not_to_be_said_again(tmp_path: Path) -> None:
    spool = make(tmp_path, 1500)
    while not spool.put(frame(2)).records:
        pass
    report = dataclasses.replace(gap(3), identity=Identity("plant", 5, 9))
    spool.save_in_flight([report], spool.dropped())
    assert spool.dropped() == {}
    spool.close()


def test_what_can_t_be_read_any_more_has_no_sequence_and_is_given_up_as_what_does_not_fit(
    tmp_path: Path,
) -> None:
    spool = make(tmp_path)
    for number in (1, 2, 3):
        spool.put(reading(number, size=4))
    spool._database.execute("update records set value = x'00' where id = 1")
    spool._database.execute("update records set headers = x'7b' where id = 2")
    taken, unsendable = spool.take(9)
    assert [(one.id, one.value.identity.sequence) for one in taken] == [(3, 1)]
    assert unsendable == [1, 2]
    assert spool.give_up(unsendable) == spool.dropped()["a"] == (2, 8, 1000, 2000)
    assert drain(spool)
    spool.close()


def test_all_that_goes_bad_is_told_but_what_was_in_flight(tmp_path: Path) -> None:
    spool = make(tmp_path)
    for number in (1, 2, 3):
        spool.put(reading(number))
    spool.take(9)
    spool.save_in_flight([dataclasses.replace(reading(4), identity=Identity("plant", 5, 8))], {})
    spool._database.execute("update records set value = x'00'")
    _, unsendable = spool.take(9)
    assert unsendable == [1, 2, 3]
    assert spool.give_up([2, 4]) == (2, 2, 2000, 4000)
    assert spool.dropped()["a"] == (1, 1, 2000, 2000), (
        "a row behind it may be bad as well: no hole is sure to be seen"
    )
    spool.give_up([1, 3])
    assert spool.dropped()["a"] == (3, 3, 1000, 3000)
    spool.close()


class FullDisk(sqlite3.Connection):
    """Takes nothing while `is_full`, and says it as SQLite does."""

    is_full = True

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if FullDisk.is_full and sql.startswith(("insert", "update", "delete")):
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return super().execute(sql, *values)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> type[FullDisk]:
    connect = sqlite3.connect
    monkeypatch.setattr(FullDisk, "is_full", True)
    monkeypatch.setattr(sqlite3, "connect", partial(connect, factory=FullDisk))
    return FullDisk


@pytest.mark.parametrize("is_new", [True, False])
def test_a_full_disk_keeps_nobody_from_starting_and_is_written_when_it_has_room(
    tmp_path: Path, is_new: bool, full_disk: type[FullDisk]
) -> None:
    if not is_new:
        full_disk.is_full = False
        before = make(tmp_path, now_ns=50)
        before.put(reading(1))
        before.remember_sent({"a": 3})
        before.close()
        full_disk.is_full = True
    spool = make(tmp_path, now_ns=50)
    assert spool.refusal == "database or disk is full"
    assert spool.epoch == (50 if is_new else 51)
    assert spool.sent_until() == ({} if is_new else {"a": 3})
    assert (spool.dropped(), spool.take_in_flight()) == ({}, ([], []))
    for write in (lambda: spool.put(reading(2)), lambda: spool.remember_sent({"a": 4})):
        with pytest.raises(sqlite3.OperationalError, match="full"):
            write()
    assert spool.records == (0 if is_new else 1)
    full_disk.is_full = False
    spool.remember_sent({"a": 4})
    spool.put(reading(3))
    assert {value.identity.epoch for value in drain(spool)} == {spool.epoch}
    spool.close()
    again = make(tmp_path, now_ns=50)
    assert (again.epoch, again.sent_until()) == (spool.epoch + 1, {"a": 4})
    again.close()


def test_a_folder_that_can_t_be_made_on_a_full_disk_is_made_when_it_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", full)
        spool = make(tmp_path / "spool")
        assert spool.refusal == "No space left on device"
        with pytest.raises(sqlite3.OperationalError, match="No space left"):
            spool.put(reading(1))
    spool.put(reading(1))
    assert len(drain(spool)) == 1
    spool.close()


def test_a_folder_that_can_t_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "spool").touch()
    with pytest.raises(ConfigurationError, match="spool: error: can't be written") as caught:
        make(tmp_path / "spool")
    assert [finding.hint for finding in caught.value.findings] == [WRITABLE_HINT]


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
        if number % 7 == 6 and (taken := spool.take(1).records):
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

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (
            sqlite3.SQLITE_BUSY,
            "is another process running as this source? End it, or give it another run_dir",
        ),
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
