"""The disk of the simulation: SQLite as it is, but whoever is killed has its files closed, and a disk may be full.

Rules: what was committed stays, whatever happens to the process; a full disk refuses what adds rows, as SQLite says it,
and has no room for a recorder. What changes rows or takes them away finds room in its file, as on a real one: so one
file of a process may take what it is told while another takes nothing. Nobody waits for the real disk, as the machine
itself does not go down here.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from gateways.whole.process import PROCESS
from streams.recorder import retention

FREE_BYTES: Final = 100_000_000_000
_ADDS: Final = "insert"


class Disk:
    """`full`: names of the processes whose disk has no room now."""

    def __init__(self) -> None:
        self.full: set[str] = set()
        self.refused = 0

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Whoever connects to a database within it has this disk."""
        connect = sqlite3.connect
        disk = self

        class Connection(sqlite3.Connection):
            """A process's, by its name."""

            owner = ""

            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if sql.startswith("pragma synchronous"):
                    sql = "pragma synchronous = off"  # the machine itself does not go down here
                disk.check(self.owner, sql)
                return super().execute(sql, *values)

            def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
                disk.check(self.owner, sql)
                return super().executemany(sql, *values)

        def connected(file: Path, **given: Any) -> sqlite3.Connection:
            connection: Connection = connect(file, factory=Connection, **given)
            process = PROCESS.get()
            if process is not None:
                connection.owner = process.name
                process.disk.append(connection)
            return connection

        def free_bytes(_: Path) -> int:
            process = PROCESS.get()
            return 0 if process is not None and process.name in disk.full else FREE_BYTES

        with (
            patch.object(sqlite3, "connect", connected),
            patch.object(retention, "free_bytes", free_bytes),
            patch.object(os, "fdatasync", lambda _: None),
            patch.object(os, "fsync", lambda _: None),
        ):
            yield

    def check(self, owner: str, sql: str) -> None:
        """Raise as SQLite does when the disk is full."""
        if owner in self.full and sql.startswith(_ADDS):
            self.refused += 1
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
