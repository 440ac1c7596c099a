"""What a source could not send, on disk, bounded, in order: one SQLite file per source.

Rules that this module obeys:
- What `put` accepted survives kill -9: one transaction per call, write-ahead log.
- A record gets its identity when it is taken to be sent, and the disk has it before the record leaves, whatever the
  power does; so dropping from a full spool makes no hole, and what is sent again has the identity that it had.
- Each process has an epoch, above all that the file knows: an older copy of the file gives no identity twice.
- What may be on the log under an identity of the live source is kept under it for the next process.
- Full: GPU frames go first, then plant readings, gaps and receipts never; of a kind, what came last. What goes is
  counted per unit in the same transaction, until it was reported; so is what can't be sent any more, but for what was
  in flight at an end.
- One process per source: a second one that opens the file is refused.
- A disk that takes nothing keeps no process from starting: the epoch is noted, and the file made, when there is room.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from rules.engine.inputs import Frame, Gap, Identity, Input, Readings, Receipt
from rules.errors import ConfigurationError, InvariantError, UndecodableError
from rules.findings import Finding
from streams.bus.bus import refuse_oversized
from streams.database import open_database
from streams.record import Message
from streams.run_folder import WRITABLE_HINT, working_in
from streams.topics import EVENTS
from streams.transaction import transaction
from streams.wire import decode_input, encode_input

FRAME, READINGS, NEVER_DROPPED, LIVE = 0, 1, 2, 3
"""The order in which a full spool drops records; never the last two. `LIVE`: in flight at an end, no backfill."""

SCHEMA = """
create table if not exists meta (epoch integer not null, live_epoch integer not null);
create table if not exists records (
    id integer primary key autoincrement, unit text not null, rank integer not null, size integer not null,
    readings integer not null, from_ns integer not null, to_ns integer not null,
    sequence integer, headers blob not null, value blob not null, epoch integer);
create index if not exists waiting on records (rank, id) where sequence is null;
create table if not exists sequences (unit text primary key, last integer not null);
create table if not exists dropped (
    unit text primary key, records integer not null, readings integer not null,
    from_ns integer not null, to_ns integer not null);
create table if not exists sent (unit text primary key, until_ns integer not null);
"""

ADDED: Final = {"records": ["epoch INTEGER"]}
"""Columns at the end of a table that files of earlier versions lack, and get when they are opened."""

_HINTS: Final = {
    sqlite3.SQLITE_BUSY: "is another process running as this source? End it, or give it another run_dir",
    sqlite3.SQLITE_CANTOPEN: WRITABLE_HINT,
    sqlite3.SQLITE_READONLY: WRITABLE_HINT,
}
"""What to do about it, by the primary result code of SQLite (its lowest byte)."""
_TAKES_NOTHING: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC}
)
"""The disk has no room (a quota is the second), which may be over at any time: a start doesn't wait for it."""


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


class Batch(NamedTuple):
    """Records in their order, and handles of those between them that can't be sent any more: to be given up."""

    records: list[Taken]
    unsendable: list[int]


class Spool:
    """The spool of one source. Calls are short (some 0.1 ms, `take` waits for the disk) and made from one thread.

    All that write raise sqlite3.Error when the disk takes nothing. `epoch`: of this process, for backfill and live.
    `refusal`: why the disk did not take it at the start, "" where it did.
    """

    def __init__(self, file: Path, source: str, limit_bytes: int, now_ns: int) -> None:
        """Open or make it. ConfigurationError when another process has it, or it can't be read or written."""
        self.source = f"{source}/backfill"
        self.epoch, self.refusal = now_ns, ""
        self.records = self.size_bytes = 0
        self._file, self._limit_bytes = file, limit_bytes
        self._connection: sqlite3.Connection | None = None
        self._is_noted = False
        self._in_flight = Batch([], [])
        try:
            with working_in(file.parent.parent):
                self._open()
            # What a start reads: what is wrong with it is said here.
            self.sent_until(), self.dropped()
            self._in_flight = self._read_in_flight()
            self.epoch = max(now_ns, self._last_epoch() + 1)
            with self._transaction(durable=True):
                self._note_epoch()
            self._is_noted = True
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0)
            if code not in _TAKES_NOTHING:
                self.close()
                words = f"the spool of {source} can't be opened: {error}"
                raise ConfigurationError(
                    [Finding(str(file), 0, 0, words, _HINTS.get(code & 0xFF, ""))]
                ) from None
            self.refusal = str(error)

    def put(self, value: Input) -> Span:
        """Keep one input (its identity is replaced); returns what had to go for it, maybe itself."""
        rank, span = _rank(value), span_of(value)
        headers, body = self._packed(value, Identity(self.source, self.epoch, 0))
        size = len(body) + len(headers)
        with self._transaction():
            gone, freed_bytes = self._make_room(size, rank)
            fits = rank == NEVER_DROPPED or self.size_bytes - freed_bytes + size <= self._limit_bytes
            if fits:
                self._insert(value.unit, rank, span, headers, body)
            else:
                self._count_dropped(value.unit, span)
        self.records -= gone.records
        self.size_bytes -= freed_bytes
        if not fits:
            return gone.join(span) if gone.records else span
        self.records += 1
        self.size_bytes += size
        return gone

    def save_in_flight(self, values: Sequence[Input], reported: Mapping[str, Span]) -> None:
        """Keep what may be on the log already, under the identities that it has. What is `reported` by it, is."""
        size = 0
        with self._transaction(durable=True):
            for value in values:
                headers, body = self._packed(value, value.identity)
                self._insert(value.unit, LIVE, span_of(value), headers, body)
                size += len(body) + len(headers)
            for unit, span in reported.items():
                self._forget_dropped(unit, span)
        self.records += len(values)
        self.size_bytes += size

    def take_in_flight(self) -> Batch:
        """What earlier processes saved as in flight, oldest first, once; on the disk it stays until `delete`."""
        batch, self._in_flight = self._in_flight, Batch([], [])
        return batch

    def take(self, limit: int) -> Batch:
        """The oldest records, at most `limit`, with the identities under which they are to be sent.

        They stay in the spool until `delete`; taken again, they have the same identities.
        """
        batch = Batch([], [])
        with self._transaction(durable=True):
            self._note_epoch()
            rows = self._database.execute(
                "select id, unit, epoch, sequence, headers, value from records where rank < ? order by id limit ?",
                (LIVE, limit),
            ).fetchall()
            for record, unit, given_epoch, given, headers, body in rows:
                try:
                    value = unpacked(unit, headers, body)
                except UndecodableError:
                    batch.unsendable.append(record)
                    continue
                if given is None:
                    identity = Identity(self.source, self.epoch, self._give_sequence(record, unit))
                else:
                    identity = Identity(self.source, given_epoch, given)
                batch.records.append(Taken(record, dataclasses.replace(value, identity=identity)))
        self._is_noted = True
        return batch

    def delete(self, ids: Sequence[int]) -> None:
        """Forget what the broker has acknowledged."""
        sizes: list[int] = []
        with self._transaction():
            for record in ids:
                sizes += self._row("select size from records where id = ?", record)
                self._database.execute("delete from records where id = ?", (record,))
        self.records -= len(sizes)
        self.size_bytes -= sum(sizes)

    def give_up(self, ids: Sequence[int]) -> Span:
        """Drop what can't be sent; `ids` are not empty. It is told as what a full spool drops.

        But not what was in flight: that may be on the log, and the gap of the restart behind it speaks of its time.
        """
        spans, size = [], 0
        with self._transaction():
            for record in ids:
                unit, *span, bytes_, rank = self._row(
                    "select unit, readings, from_ns, to_ns, size, rank from records where id = ?", record
                )
                spans.append(Span(1, *span))
                size += bytes_
                if rank != LIVE:
                    self._count_dropped(unit, spans[-1])
                self._database.execute("delete from records where id = ?", (record,))
        self.records -= len(spans)
        self.size_bytes -= size
        return reduce(Span.join, spans)

    def dropped(self) -> dict[str, Span]:
        """By unit, what was given up and not yet reported."""
        if self._connection is None:
            return {}
        rows = self._database.execute("select unit, records, readings, from_ns, to_ns from dropped")
        return {row[0]: Span(*row[1:]) for row in rows.fetchall()}

    def forget_dropped(self, unit: str, reported: Span) -> None:
        """The broker has the gap that tells of `reported`; what was dropped since stays."""
        with self._transaction():
            self._forget_dropped(unit, reported)

    def sent_until(self) -> dict[str, int]:
        """By unit, the ingest time up to which the broker is known to have everything (live)."""
        if self._connection is None:
            return {}
        return dict(self._database.execute("select unit, until_ns from sent").fetchall())

    def remember_sent(self, until_ns: dict[str, int]) -> None:
        """Keep `sent_until` for the next process."""
        with self._transaction():
            self._note_epoch()
            self._database.executemany("insert or replace into sent values (?, ?)", sorted(until_ns.items()))
        self._is_noted = True

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()

    def _open(self) -> None:
        """Connect and make what lacks, if something does. OSError, sqlite3.Error; then there is no connection."""
        connection = open_database(self._file, SCHEMA, "normal", timeout_s=0.5, is_shared=False)
        try:
            with transaction(connection):
                if not connection.execute("select 1 from meta").fetchone():
                    connection.execute("insert into meta values (0, 0)")
                _add_columns(connection)
            count, size = connection.execute(
                "select count(*), coalesce(sum(size), 0) from records"
            ).fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        self._connection, self.records, self.size_bytes = connection, int(count), int(size)

    def _read_in_flight(self) -> Batch:
        batch = Batch([], [])
        rows = self._database.execute(
            "select id, unit, headers, value from records where rank = ? order by id", (LIVE,)
        )
        for record, unit, headers, body in rows.fetchall():
            try:
                batch.records.append(Taken(record, unpacked(unit, headers, body)))
            except UndecodableError:
                batch.unsendable.append(record)
        return batch

    @property
    def _database(self) -> sqlite3.Connection:
        """Opened by now, or at last: sqlite3.Error while that fails."""
        if self._connection is None:
            try:
                self._open()
            except OSError as error:
                raise sqlite3.OperationalError(str(error)) from None
        assert self._connection is not None
        return self._connection

    def _last_epoch(self) -> int:
        """The highest that this file knows."""
        return int(max(self._row("select epoch, live_epoch from meta")))

    def _note_epoch(self) -> None:
        """On disk before anything of it leaves; its sequences begin with 1."""
        if not self._is_noted:
            epoch = max(self.epoch, self._last_epoch())
            self._database.execute("update meta set epoch = ?, live_epoch = ?", (epoch, epoch))
            self._database.execute("delete from sequences")

    def _packed(self, value: Input, identity: Identity) -> tuple[bytes, bytes]:
        """Headers and value as they are kept."""
        message = encode_input(dataclasses.replace(value, identity=identity), 1)
        return orjson.dumps([[name, text.decode()] for name, text in message.headers]), message.value or b""

    def _insert(self, unit: str, rank: int, span: Span, headers: bytes, body: bytes) -> None:
        self._database.execute(
            "insert into records (unit, rank, size, readings, from_ns, to_ns, headers, value) "
            "values (?, ?, ?, ?, ?, ?, ?, ?)",
            (unit, rank, len(headers) + len(body), span.readings, span.from_ns, span.to_ns, headers, body),
        )

    def _make_room(self, size: int, rank: int) -> tuple[Span, int]:
        """Give up waiting records of a lower rank, the newest first, until `size` fits; what, and its bytes."""
        gone, freed_bytes = Span(0, 0, 2**63 - 1, 0), 0
        while self.size_bytes - freed_bytes + size > self._limit_bytes:
            row = self._row(
                "select id, unit, size, readings, from_ns, to_ns from records "
                "where sequence is null and rank < ? order by rank, id desc limit 1",
                rank,
            )
            if not row:
                break
            span = Span(1, row[3], row[4], row[5])
            self._database.execute("delete from records where id = ?", (row[0],))
            self._count_dropped(row[1], span)
            freed_bytes += row[2]
            gone = gone.join(span)
        return gone, freed_bytes

    def _count_dropped(self, unit: str, span: Span) -> None:
        self._database.execute(
            "insert into dropped values (?, ?, ?, ?, ?) on conflict (unit) do update set "
            "records = records + excluded.records, readings = readings + excluded.readings, "
            "from_ns = min(from_ns, excluded.from_ns), to_ns = max(to_ns, excluded.to_ns)",
            (unit, *span),
        )

    def _forget_dropped(self, unit: str, reported: Span) -> None:
        self._database.execute(
            "update dropped set records = records - ?, readings = readings - ? where unit = ?",
            (reported.records, reported.readings, unit),
        )
        self._database.execute("delete from dropped where records <= 0")

    def _give_sequence(self, record: int, unit: str) -> int:
        row = self._row("select last from sequences where unit = ?", unit)
        sequence = int(row[0]) + 1 if row else 1
        self._database.execute("insert or replace into sequences values (?, ?)", (unit, sequence))
        self._database.execute(
            "update records set epoch = ?, sequence = ? where id = ?", (self.epoch, sequence, record)
        )
        return sequence

    @contextmanager
    def _transaction(self, durable: bool = False) -> Iterator[None]:
        """`durable`: its end waits until the disk has it, and all before it. A power cut may cost the others."""
        database = self._database
        if durable:
            database.execute("pragma synchronous = full")
        try:
            with transaction(database):
                yield
        finally:
            if durable:
                database.execute("pragma synchronous = normal")

    def _row(self, query: str, *values: object) -> tuple[Any, ...]:
        return self._database.execute(query, values).fetchone() or ()


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
    return FRAME if isinstance(value, Frame) else READINGS if isinstance(value, Readings) else NEVER_DROPPED


def unpacked(unit: str, headers: bytes, body: bytes) -> Input:
    """What a row of `records` holds.

    UndecodableError where it can't be sent: as `decode_input` says, 'damaged', or 'oversized' for any broker.
    """
    try:
        pairs = tuple((str(name), text.encode()) for name, text in orjson.loads(headers))
        key = unit.encode()
    except (ValueError, TypeError, AttributeError) as error:  # SQLite has no checksums
        raise UndecodableError("damaged", str(error)) from None
    if not isinstance(body, bytes):
        raise UndecodableError("damaged", "its value is no bytes")
    try:
        refuse_oversized(Message(EVENTS.name, 0, key, body, pairs))
    except ValueError as error:
        raise UndecodableError("oversized", str(error)) from None
    return decode_input(key, pairs, body)


def _add_columns(connection: sqlite3.Connection) -> None:
    """To a file of an earlier version what it lacks. What has a sequence there has the one epoch of the file."""
    for table, columns in ADDED.items():
        there = {row[1] for row in connection.execute(f"pragma table_info('{table}')")}
        for column in columns:
            if column.split()[0] not in there:
                connection.execute(f"alter table {table} add column {column}")
                connection.execute(
                    "update records set epoch = (select epoch from meta) where sequence is not null and epoch is null"
                )
