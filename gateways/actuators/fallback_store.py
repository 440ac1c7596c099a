"""Which actuators are in their fallback, and on which units Headrace has ever worked, over a restart of the role.

One SQLite file in `run_dir`.

Rules: written before the device is. Unlike a command's mark it is no condition of the act: a disk that takes nothing
keeps no actuator from its safe side.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final, Literal

log = logging.getLogger(__name__)

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
"""


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
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return [Held(*row) for row in database.execute("select * from fallbacks")]
    except sqlite3.Error:
        return []


class FallbackStore:
    """Safe to use from any thread, one call at a time. What the disk does not take is logged and counted."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.failures = 0
        self._database: sqlite3.Connection | None = None
        try:
            self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            self._database.execute("pragma journal_mode = wal")
            self._database.executescript(SCHEMA)
        except sqlite3.Error as error:
            self._failed(error)

    def load(self) -> list[Held]:
        """All that the process before left."""
        try:
            rows = (
                [] if self._database is None else self._database.execute("select * from fallbacks").fetchall()
            )
        except sqlite3.Error as error:
            self._failed(error)
            return []
        return [Held(*row) for row in rows]

    def begun(self) -> set[str] | None:
        """Units on which Headrace has worked; None where the file can't be read: it may have worked on all."""
        try:
            if self._database is not None:
                return {str(unit) for (unit,) in self._database.execute("select unit from begun")}
        except sqlite3.Error as error:
            self._failed(error)
        return None

    def save(self, held: Iterable[Held], gone: Iterable[str] = (), begun: Iterable[str] = ()) -> None:
        """Keep or change `held`, forget `gone`, and add units to those of `begun`: one commit."""
        if self._database is None:
            return
        try:
            self._database.execute("begin immediate")
            try:
                self._database.executemany(
                    "delete from fallbacks where actuator = ?", [(name,) for name in gone]
                )
                self._database.executemany(
                    "insert or replace into fallbacks values (?, ?, ?, ?, ?)", [astuple(one) for one in held]
                )
                self._database.executemany(
                    "insert or ignore into begun values (?)", [(unit,) for unit in begun]
                )
                self._database.execute("commit")
            except BaseException:
                self._database.execute("rollback")
                raise
        except sqlite3.Error as error:
            self._failed(error)

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()

    def _failed(self, error: sqlite3.Error) -> None:
        self.failures += 1
        log.error("which actuators are in their fallback is not kept on disk: %s", error)
