"""Which commands were taken, and the highest owner's epoch of each unit, on disk before the act: a file in `run_dir`.

Rules: a batch of marks is one durable commit; a mark without a word after it means that the process ended between
mark and receipt. What was marked is kept for as long as the log may bring it again: the longest expiry, the clock
skew, and the retention of the topic, because the reader starts at the beginning of the log. A disk that takes nothing,
or a file that can't be read, is an UnreachableError of every call: the next one tries again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rules.errors import UnreachableError
from streams.database import open_database
from streams.transaction import transaction

SCHEMA: Final = """
create table if not exists commands (
    id text primary key,
    expires_ns integer not null,
    told integer not null default 0
) without rowid;
create index if not exists by_expiry on commands (expires_ns);
create table if not exists owners (unit text primary key, epoch integer not null) without rowid;
create table if not exists latest (actuator text primary key, cause_ns integer not null) without rowid;
"""
NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


class CommandLedger:
    """Ids of commands: unknown, marked (taken, the receipt not yet out), or told. Safe to use from any thread."""

    def __init__(self, file: Path) -> None:
        """OSError: a file that can't be made or written; where the disk has no room, the next call tries again."""
        self._file = file
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        with suppress(sqlite3.Error):
            self._database = _open(file)

    def known(self, ids: Sequence[str]) -> dict[str, bool]:
        """Those of `ids` that were taken before: True when their receipt is out."""
        found: dict[str, bool] = {}
        with self._opened() as database:
            for start in range(0, len(ids), 500):
                part = ids[start : start + 500]
                places = ",".join("?" * len(part))
                rows = database.execute(
                    f"select id, told from commands where id in ({places})",  # noqa: S608 - placeholders only
                    part,
                )
                found.update((name, bool(told)) for name, told in rows)
        return found

    def epochs(self) -> dict[str, int]:
        """The highest epoch of an owner that was seen of each unit."""
        with self._opened() as database:
            return dict(database.execute("select unit, epoch from owners"))

    def latest(self) -> dict[str, int]:
        """When the latest command was decided that was taken to be written, in ns, by actuator."""
        with self._opened() as database:
            return dict(database.execute("select actuator, cause_ns from latest"))

    def mark(
        self,
        commands: Iterable[tuple[str, int]],
        epochs: Mapping[str, int] = NOTHING,
        latest: Mapping[str, int] = NOTHING,
    ) -> None:
        """Take commands (id, expires_ns), owners' epochs by unit, and `latest`: on disk when this returns."""
        self._write(
            ("insert or ignore into commands (id, expires_ns) values (?, ?)", list(commands)),
            (
                "insert into owners values (?, ?) on conflict do update set epoch = max(epoch, excluded.epoch)",
                list(epochs.items()),
            ),
            (
                "insert into latest values (?, ?) "
                "on conflict do update set cause_ns = max(cause_ns, excluded.cause_ns)",
                list(latest.items()),
            ),
        )

    def tell(self, ids: Iterable[str]) -> None:
        """The receipts of these commands are out."""
        self._write(("update commands set told = 1 where id = ?", [(name,) for name in ids]))

    def forget(self, before_ns: int) -> None:
        """Drop what expired before this time."""
        self._write(("delete from commands where expires_ns < ?", [(before_ns,)]))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The file, for one call at a time. UnreachableError, which names it, for whatever SQLite says."""
        with self._lock:
            try:
                if self._database is None:
                    self._database = _open(self._file)
                yield self._database
            except (sqlite3.Error, OSError) as error:
                raise UnreachableError(
                    f"{self._file}: {error}; without it no command may be acted on"
                ) from None

    def _write(self, *work: tuple[str, Sequence[tuple[str | int, ...]]]) -> None:
        """Statements with their rows, in one commit."""
        if not any(rows for _, rows in work):
            return
        with self._opened() as database, transaction(database):
            for statement, rows in work:
                database.executemany(statement, rows)


def _open(file: Path) -> sqlite3.Connection:
    return open_database(file, SCHEMA, "full", any_thread=True)
