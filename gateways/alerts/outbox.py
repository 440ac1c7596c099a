"""What is still to be delivered, on disk: one SQLite file that outlives the process.

Rules that this module obeys:
- What was read of the log and the notifications that come of it are one transaction: a process that dies reads again
  what it had not kept, and nothing else.
- A notification stays until its channel has taken it. That it has is committed a little later, many together: a process
  that dies in between delivers it again, under the same id.
- A transition is known by its id for `KEEP_NS`: workers say the same again after a crash, and a log may be rolled to a
  fresh one or be read from its beginning.
- WAL with synchronous=NORMAL: a power cut may take the last transactions, positions and notifications alike, so that
  they are read again from the log.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from gateways.alerts.filters import Last, Transition
from gateways.alerts.grouping import Hold, Item
from gateways.alerts.notification import Notification
from rules.engine.outputs import Alarm
from rules.errors import UnreachableError
from streams.wire import decode_output, encode_output

FILE: Final = "alerts.sqlite"
KEEP_NS: Final = 30 * 86_400 * 1_000_000_000
WORDS_KEPT: Final = 100_000
"""So many words of the log a stream can go back."""
_HEADERS: Final = (("schema", b"alarm/1"),)
_DELIVERED: Final = (
    "update lanes set delivered = delivered + 1, last_success_ns = ? where subscription = ? and channel = ?"
)
_FAILED: Final = (
    "update lanes set failed = failed + 1, last_error = ?, last_error_ns = ?, refused = refused + ? "
    "where subscription = ? and channel = ?"
)

_SCHEMA: Final = """
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
    seq integer primary key autoincrement, id text not null, subscription text not null, channel text not null,
    created_ns integer not null, instead_of text not null default '', body blob not null, unique (id, channel)
);
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


class Position(NamedTuple):
    """Where to go on in a partition, and the digest of the record before it: on another log it is another one."""

    next: int
    last: bytes


class Word(NamedTuple):
    """A word of the log, numbered as it was read. `body`: its record's value."""

    seq: int
    transition: Transition
    body: bytes


class Message(NamedTuple):
    """A notification on its way to a channel. `seq`: its place in the order of all."""

    seq: int
    channel: str
    created_ns: int
    notification: Notification


class Due(NamedTuple):
    """A step of an escalation whose time has come."""

    subscription: str
    step: int
    key: str
    occurrence: str


class Lane(NamedTuple):
    """What became of the notifications of a subscription on a channel, and what waits there."""

    subscription: str
    channel: str
    backlog: int
    oldest_ns: int | None
    delivered: int
    failed: int
    refused: int
    last_success_ns: int | None
    last_error: str | None
    last_error_ns: int | None


def digest(value: bytes) -> bytes:
    """Of an id or a record, as it is remembered."""
    return hashlib.sha256(value).digest()[:16]


class Outbox:
    """One writer: the role. `read_only` for who looks at it, also while the role is down."""

    def __init__(self, file: Path, read_only: bool = False) -> None:
        self.file = file
        self._done: list[int] = []
        self._delivered: list[tuple[int, str, str]] = []
        self._failed: list[tuple[str, int, int, str, str]] = []
        try:
            if read_only:
                self._db = sqlite3.connect(
                    f"file:{file}?mode=ro", uri=True, isolation_level=None, timeout=2.0
                )
                self._db.execute("select count(*) from about")
                return
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)  # links in it acknowledge alarms
            self._db = sqlite3.connect(file, isolation_level=None, timeout=10.0)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = normal")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise UnreachableError(f"the outbox {file}: {error}") from None
        if not read_only:
            self._db.execute("insert or ignore into about values ('epoch', ?)", (str(time.time_ns()),))

    @property
    def epoch(self) -> str:
        """Names this outbox: numbers of words mean nothing in another one."""
        return str(self._db.execute("select value from about where name = 'epoch'").fetchone()[0])

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. UnreachableError: the disk takes nothing; who called has to end."""
        try:
            self._db.execute("begin immediate")
            try:
                self._settle()
                yield
                self._db.execute("commit")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("rollback")
                raise
        except sqlite3.Error as error:
            raise UnreachableError(f"the outbox {self.file}: {error}") from None
        self._done, self._delivered, self._failed = [], [], []

    def commit(self) -> None:
        """Keep what was delivered since the last transaction."""
        if self._done or self._failed:
            with self.transaction():
                pass

    def close(self) -> None:
        """Commit and close."""
        self.commit()
        self._db.close()

    # what was read

    @property
    def has_news(self) -> bool:
        """Whether the log was read up to its end once."""
        return self._db.execute("select 1 from about where name = 'has_news'").fetchone() is not None

    def begin_news(self) -> None:
        """It was."""
        self._db.execute("insert into about values ('has_news', '')")

    def positions(self) -> dict[int, Position]:
        """By partition of `alarms`; nothing on the first start."""
        return {row[0]: Position(row[1], row[2]) for row in self._db.execute("select * from positions")}

    def move_to(self, positions: Mapping[int, Position]) -> None:
        """Go on from here."""
        rows = [(partition, *position) for partition, position in positions.items()]
        self._db.executemany("insert or replace into positions values (?, ?, ?)", rows)

    def is_new(self, transition: str, now_ns: int) -> bool:
        """Remember a transition; False: it was here before."""
        statement = "insert or ignore into seen values (?, ?)"
        return self._db.execute(statement, (digest(transition.encode()), now_ns)).rowcount == 1

    def last_words(self) -> dict[str, Last]:
        """By the alarm's key."""
        rows = self._db.execute("select key, heard, body from alarms")
        return {key: Last(_alarm(body), bool(heard)) for key, heard, body in rows}

    def keep_word(self, one: Transition) -> None:
        """The last word on an alarm, also for those who read it as a stream."""
        body = encode_output(one.alarm, 1).value or b""
        self._db.execute(
            "insert or replace into alarms values (?, ?, ?)", (one.alarm.key, one.is_heard, body)
        )
        statement = "insert into words (heard, changed, body) values (?, ?, ?)"
        self._db.execute(statement, (one.is_heard, one.is_change, body))

    def words(self, after: int, limit: int = 200) -> list[Word]:
        """Words behind a number, in order."""
        rows = self._db.execute(
            "select seq, heard, changed, body from words where seq > ? order by seq limit ?", (after, limit)
        )
        return [
            Word(seq, Transition(_alarm(body), bool(heard), bool(changed)), body)
            for seq, heard, changed, body in rows
        ]

    def word_numbers(self) -> tuple[int, int]:
        """The first word that is kept and the last one; (1, 0) where there is none."""
        first, last = self._db.execute("select min(seq), max(seq) from words").fetchone()
        return (first, last) if first is not None else (1, 0)

    def forget(self, now_ns: int) -> None:
        """What nobody asks for any more."""
        with self.transaction():
            self._db.execute("delete from seen where taken_ns < ?", (now_ns - KEEP_NS,))
            self._db.execute("delete from links where used_ns < ?", (now_ns - KEEP_NS,))
            self._db.execute("delete from words where seq <= (select max(seq) from words) - ?", (WORDS_KEPT,))

    # what waits

    def hold(self, subscription: str, alarm: Alarm, hold: Hold, now_ns: int) -> Item:
        """Keep a transition that is not to go out yet."""
        body = encode_output(alarm, 1).value or b""
        row = (subscription, hold.group, hold.due_ns, now_ns, body)
        statement = "insert into held (subscription, name, due_ns, since_ns, body) values (?, ?, ?, ?, ?)"
        return Item(alarm, self._db.execute(statement, row).lastrowid or 0)

    def held(self) -> Iterator[tuple[str, Item, Hold]]:
        """(subscription, transition, where) in the order in which they came."""
        rows = self._db.execute("select subscription, place, name, due_ns, body from held order by place")
        for subscription, place, name, due_ns, body in rows:
            yield subscription, Item(_alarm(body), place), Hold(name, due_ns)

    def release(self, places: Iterable[int]) -> None:
        """They go out."""
        self._db.executemany("delete from held where place = ?", [(place,) for place in places])

    def escalate(self, subscription: str, alarm: Alarm, due_ns: Iterable[int]) -> None:
        """Go on to the next step at these times, unless somebody acknowledges the occurrence."""
        self._db.executemany(
            "insert or ignore into escalations values (?, ?, ?, ?, ?)",
            [
                (due, subscription, step, alarm.key, alarm.raised_id)
                for step, due in enumerate(due_ns, start=1)
            ],
        )

    def settle(self, key: str, standing: str = "") -> None:
        """No escalation of an alarm any more, but of its occurrence `standing`."""
        self._db.execute("delete from escalations where key = ? and occurrence != ?", (key, standing))

    def due_steps(self, now_ns: int) -> list[Due]:
        """Steps whose time has come, the earliest first; `drop_steps` removes them."""
        rows = self._db.execute(
            "select subscription, step, key, occurrence from escalations where due_ns <= ? order by due_ns, step",
            (now_ns,),
        )
        return [Due(*row) for row in rows]

    def drop_steps(self, now_ns: int) -> None:
        """Those of `due_steps`."""
        self._db.execute("delete from escalations where due_ns <= ?", (now_ns,))

    # what is on its way

    def put(self, notification: Notification, channel: str, now_ns: int) -> int | None:
        """A notification for a channel: its number, None where it is on its way there already."""
        row = (
            notification.id,
            notification.subscription,
            channel,
            now_ns,
            notification.instead_of,
            notification.body,
        )
        done = self._db.execute(
            "insert or ignore into messages (id, subscription, channel, created_ns, instead_of, body) "
            "values (?, ?, ?, ?, ?, ?)",
            row,
        )
        return done.lastrowid if done.rowcount == 1 else None

    def pending(self) -> list[tuple[int, str, str]]:
        """(number, subscription, channel) of all that is on its way, in order."""
        return self._db.execute("select seq, subscription, channel from messages order by seq").fetchall()

    def pending_of(self, channel: str) -> list[tuple[int, str]]:
        """(number, subscription) of what is on its way to a channel, in order."""
        statement = "select seq, subscription from messages where channel = ? order by seq"
        return self._db.execute(statement, (channel,)).fetchall()

    def oldest_ns(self) -> int | None:
        """Since when the first of all that is on its way waits; None where nothing does."""
        row = self._db.execute("select created_ns from messages order by seq limit 1").fetchone()
        return None if row is None else int(row[0])

    def message(self, seq: int) -> Message | None:
        """None: it is not on its way any more."""
        row = self._db.execute(
            "select seq, channel, created_ns, id, subscription, body, instead_of from messages where seq = ?",
            (seq,),
        ).fetchone()
        if row is None:
            return None
        number, channel, created_ns, *rest = row
        return Message(number, channel, created_ns, Notification(*rest))

    def delivered(self, message: Message, now_ns: int) -> None:
        """Its channel has taken it."""
        self._done.append(message.seq)
        self._delivered.append((now_ns, message.notification.subscription, message.channel))

    def failed(self, message: Message, why: str, now_ns: int, is_refused: bool = False) -> None:
        """Its channel has not taken it; `is_refused`: and never will."""
        self._failed.append(
            (why, now_ns, int(is_refused), message.notification.subscription, message.channel)
        )
        if is_refused:
            self._done.append(message.seq)

    def divert(self, channel: str, fallback: str) -> list[tuple[int, str]]:
        """What is on its way to a channel goes to another one; (number, subscription) of what does, in order.

        What is on its way there already stays the only one of its id. A notification is diverted once only.
        """
        with self.transaction():
            rows = self._db.execute(
                "select seq, subscription from messages where channel = ? and instead_of = '' and not exists "
                "(select 1 from messages other where other.id = messages.id and other.channel = ?) order by seq",
                (channel, fallback),
            ).fetchall()
            self._db.executemany(
                "update messages set channel = ?, instead_of = ? where seq = ?",
                [(fallback, channel, seq) for seq, _ in rows],
            )
            self._db.execute("delete from messages where channel = ? and instead_of = ''", (channel,))
        return rows

    def divert_one(self, message: Message, fallback: str) -> int | None:
        """A notification that its channel refuses goes to another one; its new number."""
        one = message.notification
        with self.transaction():
            return self.put(
                Notification(one.id, one.subscription, one.body, message.channel),
                fallback,
                message.created_ns,
            )

    def drop_orphans(self, channels: Iterable[str]) -> int:
        """What is for channels that are not in the file any more; how many."""
        names = list(channels)
        places = ",".join("?" * len(names))
        with self.transaction():
            statement = f"delete from messages where channel not in ({places})"  # noqa: S608 - placeholders only
            return self._db.execute(statement, names).rowcount

    def _settle(self) -> None:
        """What was delivered and what was not, into the transaction that begins."""
        lanes = {one[-2:] for one in (*self._delivered, *self._failed)}
        for statement, rows in (
            ("delete from messages where seq = ?", [(seq,) for seq in self._done]),
            ("insert or ignore into lanes (subscription, channel) values (?, ?)", sorted(lanes)),
            (_DELIVERED, self._delivered),
            (_FAILED, self._failed),
        ):
            if rows:
                self._db.executemany(statement, rows)

    # channels, links, and how it looks

    def dead_channels(self) -> dict[str, tuple[int, str]]:
        """By name since when (ns) and why."""
        return {row[0]: (row[1], row[2]) for row in self._db.execute("select * from channels")}

    def bury(self, channel: str, since_ns: int, why: str) -> None:
        """A channel is dead."""
        self._db.execute("insert or replace into channels values (?, ?, ?)", (channel, since_ns, why))

    def revive(self, channel: str) -> None:
        """It is not."""
        self._db.execute("delete from channels where name = ?", (channel,))

    def use_link(self, link: str, now_ns: int) -> bool:
        """Whether a link was not used before; from now on it is."""
        return self._db.execute("insert or ignore into links values (?, ?)", (link, now_ns)).rowcount == 1

    def is_used(self, link: str) -> bool:
        """Whether it was."""
        return self._db.execute("select 1 from links where id = ?", (link,)).fetchone() is not None

    def lanes(self) -> list[Lane]:
        """Of every subscription and channel of which there is anything to say."""
        statement = """
            with waiting as (
                select subscription, channel, count(*) as backlog, min(created_ns) as oldest from messages group by 1, 2
            )
            select subscription, channel, coalesce(backlog, 0), oldest, delivered, failed, refused, last_success_ns,
                last_error, last_error_ns
            from lanes left join waiting using (subscription, channel)
            union all
            select subscription, channel, backlog, oldest, 0, 0, 0, null, null, null from waiting
            where not exists (select 1 from lanes where lanes.subscription = waiting.subscription
                and lanes.channel = waiting.channel)
            order by 1, 2
        """
        return [Lane(*row) for row in self._db.execute(statement)]

    def held_counts(self) -> dict[str, tuple[int, int]]:
        """By subscription how many transitions wait for their time, and since when the first of them."""
        rows = self._db.execute("select subscription, count(*), min(since_ns) from held group by 1")
        return {row[0]: (row[1], row[2]) for row in rows}


def _alarm(body: bytes) -> Alarm:
    alarm = decode_output(_HEADERS, body)
    assert isinstance(alarm, Alarm)
    return alarm
