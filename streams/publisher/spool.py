"""What a source could not send, on disk, bounded, in order: one SQLite file per source.

Rules that this module obeys:
- What `put` accepted survives kill -9: one transaction per call, write-ahead log.
- A record gets its sequence when it is taken to be sent, on disk before it leaves; so dropping from a full spool
  makes no hole, and a record that is sent again after a crash has the identity that it had.
- Full: GPU frames go first, plant readings last, gaps and receipts never. What goes is counted per unit in the
  same transaction, until it was reported.
- One process per source: a second one that opens the file is refused.

The epoch of the backfill source is the time at which the file was made; its sequences go on across restarts.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from rules.engine.inputs import Frame, Gap, Identity, Input, Readings, Receipt
from rules.errors import ConfigurationError, InvariantError
from rules.findings import Finding
from streams.run_folder import FULL_HINT, WRITABLE_HINT
from streams.wire import decode_input, encode_input

FRAME, READINGS, KEEP = 0, 1, 2
"""The order in which records are given up; `KEEP` never is."""

SCHEMA = """
create table if not exists meta (epoch integer not null, live_epoch integer not null);
create table if not exists records (
    id integer primary key autoincrement, unit text not null, rank integer not null, size integer not null,
    readings integer not null, from_ns integer not null, to_ns integer not null,
    sequence integer, headers blob not null, value blob not null);
create index if not exists waiting on records (rank, id) where sequence is null;
create table if not exists sequences (unit text primary key, last integer not null);
create table if not exists dropped (
    unit text primary key, records integer not null, readings integer not null,
    from_ns integer not null, to_ns integer not null);
create table if not exists sent (unit text primary key, until_ns integer not null);
"""

_HINTS: Final = {
    sqlite3.SQLITE_BUSY: "is another process running as this source? End it, or give it another run_dir",
    sqlite3.SQLITE_CANTOPEN: WRITABLE_HINT,
    sqlite3.SQLITE_READONLY: WRITABLE_HINT,
    sqlite3.SQLITE_FULL: FULL_HINT,
}
"""What to do about it, by the primary result code of SQLite (its lowest byte)."""


class Span(NamedTuple):
    """How much of which time: records and readings between two event times, both in ns."""

    records: int
    readings: int
    from_ns: int
    to_ns: int

    def join(self, other: Span) -> Span:
        """Both together."""
        return Span(
            self.records + other.records,
            self.readings + other.readings,
            min(self.from_ns, other.from_ns),
            max(self.to_ns, other.to_ns),
        )


class Taken(NamedTuple):
    """A record on its way: `id` is its handle in the spool."""

    id: int
    value: Input


class Spool:
    """The spool of one source. Calls are short (some 0.1 ms) and made from one thread."""

    def __init__(self, file: Path, source: str, limit_bytes: int, now_ns: int) -> None:
        """Open or make it. ConfigurationError when another process has it, or it can't be read; OSError."""
        self.source = f"{source}/backfill"
        self._limit_bytes = limit_bytes
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()  # SQLite would not say why it can't
        try:
            self._database = sqlite3.connect(file, timeout=0.5, isolation_level=None)
            self._database.execute("pragma locking_mode = exclusive")
            self._database.execute("pragma journal_mode = wal")
            self._database.execute("pragma synchronous = normal")
            self._database.executescript(SCHEMA)
            with self._transaction():
                if not self._row("select 1 from meta"):
                    self._database.execute("insert into meta values (?, 0)", (now_ns,))
            self.epoch = int(self._row("select epoch from meta")[0])
            row = self._row("select count(*), coalesce(sum(size), 0) from records")
        except sqlite3.Error as error:
            hint = _HINTS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "")
            raise ConfigurationError(
                [Finding(str(file), 0, 0, f"the spool of {source} can't be opened: {error}", hint)]
            ) from None
        self.records, self.size_bytes = int(row[0]), int(row[1])

    def next_live_epoch(self, now_ns: int) -> int:
        """The epoch of this process's live source: now, but above every earlier one, whatever the clock did."""
        with self._transaction():
            epoch = max(now_ns, int(self._row("select live_epoch from meta")[0]) + 1)
            self._database.execute("update meta set live_epoch = ?", (epoch,))
        return epoch

    def put(self, value: Input) -> Span:
        """Keep one input (its identity is replaced); returns what had to go for it, maybe itself."""
        rank, span = _rank(value), span_of(value)
        message = encode_input(dataclasses.replace(value, identity=Identity(self.source, self.epoch, 0)), 1)
        headers = orjson.dumps([[name, text.decode()] for name, text in message.headers])
        body = message.value or b""
        size = len(body) + len(headers)
        with self._transaction():
            gone, fits = self._make_room(size, rank)
            if not fits:
                self._count_dropped(value.unit, span)
                return gone.join(span) if gone.records else span
            self._database.execute(
                "insert into records (unit, rank, size, readings, from_ns, to_ns, headers, value) "
                "values (?, ?, ?, ?, ?, ?, ?, ?)",
                (value.unit, rank, size, span.readings, span.from_ns, span.to_ns, headers, body),
            )
        self.records += 1
        self.size_bytes += size
        return gone

    def take(self, limit: int) -> list[Taken]:
        """The oldest records, at most `limit`, with the identities under which they are to be sent.

        They stay in the spool until `delete`; taken again, they have the same identities.
        """
        with self._transaction():
            rows = self._database.execute(
                "select id, unit, sequence, headers, value from records order by id limit ?", (limit,)
            ).fetchall()
            taken = []
            for record, unit, sequence, headers, value in rows:
                given = sequence if sequence is not None else self._give_sequence(record, unit)
                pairs = tuple((name, text.encode()) for name, text in orjson.loads(headers))
                found = decode_input(unit.encode(), pairs, value)
                identity = Identity(self.source, self.epoch, given)
                taken.append(Taken(record, dataclasses.replace(found, identity=identity)))
        return taken

    def delete(self, ids: Sequence[int]) -> None:
        """Forget what the broker has acknowledged."""
        sizes: list[int] = []
        with self._transaction():
            for record in ids:
                sizes += self._row("select size from records where id = ?", record)
                self._database.execute("delete from records where id = ?", (record,))
        self.records -= len(ids)
        self.size_bytes -= sum(sizes)

    def dropped(self) -> dict[str, Span]:
        """By unit, what was given up and not yet reported."""
        rows = self._database.execute("select unit, records, readings, from_ns, to_ns from dropped")
        return {row[0]: Span(*row[1:]) for row in rows.fetchall()}

    def forget_dropped(self, unit: str, reported: Span) -> None:
        """The broker has the gap that tells of `reported`; what was dropped since stays."""
        with self._transaction():
            self._database.execute(
                "update dropped set records = records - ?, readings = readings - ? where unit = ?",
                (reported.records, reported.readings, unit),
            )
            self._database.execute("delete from dropped where records <= 0")

    def sent_until(self) -> dict[str, int]:
        """By unit, the ingest time up to which the broker is known to have everything (live)."""
        return dict(self._database.execute("select unit, until_ns from sent").fetchall())

    def remember_sent(self, until_ns: dict[str, int]) -> None:
        """Keep `sent_until` for the next process."""
        with self._transaction():
            self._database.executemany("insert or replace into sent values (?, ?)", sorted(until_ns.items()))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _make_room(self, size: int, rank: int) -> tuple[Span, bool]:
        """Give up waiting records of a lower rank, the newest first, until `size` fits."""
        gone = Span(0, 0, 2**63 - 1, 0)
        while self.size_bytes + size > self._limit_bytes:
            row = self._row(
                "select id, unit, size, readings, from_ns, to_ns from records "
                "where sequence is null and rank < ? order by rank, id desc limit 1",
                rank,
            )
            if not row:
                return gone, rank == KEEP
            span = Span(1, row[3], row[4], row[5])
            self._database.execute("delete from records where id = ?", (row[0],))
            self._count_dropped(row[1], span)
            self.records -= 1
            self.size_bytes -= row[2]
            gone = gone.join(span)
        return gone, True

    def _count_dropped(self, unit: str, span: Span) -> None:
        self._database.execute(
            "insert into dropped values (?, ?, ?, ?, ?) on conflict (unit) do update set "
            "records = records + excluded.records, readings = readings + excluded.readings, "
            "from_ns = min(from_ns, excluded.from_ns), to_ns = max(to_ns, excluded.to_ns)",
            (unit, *span),
        )

    def _give_sequence(self, record: int, unit: str) -> int:
        row = self._row("select last from sequences where unit = ?", unit)
        sequence = int(row[0]) + 1 if row else 1
        self._database.execute("insert or replace into sequences values (?, ?)", (unit, sequence))
        self._database.execute("update records set sequence = ? where id = ?", (sequence, record))
        return sequence

    def _transaction(self) -> _Transaction:
        return _Transaction(self._database)

    def _row(self, query: str, *values: object) -> tuple[Any, ...]:
        return self._database.execute(query, values).fetchone() or ()


class _Transaction:
    """`begin immediate … commit`, or roll back: sqlite3's own context manager begins nothing by itself here."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("begin immediate")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._database.execute("commit")
        finally:
            # a full disk refuses a commit, and leaves what it began
            if self._database.in_transaction:
                self._database.execute("rollback")


def span_of(value: Input) -> Span:
    """How much an input carries, and of which time."""
    if isinstance(value, Frame) and len(value.time_ns):
        return Span(1, value.values.size, int(value.time_ns.min()), int(value.time_ns.max()))
    if isinstance(value, Readings) and len(value.points):
        return Span(1, len(value.points), int(value.time_ns.min()), int(value.time_ns.max()))
    if isinstance(value, Gap):
        return Span(1, value.readings, value.from_ns, value.to_ns)
    if isinstance(value, Receipt):
        return Span(1, 0, value.at_ns, value.at_ns)
    if isinstance(value, Frame | Readings):
        return Span(1, 0, value.ingest_ns, value.ingest_ns)
    raise InvariantError(f"{type(value).__name__} is nothing that a source keeps in a spool")


def _rank(value: Input) -> int:
    return FRAME if isinstance(value, Frame) else READINGS if isinstance(value, Readings) else KEEP
