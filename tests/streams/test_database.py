"""How files of SQLite are opened, on disks that have no room and under names that are hard to write in a URI."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from streams.database import open_database, open_read_only

SCHEMA = "create table if not exists numbers (number integer primary key)"


@pytest.mark.parametrize("method", ["mkdir", "touch"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_a_file_is_an_error_of_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, number: int
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(Path, method, full)
        with pytest.raises(sqlite3.OperationalError, match=os.strerror(number)) as caught:
            open_database(tmp_path / "run" / "numbers.sqlite", SCHEMA, "full")
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_FULL
    open_database(tmp_path / "run" / "numbers.sqlite", SCHEMA, "full").close()


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(FileExistsError) as caught:
        open_database(tmp_path / "run" / "numbers.sqlite", SCHEMA, "full")
    assert caught.value.filename == str(tmp_path / "run")


@pytest.mark.parametrize("folder", ["run", "run?100%20#1"])
def test_who_only_reads_finds_what_was_written_and_writes_nothing(tmp_path: Path, folder: str) -> None:
    file = tmp_path / folder / "numbers.sqlite"
    with closing(open_database(file, SCHEMA, "normal", mode=0o600)) as database:
        database.execute("insert into numbers values (7)")
        with closing(open_read_only(file)) as reader:
            assert reader.execute("select * from numbers").fetchall() == [(7,)]
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("insert into numbers values (8)")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        open_read_only(tmp_path / "none.sqlite")
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize(("synchronous", "level"), [("normal", 1), ("full", 2)])
def test_how_long_a_commit_waits(tmp_path: Path, synchronous: str, level: int) -> None:
    with closing(open_database(tmp_path / "x", SCHEMA, synchronous)) as database:  # type: ignore[arg-type]
        assert database.execute("pragma synchronous").fetchone() == (level,)
        assert database.execute("pragma journal_mode").fetchone() == ("wal",)


def test_a_file_that_is_not_shared_is_of_one_process(tmp_path: Path) -> None:
    with (
        closing(open_database(tmp_path / "x", SCHEMA, "normal", is_shared=False)),
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        open_database(tmp_path / "x", SCHEMA, "normal", timeout_s=0.0)
