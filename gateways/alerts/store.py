"""The file behind the outbox: one SQLite database in the run folder, and what a transaction on it is.

Rules that this module obeys:
- WAL with synchronous=NORMAL: `kill -9` takes nothing. A power cut may take the last transactions, the place in the log
  and what came of it alike, so that they are read again.
- One writer, the role; others may read at any time.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rules.engine.outputs import Alarm
from rules.errors import UnreachableError
from streams.database import open_database, open_read_only
from streams.transaction import transaction
from streams.wire import decode_output, encode_output

FILE: Final = "alerts.sqlite"
_HEADERS: Final = (("schema", b"alarm/1"),)

SCHEMA: Final = """
create table if not exists about (name text primary key, value text not null) without rowid;
create table if not exists positions (partition integer primary key, next integer not null, last blob not null);
create table if not exists seen (id blob primary key, taken_ns integer not null) without rowid;
create index if not exists seen_by_time on seen (taken_ns);
create table if not exists alarms (key text primary key, heard integer not null, body blob not null) without rowid;
create table if not exists words (
    seq integer primary key autoincrement, heard integer not null, changed integer not null, body blob not null
);
create table if not exists held (
    place integer primary key autoincrement, subscription text not null, name text not null, due_ns integer not null,
    since_ns integer not null, body blob not null
);
create table if not exists messages (
    seq integer primary key autoincrement, id text not null, subscription text not null, lane text not null,
    channel text not null, created_ns integer not null, instead_of text not null default '', body blob not null,
    unique (id, channel)
);
create index if not exists messages_by_channel on messages (channel);
create table if not exists lanes (
    subscription text not null, channel text not null, delivered integer not null default 0,
    failed integer not null default 0, refused integer not null default 0, last_success_ns integer,
    last_error text, last_error_ns integer, primary key (subscription, channel)
) without rowid;
create table if not exists escalations (
    due_ns integer not null, subscription text not null, step integer not null, key text not null,
    occurrence text not null, primary key (subscription, occurrence, step)
) without rowid;
create index if not exists escalations_by_time on escalations (due_ns);
create index if not exists escalations_by_key on escalations (key);
create table if not exists channels (name text primary key, dead_since_ns integer not null, why text not null)
    without rowid;
create table if not exists links (id text primary key, used_ns integer not null) without rowid;
"""


class Store:
    """`read_only` for who looks at it, also while the role is down. UnreachableError: it can't be opened."""

    def __init__(self, file: Path, read_only: bool = False) -> None:
        self.file = file
        try:
            if read_only:
                self._db = open_read_only(file, timeout_s=2.0)
                self._db.execute("select count(*) from about")
                return
            # links in it acknowledge alarms
            self._db = open_database(file, SCHEMA, "normal", timeout_s=10.0, mode=0o600)
            self._db.execute("insert or ignore into about values ('epoch', ?)", (str(time.time_ns()),))
        except (sqlite3.Error, OSError) as error:
            raise UnreachableError(f"the outbox {file}: {error}") from None

    @property
    def epoch(self) -> str:
        """Names this outbox: numbers of words mean nothing in another one."""
        return str(self._db.execute("select value from about where name = 'epoch'").fetchone()[0])

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. UnreachableError: the disk takes nothing; who called has to end."""
        try:
            with transaction(self._db):
                self._settle()
                yield
        except sqlite3.Error as error:
            raise UnreachableError(f"the outbox {self.file}: {error}") from None
        self._settled()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _settle(self) -> None:
        """What was kept back for the next transaction goes into it."""

    def _settled(self) -> None:
        """It is on disk."""


def alarm_bytes(alarm: Alarm) -> bytes:
    """As its record on the topic has it."""
    return encode_output(alarm, 1).value or b""


def alarm_of(body: bytes) -> Alarm:
    """The way back."""
    alarm = decode_output(_HEADERS, body)
    assert isinstance(alarm, Alarm)
    return alarm
