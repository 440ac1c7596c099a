"""How a file of SQLite is opened: one way for every one in the run folder.

Rules: write-ahead log, and no transaction that begins by itself (`transaction`). A disk without room is SQLite's own
SQLITE_FULL, also where the file or its folder can't be made: that may be over at any time, so who opens may try again.
Every other error of the file system is left as it is: it names the file, which SQLite would not.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final, Literal

from streams.run_folder import FULL_ERRNOS

TIMEOUT_S: Final = 5.0
"""How long a call waits for another process that has the file."""


def open_database(
    file: Path,
    schema: str,
    synchronous: Literal["normal", "full"],
    *,
    timeout_s: float = TIMEOUT_S,
    is_shared: bool = True,
    any_thread: bool = False,
    mode: int = 0o666,
) -> sqlite3.Connection:
    """The file, made where it lacks, with `schema` (SQL that may run again). sqlite3.Error, OSError.

    `synchronous`: full waits at each commit until the disk has it; normal may lose the last ones to a power cut.
    `is_shared` false: no other process may open it. `mode`: of a file that is made, as for `Path.touch`.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode)
    except OSError as error:
        if error.errno not in FULL_ERRNOS:
            raise
        refused = sqlite3.OperationalError(error.strerror)
        refused.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise refused from None
    database = sqlite3.connect(
        file, timeout=timeout_s, isolation_level=None, check_same_thread=not any_thread
    )
    try:
        if not is_shared:
            database.execute("pragma locking_mode = exclusive")
        database.execute("pragma journal_mode = wal")
        database.execute(f"pragma synchronous = {synchronous}")
        database.executescript(schema)
    except BaseException:
        database.close()
        raise
    return database


def open_read_only(file: Path, timeout_s: float = TIMEOUT_S) -> sqlite3.Connection:
    """The file of a role that may be running. sqlite3.Error, also for a file that is none, at the first query."""
    uri = f"{file.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None)
