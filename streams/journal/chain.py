"""Verifies the chain of a journal: takes its records in order, and names per unit the first that is not as it was said.

Rules:
- A line that comes again with the same bytes is fine: a worker that was restarted says again what it had said since
  its snapshot. Who begins in the middle begins the chain there, and what retention took at the beginning is no error.
- A link that does not hold says that one of two lines was changed. What follows says which: the one that the next
  line, or a head, vouches for was not.
- What is missing was removed, unless it comes later: then it was put elsewhere.
- The last line has nobody who vouches for it but a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rules.engine.chain import ENTRY_SCHEMA, ChainEnd, hash_of
from rules.errors import UndecodableError
from streams.journal.heads import Head, head_of, is_signed, looks_like_head

_HASH_BYTES: Final = 32
_UNKNOWN: Final = bytes(_HASH_BYTES)
"""In the place of a line that has not come."""
_LARGEST_HOLE: Final = 1_000_000
"""A number that lies further ahead was changed: no hole of that size is worth its memory."""

What = Literal[
    "changed", "removed", "reordered", "begun again", "unreadable", "wrong head", "cut", "not signed"
]


class Line(NamedTuple):
    """A line of the journal, and where it stands."""

    unit: str
    number: int
    previous: str
    id: str
    at_ns: int
    kind: str
    hash: str
    place: str


class Finding(NamedTuple):
    """What is wrong. `number` 0 and `id` "" where nobody can tell."""

    unit: str
    what: What
    number: int
    id: str
    place: str
    message: str


class Row(NamedTuple):
    """What the other columns of a copy's row say of its record. `differs`: what the record says otherwise, in words."""

    unit: str
    number: int
    id: str
    differs: str = ""


def line_of(value: bytes, place: str) -> Line:
    """A line from its bytes. Raises UndecodableError for what is none."""
    try:
        said = orjson.loads(value)
        body = said["body"]
        line = Line(
            said["unit"],
            body["number"],
            body["previous"],
            said["id"],
            body["at_ns"],
            body["kind"],
            hash_of(value),
            place,
        )
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UndecodableError("bad-json", str(error)) from None
    if said.get("schema") != ENTRY_SCHEMA or b"\n" in value:
        raise UndecodableError("bad-envelope", f"no line of the journal: schema {said.get('schema')!r}")
    kinds: Sequence[Any] = (str, int, str, str, int, str, str, str)
    if any(type(item) is not kind for item, kind in zip(line, kinds, strict=True)) or line.number < 0:
        raise UndecodableError("bad-envelope", "a field of another type than it should have")
    if not line.id.startswith(f"{line.unit}:"):
        raise UndecodableError("bad-envelope", f"'{line.id}' is no id of unit '{line.unit}'")
    return line


@dataclass(slots=True)
class UnitChain:
    """What has come of one unit. `repeats`: lines that came again; `signed`: the last head that a key vouches for."""

    unit: str
    first: int = 0
    lines: int = 0
    repeats: int = 0
    heads: list[tuple[Head, str]] = field(default_factory=list)
    signed: Head | None = None
    last: Line | None = None
    broken: Finding | None = None
    _hashes: bytearray = field(default_factory=bytearray)
    _begins_with: str = ""
    _link: tuple[Line, Line, bool | None] | None = None
    """Two lines that do not fit, and whether the second one is vouched for; None while nobody knows."""

    _rivals: tuple[Line, Line] | None = None
    """The last line, and what was said in its place later; nobody knows yet which of them is the right one."""

    _missing: range = range(0)
    _again: tuple[Line, int] | None = None
    """Lines of before the first one, which a worker says again: the first of them, and the number that is due."""

    @property
    def end(self) -> ChainEnd:
        """The line with the highest number."""
        return ChainEnd() if self.last is None else ChainEnd(self.last.number, self.last.hash)

    def take(self, line: Line) -> None:
        """The next line of the unit."""
        last = self.last
        if last is None:
            self._begin(line)
            return
        self._vouch(line)
        follows = line.previous == last.hash
        if line.number == last.number + 1:
            if self._rivals is not None:
                self._settle(line.previous)
            elif not follows and self.broken is None and self._link is None:
                self._link = last, line, None
            self._append(line)
        elif follows and line.hash != last.hash:
            self._break(
                "changed", line, f"follows number {last.number}, and says that it is number {line.number}"
            )
        elif line.number > last.number:
            self._skip(line, last)
        elif line.number < self.first:
            self._before(line)
        else:
            self._repeat(line, last)

    def _begin(self, line: Line) -> None:
        if line.number == 0:
            self._break("changed", line, "has no number: it was written before the journal was chained")
            return
        self.first, self._begins_with = line.number, line.previous
        if (line.number == 1) != (line.previous == ""):
            self._break("changed", line, "says what is before it as only the first line may, or has to")
        self._append(line)

    def _append(self, line: Line) -> None:
        self.last = line
        self.lines += 1
        self._hashes += bytes.fromhex(line.hash)

    def _skip(self, line: Line, last: Line) -> None:
        if self.broken is None and self._link is None and not self._missing:
            self._missing = range(last.number + 1, line.number)
            names = (
                str(last.number + 1) if len(self._missing) == 1 else f"{last.number + 1} to {line.number - 1}"
            )
            self.broken = Finding(
                self.unit, "removed", last.number + 1, "", f"before {line.place}",
                f"number {names} is missing before number {line.number} ({line.id})",
            )  # fmt: skip
        if line.number - last.number > _LARGEST_HOLE:
            return
        self._hashes += _UNKNOWN * (line.number - last.number - 1)
        self._append(line)

    def _repeat(self, line: Line, last: Line) -> None:
        known = self._known(line.number)
        if line.number in self._missing and self.broken is not None and self.broken.what == "removed":
            self.broken = Finding(
                self.unit, "reordered", line.number, line.id, line.place,
                f"number {line.number} comes behind number {last.number}",
            )  # fmt: skip
        if known == _UNKNOWN:
            start = (line.number - self.first) * _HASH_BYTES
            self._hashes[start : start + _HASH_BYTES] = bytes.fromhex(line.hash)
            self.lines += 1
        elif known.hex() == line.hash:
            self.repeats += 1
            if self._again is not None and line.number == self._again[1] == self.first:
                self._again = None
        elif line.number == last.number:
            self._rivals = self._rivals or (last, line)
        elif line.number == 1 and line.previous == "":
            self._break(
                "begun again", line,
                f"the chain begins again behind number {last.number}: what was before it was removed, "
                "or a worker has lost its state there",
            )  # fmt: skip
        else:
            self._break("changed", line, f"number {line.number} was there already, and said something else")

    def _settle(self, right: str) -> None:
        """Of two lines of one number, the one that is not `right` was changed."""
        if self._rivals is not None:
            first, second = self._rivals
            wrong = first if second.hash == right else second
            self._break(
                "changed", wrong, "was said twice, in different words, and the other one is named by others"
            )
            self._rivals = None

    def _before(self, line: Line) -> None:
        """A line of before the first one: a worker that was restarted, if all that follows it comes as well."""
        self.repeats += 1
        if line.number + 1 == self.first and line.hash != self._begins_with:
            self._break("changed", line, f"is not what number {self.first} names as the line before it")
        if self._again is None or line.number < self._again[1]:
            self._again = line, line.number + 1
        elif line.number == self._again[1]:
            self._again = self._again[0], line.number + 1
        else:
            self._break("reordered", line, f"number {self._again[1]} should be here")

    def _known(self, number: int) -> bytes:
        start = (number - self.first) * _HASH_BYTES
        return bytes(self._hashes[start : start + _HASH_BYTES])

    def _vouch(self, line: Line) -> None:
        if self._link is not None and self._link[2] is None and line.number == self._link[1].number + 1:
            self._link = *self._link[:2], line.previous == self._link[1].hash

    def _break(self, what: What, line: Line, message: str) -> None:
        if self.broken is None and self._link is None:
            self.broken = Finding(self.unit, what, line.number, line.id, line.place, message)

    # -- the end

    def finish(self, keys: Mapping[str, Ed25519PublicKey]) -> list[Finding]:
        """What is wrong with the unit, the chain first. `keys`: by id; none: signatures are not looked at."""
        if self._rivals is not None:
            number = self._rivals[0].number
            self._settle(next((head.hash for head, _ in self.heads if head.number == number), ""))
        found = [one for one in (self._of_link(), self.broken, self._of_order()) if one is not None][:1]
        is_whole = not found
        for head, place in self.heads:
            found += self._of_head(head, place, is_whole, keys)
        if keys and self.signed is None:
            found.append(
                Finding(self.unit, "not signed", 0, "", "", "no head of it is signed by a key that was given")
            )
        return found

    def _of_link(self) -> Finding | None:
        if self._link is None:
            return None
        before, after, is_vouched = self._link
        for head, _ in self.heads:
            if head.number == after.number and is_vouched is None:
                is_vouched = head.hash == after.hash
            if head.number == before.number and head.hash == before.hash:
                is_vouched = False
        wrong = after if is_vouched is False else before
        text = f"is not what number {after.number} names as the line before it"
        if wrong is after:
            text = f"does not name number {before.number} as the line before it, and is not what others say it is"
        elif is_vouched is None:
            text += f" (or {after.number} is: nobody vouches for it)"
        return Finding(self.unit, "changed", wrong.number, wrong.id, wrong.place, text)

    def _of_order(self) -> Finding | None:
        if self._again is None:
            return None
        line, due = self._again
        text = f"number {line.number} comes behind number {self.first}, and number {due} does not follow it"
        return Finding(self.unit, "reordered", line.number, line.id, line.place, text)

    def _of_head(
        self, head: Head, place: str, is_whole: bool, keys: Mapping[str, Ed25519PublicKey]
    ) -> list[Finding]:
        def finding(what: What, message: str) -> list[Finding]:
            return [Finding(self.unit, what, head.number, "", place, message)]

        key = keys.get(head.key)
        if keys and head.key:
            if key is None:
                return finding("not signed", f"a head is signed by key {head.key}, which was not given")
            if not is_signed(head, key):
                return finding(
                    "wrong head",
                    f"the signature of the head of number {head.number} is not that of key {head.key}",
                )
        if head.number > self.end.number:
            return finding(
                "cut",
                f"a head says that there are {head.number} lines, and the last one is number {self.end.number}",
            )
        if head.number >= self.first and self.first:
            known = self._known(head.number)
            if known not in (_UNKNOWN, bytes.fromhex(head.hash)):
                last = self.last
                agreed = any(
                    other.number == head.number and other.hash == self.end.hash for other, _ in self.heads
                )
                if is_whole and last is not None and head.number == last.number and not agreed:
                    text = f"is not what the head behind it ({place}) says"
                    return [Finding(self.unit, "changed", last.number, last.id, last.place, text)]
                return finding("wrong head", f"number {head.number} is not what the head says")
            if (
                not head.key
                and self.last is not None
                and (head.number, head.at_ns) != (self.end.number, self.last.at_ns)
            ):
                return finding("wrong head", "the head that closes a copy is not of its last line")
        if key is not None and (self.signed is None or head.number >= self.signed.number):
            self.signed = head
        return []


@dataclass(slots=True)
class Verifier:
    """Takes the records of a journal in their order. `refused`: those that are no line and no head, and those of rows
    that say something else than their record.
    """

    units: dict[str, UnitChain] = field(default_factory=dict)
    refused: list[Finding] = field(default_factory=list)

    def take(
        self, value: bytes | None, place: str, key: str | None = None, row: Row | None = None
    ) -> Line | Head | None:
        """The next record: what it is, None where it is refused. `key`: the unit that it is filed under, if any;
        `row`: what is beside it in a copy.
        """
        try:
            if value is None:
                raise UndecodableError("empty", "a record without a value")
            one: Line | Head = head_of(value) if looks_like_head(value) else line_of(value, place)
            if key is not None and one.unit != key:
                raise UndecodableError("bad-envelope", f"of unit '{one.unit}', filed under '{key}'")
        except UndecodableError as error:
            text = f"can't be read: {error}"[:200]
            if row is None:
                self.refused.append(Finding(key or "", "unreadable", 0, "", place, text))
            else:
                self.refused.append(
                    Finding(row.unit, "changed", row.number, row.id, place, f"its record {text}")
                )
            return None
        chain = self.units.setdefault(one.unit, UnitChain(one.unit))
        if isinstance(one, Head):
            chain.heads.append((one, place))
        else:
            chain.take(one)
        if row is not None and row.differs:
            name = one.id if isinstance(one, Line) else ""
            self.refused.append(Finding(one.unit, "changed", one.number, name, place, row.differs))
            return None
        return one

    def finish(self, keys: Mapping[str, Ed25519PublicKey]) -> list[Finding]:
        """All that is wrong: records that are refused, then each unit's."""
        found = list(self.refused)
        for _, chain in sorted(self.units.items()):
            found += chain.finish(keys)
        return found
