"""The ledger of commands: what it keeps, and what it says where its disk takes nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from gateways.actuators.ledger import CommandLedger
from rules.errors import UnreachableError


def test_it_keeps_what_the_log_may_bring_again(tmp_path: Path) -> None:
    ledger = CommandLedger(tmp_path / "ledger.sqlite")
    ledger.mark([("old", 100), ("new", 200)])
    ledger.mark([("new", 200)])
    ledger.tell(["new"])
    ledger.close()
    ledger = CommandLedger(tmp_path / "ledger.sqlite")
    assert ledger.known(["old", "new", "other"]) == {"old": False, "new": True}
    ledger.mark([("new", 200)])
    assert ledger.known(["new"]) == {"new": True}
    ledger.forget(150)
    assert ledger.known([f"x{number}" for number in range(2000)] + ["old", "new"]) == {"new": True}
    ledger.close()


def test_it_keeps_the_latest_of_each_actuator(tmp_path: Path) -> None:
    ledger = CommandLedger(tmp_path / "ledger.sqlite")
    ledger.mark([("a", 100)], latest={"P1": 7, "P2": 3})
    ledger.mark([("b", 100)], latest={"P1": 5})
    assert ledger.latest() == {"P1": 7, "P2": 3}
    ledger.close()


def test_a_full_disk_names_the_file_and_takes_all_when_there_is_room_again(tmp_path: Path) -> None:
    ledger = CommandLedger(tmp_path / "ledger.sqlite")
    ledger.mark([("first", 100)])
    assert ledger._database is not None
    ledger._database.execute("pragma max_page_count = 1")
    names = [(f"name {number}", 100) for number in range(5000)]
    with pytest.raises(UnreachableError, match=r"ledger\.sqlite: database or disk is full"):
        ledger.mark(names)
    assert ledger.known(["first", "name 0"]) == {"first": False}
    ledger._database.execute("pragma max_page_count = 1000000")
    ledger.mark(names)
    assert len(ledger.known([name for name, _ in names])) == 5000
    ledger.close()


def test_what_is_no_number_of_the_file_leaves_nothing_behind(tmp_path: Path) -> None:
    ledger = CommandLedger(tmp_path / "ledger.sqlite")
    with pytest.raises(OverflowError):
        ledger.mark([("a", 100), ("b", 1 << 70)])
    ledger.mark([("c", 100)])
    assert ledger.known(["a", "b", "c"]) == {"c": False}
    ledger.close()


def test_a_file_that_is_no_database_is_an_error_of_each_call(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(b"this is no database" * 100)
    ledger = CommandLedger(file)
    with pytest.raises(UnreachableError, match="not a database; without it no command may be acted on"):
        ledger.known(["a"])
    file.unlink()
    assert ledger.known(["a"]) == {}
    ledger.close()


def test_a_full_disk_at_the_first_start_is_an_error_of_each_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "touch", full)
        ledger = CommandLedger(tmp_path / "run" / "ledger.sqlite")
        with pytest.raises(UnreachableError, match=r"ledger\.sqlite: No space left on device"):
            ledger.mark([("a", 100)])
    ledger.mark([("a", 100)])
    assert ledger.known(["a"]) == {"a": False}
    ledger.close()


def test_a_folder_that_is_none_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(FileExistsError):
        CommandLedger(tmp_path / "run" / "ledger.sqlite")
