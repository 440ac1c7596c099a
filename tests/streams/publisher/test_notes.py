"""What is noted later where the disk takes nothing: in order, and not at every chance."""

from __future__ import annotations

import sqlite3

from streams.publisher.notes import EVERY_S, Notes


class Disk:
    """Takes words, or nothing while it `is_full`; the time with it."""

    def __init__(self) -> None:
        self.is_full = False
        self.words: list[str] = []
        self.tries = 0
        self.now_s = 100.0
        self.metrics = {"disk_failures": 0}
        self.notes = Notes("plant", lambda: self.take("remember"), lambda: self.now_s, self.metrics)

    def take(self, word: str) -> None:
        self.tries += 1
        if self.is_full:
            raise sqlite3.OperationalError("database or disk is full")
        self.words.append(word)

    def add(self, word: str) -> None:
        self.notes.add(lambda: self.take(word))


def test_what_is_added_is_written_at_once_and_what_is_remembered_each_second() -> None:
    disk = Disk()
    disk.notes.write_what_is_due()
    disk.notes.write_what_is_due()
    assert disk.words == ["remember"]
    disk.add("a")
    disk.notes.write_what_is_due()
    assert disk.words == ["remember", "a", "remember"]
    disk.now_s += EVERY_S
    disk.notes.write_what_is_due()
    assert disk.words == ["remember", "a", "remember", "remember"]


def test_what_the_disk_refuses_is_tried_again_after_a_second_in_order() -> None:
    disk = Disk()
    disk.is_full = True
    for word in "abc":
        disk.add(word)
        disk.notes.write_what_is_due()
    assert (disk.tries, disk.metrics["disk_failures"]) == (1, 1)
    disk.now_s += EVERY_S
    disk.notes.write_what_is_due()
    assert (disk.tries, disk.metrics["disk_failures"]) == (2, 2)
    disk.is_full = False
    disk.notes.write_what_is_due()
    assert disk.words == []
    disk.now_s += EVERY_S
    disk.notes.write_what_is_due()
    disk.add("d")
    disk.notes.write_what_is_due()
    assert disk.words == ["a", "b", "c", "remember", "d", "remember"]
