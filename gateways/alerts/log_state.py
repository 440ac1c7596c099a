"""What the role has read of the topic `alarms`: where to go on, transitions that it knows, last words, and a stream.

Rule: a transition is known by its id for `KEEP_NS`, wherever it comes from: workers say the same again after a crash,
and a log may be rolled to a fresh one or be read from its beginning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple

from gateways.alerts.filters import Last, Transition
from gateways.alerts.store import Store, alarm_bytes, alarm_of

KEEP_NS: Final = 30 * 86_400 * 1_000_000_000
WORDS_KEPT: Final = 100_000
"""So many words a stream can go back."""


class Position(NamedTuple):
    """Where to go on in a partition, and the digest of the record before it: on another log it is another one."""

    next: int
    last: bytes


class Word(NamedTuple):
    """A word of the log, numbered as it was read. `body`: its record's value."""

    seq: int
    transition: Transition
    body: bytes


def digest(value: bytes) -> bytes:
    """Of an id or a record, as it is remembered."""
    return hashlib.sha256(value).digest()[:16]


class LogState(Store):
    """What was read. All but `words` and what only looks is called within a transaction."""

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
        return {key: Last(alarm_of(body), bool(heard)) for key, heard, body in rows}

    def keep_word(self, one: Transition) -> None:
        """The last word on an alarm, also for those who read it as a stream."""
        body = alarm_bytes(one.alarm)
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
            Word(seq, Transition(alarm_of(body), bool(heard), bool(changed)), body)
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
