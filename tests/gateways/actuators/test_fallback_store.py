"""What is kept of actuators in their fallback, on a disk with and without room."""

from __future__ import annotations

from pathlib import Path

from gateways.actuators.fallback_store import FallbackStore, Held

NAMES = [f"P{number}" for number in range(5000)]


def test_a_full_disk_takes_nothing_and_all_when_there_is_room_again(tmp_path: Path) -> None:
    store = FallbackStore(tmp_path / "store.sqlite")
    assert store.save([], begun=["row-a"])
    assert store._database is not None
    store._database.execute("pragma max_page_count = 1")
    held = [Held(name, 1, 2, "worker") for name in NAMES]
    assert not store.save(held)
    assert store.failures == 1
    assert store.load() == []
    store._database.execute("pragma max_page_count = 1000000")
    assert store.save(held)
    assert len(store.load() or ()) == len(NAMES)
    store.close()


def test_since_when_a_unit_is_silent(tmp_path: Path) -> None:
    store = FallbackStore(tmp_path / "store.sqlite")
    store.save([], silent={"row-a": 5, "row-b": 7})
    store.save([], silent={"row-a": 0})
    store.close()
    assert FallbackStore(tmp_path / "store.sqlite").silent() == {"row-b": 7}


def test_a_file_that_is_no_database_says_nothing_and_is_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "store.sqlite"
    file.write_bytes(b"this is no database" * 100)
    store = FallbackStore(file)
    assert (store.load(), store.begun(), store.silent()) == (None, None, {})
    file.unlink()
    assert (store.load(), store.begun(), store.failures) == ([], set(), 3)
    store.close()


def test_a_folder_that_can_not_be_made_is_made_later(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    store = FallbackStore(tmp_path / "run" / "store.sqlite")
    assert (store.load(), store.begun(), store.save([], begun=["row-a"])) == (None, None, False)
    (tmp_path / "run").unlink()
    assert store.save([], begun=["row-a"])
    assert (store.begun(), store.failures) == ({"row-a"}, 3)
    store.close()
