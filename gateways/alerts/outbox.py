"""What is still to be delivered, on disk, with all that the role has to remember.

Rules that this module obeys:
- What was read of the log and the notifications that come of it are one transaction: a process that dies reads again
  what it had not kept, and nothing else.
- A notification stays until its channel has taken it. That it has is committed a little later, many together: a process
  that dies in between delivers it again, under the same id.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from gateways.alerts.log_state import LogState
from gateways.alerts.notification import Notification
from gateways.alerts.waiting import Waiting

_DELIVERED: Final = (
    "update lanes set delivered = delivered + 1, last_success_ns = ? where subscription = ? and channel = ?"
)
_FAILED: Final = (
    "update lanes set failed = failed + 1, last_error = ?, last_error_ns = ?, refused = refused + ? "
    "where subscription = ? and channel = ?"
)


class Message(NamedTuple):
    """A notification on its way to a channel. `seq`: its place in the order of all."""

    seq: int
    channel: str
    created_ns: int
    notification: Notification


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


class Outbox(LogState, Waiting):
    """Of one role."""

    def __init__(self, file: Path, read_only: bool = False) -> None:
        super().__init__(file, read_only)
        self._done: list[int] = []
        self._delivered: list[tuple[int, str, str]] = []
        self._failed: list[tuple[str, int, int, str, str]] = []

    def commit(self) -> None:
        """Keep what was delivered since the last transaction."""
        if self._done or self._failed:
            with self.transaction():
                pass

    def close(self) -> None:
        """Commit and close."""
        self.commit()
        super().close()

    def _settled(self) -> None:
        self._done, self._delivered, self._failed = [], [], []

    def put(self, notification: Notification, channel: str, now_ns: int) -> int | None:
        """A notification for a channel: its number, None where it is on its way there already."""
        row = (
            notification.id,
            notification.subscription,
            notification.lane or notification.subscription,
            channel,
            now_ns,
            notification.instead_of,
            notification.body,
        )
        done = self._db.execute(
            "insert or ignore into messages (id, subscription, lane, channel, created_ns, instead_of, body) "
            "values (?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        return done.lastrowid if done.rowcount == 1 else None

    def pending(self) -> list[tuple[int, str, str]]:
        """(number, lane, channel) of all that is on its way, in order."""
        return self._db.execute("select seq, lane, channel from messages order by seq").fetchall()

    def pending_of(self, channel: str) -> list[tuple[int, str]]:
        """(number, lane) of what is on its way to a channel, in order."""
        statement = "select seq, lane from messages where channel = ? order by seq"
        return self._db.execute(statement, (channel,)).fetchall()

    def oldest_ns(self) -> int | None:
        """Since when the first of all that is on its way waits; None where nothing does."""
        row = self._db.execute("select created_ns from messages order by seq limit 1").fetchone()
        return None if row is None else int(row[0])

    def message(self, seq: int) -> Message | None:
        """None: it is not on its way any more."""
        row = self._db.execute(
            "select seq, channel, created_ns, id, subscription, body, instead_of, lane from messages where seq = ?",
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
        """What is on its way to a channel goes to another one; (number, lane) of what does, in order.

        What is on its way there already stays the only one of its id. A notification is diverted once only.
        """
        with self.transaction():
            rows = self._db.execute(
                "select seq, lane from messages where channel = ? and instead_of = '' and not exists "
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
                Notification(one.id, one.subscription, one.body, message.channel, one.lane),
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

    def dead_channels(self) -> dict[str, tuple[int, str]]:
        """By name since when (ns) and why."""
        return {row[0]: (row[1], row[2]) for row in self._db.execute("select * from channels")}

    def bury(self, channel: str, since_ns: int, why: str) -> None:
        """A channel is dead."""
        self._db.execute("insert or replace into channels values (?, ?, ?)", (channel, since_ns, why))

    def revive(self, channel: str) -> None:
        """It is not."""
        self._db.execute("delete from channels where name = ?", (channel,))

    def use_link(self, link: str, now_ns: int) -> None:
        """From now on it is used."""
        self._db.execute("insert or ignore into links values (?, ?)", (link, now_ns))

    def is_used(self, link: str) -> bool:
        """Whether a link was used."""
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
