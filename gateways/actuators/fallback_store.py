"""Which actuators are in their fallback, on which units Headrace has ever worked, and since when a unit is silent, over
a restart of the role.

One SQLite file in `run_dir`.

Rules: written before the device is. Unlike a command's mark it is no condition of the act: a disk that takes nothing
keeps no actuator from its safe side. What it did not take, or say, the caller tries again.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from streams.database import open_database, open_read_only
from streams.log_limit import limited
from streams.transaction import transaction

log_again: logging.Logger = limited(__name__)

FILE: Final = "actuators-fallback.sqlite"
SCHEMA: Final = """
create table if not exists fallbacks (
    actuator text primary key,
    since_ns integer not null,
    at_ns integer not null,
    part text not null,
    status text not null
) without rowid;
create table if not exists begun (unit text primary key) without rowid;
create table if not exists silent (unit text primary key, since_ns integer not null) without rowid;
"""
REFUSALS: Final = (sqlite3.Error, OSError)
"""What a file is refused by, when it is opened or later."""
NOBODY: Final[Mapping[str, int]] = MappingProxyType({})


@dataclass(slots=True)
class Held:
    """An actuator in its fallback. `since_ns`: when the silence began; `at_ns`: when it was told to fall back.

    `part`: what was silent; `status`: 'owed' until a write was answered, then 'done', or 'unknown': perhaps written.
    """

    actuator: str
    since_ns: int
    at_ns: int
    part: str
    status: Literal["owed", "done", "unknown"] = "owed"


def read_fallbacks(file: Path) -> list[Held]:
    """Those of a role that may be running; none where the file can't be read."""
    try:
        with closing(open_read_only(file)) as database:
            return [Held(*row) for row in database.execute("select * from fallbacks")]
    except sqlite3.Error:
        return []


class FallbackStore:
    """Safe to use from any thread, one call at a time. What the disk does not take is logged and counted."""

    def __init__(self, file: Path) -> None:
        self.failures = 0
        self._file = file
        self._database: sqlite3.Connection | None = None

    def load(self) -> list[Held] | None:
        """All that the process before left; None where the file can't be read."""
        try:
            return [Held(*row) for row in self._opened().execute("select * from fallbacks")]
        except REFUSALS as error:
            self._failed(error)
            return None

    def begun(self) -> set[str] | None:
        """Units on which Headrace has worked; None where the file can't be read: it may have worked on all."""
        try:
            return {str(unit) for (unit,) in self._opened().execute("select unit from begun")}
        except REFUSALS as error:
            self._failed(error)
            return None

    def silent(self) -> dict[str, int]:
        """Units that were silent when the process before ended without being told to, and since when, in ns."""
        try:
            return dict(self._opened().execute("select unit, since_ns from silent"))
        except REFUSALS as error:
            self._failed(error)
            return {}

    def save(
        self,
        held: Iterable[Held],
        gone: Iterable[str] = (),
        begun: Iterable[str] = (),
        silent: Mapping[str, int] = NOBODY,
    ) -> bool:
        """Keep or change `held`, forget `gone`, add units to those of `begun`, and say since when units are `silent`, 0
        for not: one commit. False where the disk does not take it.
        """
        try:
            database = self._opened()
            with transaction(database):
                database.executemany("delete from fallbacks where actuator = ?", [(name,) for name in gone])
                database.executemany(
                    "insert or replace into fallbacks values (?, ?, ?, ?, ?)", [astuple(one) for one in held]
                )
                database.executemany("insert or ignore into begun values (?)", [(unit,) for unit in begun])
                database.executemany("insert or replace into silent values (?, ?)", list(silent.items()))
                database.execute("delete from silent where since_ns = 0")
        except REFUSALS as error:
            self._failed(error)
            return False
        return True

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _opened(self) -> sqlite3.Connection:
        """The file. Raises one of `REFUSALS`: the next call tries again."""
        if self._database is None:
            self._database = open_database(self._file, SCHEMA, "full", any_thread=True)
        return self._database

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        log_again.error(
            "%s: %s; which actuators are in their fallback is not kept on disk", self._file, error
        )
