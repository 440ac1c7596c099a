"""Verification: the outputs that a recording holds against those of its replay, by id and bytes, as they come.

Rules: what has met its counterpart is let go, so that memory grows only by as much as one side is ahead of the other.
A topic's outputs of one unit follow the order of the unit's inputs, and an output's id names its cause. A recording
that was cut off ends elsewhere in each topic, so that either side may be ahead at its end: that is counted apart and is
no difference. A replayed output is ahead when it follows the last recorded one; a recorded one only when its cause lies
behind the last recorded input of its unit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from rules.engine.cause import ENDS

REMEMBERED: Final = 5_000
"""So many of the outputs of a topic and unit that have met are known when they come again."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first output of a unit and topic that differs. `recorded` or `replayed` is empty where there is none."""

    topic: str
    unit: str
    """Or who told whom, of a fact."""

    id: str
    recorded: str
    replayed: str


@dataclass(slots=True)
class Verification:
    """Recorded against replayed outputs.

    `after_end`: replayed, and later than the last recorded one. `beyond_the_end`: recorded, and caused by inputs
    behind the recorded ones. `not_compared`: recorded behind damage, or lost to it.
    """

    compared: int = 0
    after_end: int = 0
    beyond_the_end: int = 0
    not_compared: int = 0
    differences: int = 0
    first: Divergence | None = None


class InputsEnd(NamedTuple):
    """Where the recorded inputs of a unit end. `last`: (epoch, sequence) by source. `now_ns`: the last tick's time.

    `rules` and `assets` (ids, of the unit) tell an output of a deadline from one of an input.
    """

    unit: str
    last: Mapping[str, tuple[int, int]]
    now_ns: int
    rules: Collection[str]
    assets: Collection[str]

    def place(self, output_id: str) -> Literal["recorded", "beyond", "either"]:
        """Where the cause lies that an output's id names (rules/engine/outputs.py).

        `either`: a deadline up to the last tick, which a late sample behind the end may have set. An id of neither
        form counts as recorded: nothing excuses it.
        """
        parts = output_id.removeprefix(f"{self.unit}:").rsplit(":", 3)
        if len(parts) != 4 or not parts[2].isdecimal():
            return "recorded"
        name, middle, number = parts[0], parts[1], int(parts[2])
        if name.partition(ENDS)[0] in self.rules and middle in self.assets:
            return "beyond" if number > self.now_ns else "either"
        if middle.isdecimal() and (int(middle), number) > self.last.get(name, (-1, 0)):
            return "beyond"
        return "recorded"


class InputsBegin(NamedTuple):
    """What a unit's restored state had taken in: `last` (epoch, sequence) by source, and its time.

    `ahead_ns`: how far ahead of its time a sample may have been believed, and have fired deadlines.
    """

    unit: str
    last: Mapping[str, tuple[int, int]]
    now_ns: int
    rules: Collection[str]
    assets: Collection[str]
    ahead_ns: int

    def place(self, output_id: str) -> Literal["before", "behind", "either"]:
        """Whether the cause lies before the state, which then has said it, or behind. An odd id is behind."""
        parts = output_id.removeprefix(f"{self.unit}:").rsplit(":", 3)
        if len(parts) != 4 or not parts[2].isdecimal():
            return "behind"
        name, middle, number = parts[0], parts[1], int(parts[2])
        if name.partition(ENDS)[0] in self.rules and middle in self.assets:
            return _before(number, self.now_ns, self.ahead_ns)
        if middle.isdecimal() and (int(middle), number) <= self.last.get(name, (-1, 0)):
            return "before"
        return "behind"


class FactsBegin(NamedTuple):
    """What a unit that tells facts had told when its state was taken."""

    now_ns: int
    ahead_ns: int

    def place(self, fact_id: str) -> Literal["before", "behind", "either"]:
        """As of other outputs, by the sample that made the unit tell it."""
        return _before(_told_ns(fact_id), self.now_ns, self.ahead_ns)


def _before(time_ns: int, now_ns: int, ahead_ns: int) -> Literal["before", "behind", "either"]:
    if time_ns <= now_ns:
        return "before"
    return "either" if time_ns <= now_ns + ahead_ns else "behind"


class FactsEnd(NamedTuple):
    """Where the recorded inputs of a unit that tells facts end."""

    now_ns: int

    def place(self, fact_id: str) -> Literal["recorded", "beyond"]:
        """Where the sample lies that made the unit tell it."""
        return "beyond" if _told_ns(fact_id) > self.now_ns else "recorded"


def _told_ns(fact_id: str) -> int:
    """Of when a fact is: its id closes with it (`replayed.told`)."""
    return int(fact_id.rpartition(":")[2])


class Comparison:
    """Takes recorded and replayed outputs as they come, each side in its order; a pair that has met is let go.

    What is kept are those that wait for the other side, and what the last of a topic and unit have said: a worker
    that was restarted says them again.
    """

    def __init__(self) -> None:
        self._sides: dict[tuple[str, str], _Sides] = {}
        self.has_recorded = False
        """Whether there is anything to compare with."""

    def record(self, topic: str, unit: str, id_: str, value: bytes) -> None:
        """An output that stands in the recording."""
        self._of(topic, unit).record(id_, value)

    def replay(self, topic: str, unit: str, id_: str, value: bytes) -> None:
        """An output of the replay."""
        self._of(topic, unit).replay(id_, value)

    @property
    def waiting(self) -> int:
        """How many wait for the other side."""
        return sum(len(sides.was) + len(sides.now) for sides in self._sides.values())

    def _of(self, topic: str, unit: str) -> _Sides:
        sides = self._sides.get((topic, unit))
        if sides is None:
            sides = self._sides[topic, unit] = _Sides()
        return sides

    def rest(self) -> None:
        """Nothing comes any more: what has met need not be known."""
        for sides in self._sides.values():
            sides.met.clear()

    def add(self, other: Comparison) -> None:
        """What was compared elsewhere, of other units."""
        self._sides |= other._sides
        self.has_recorded = self.has_recorded or other.has_recorded

    def finish(
        self,
        ends: Mapping[str, InputsEnd | FactsEnd],
        begins: Mapping[str, InputsBegin | FactsBegin],
    ) -> Verification:
        """What was found. `ends`: of the inputs of each unit, or of each pair of them that tell each other facts.

        `begins`: of those whose replay began at a snapshot; what was said before it is not compared.
        """
        found = Verification()
        for (topic, unit), sides in sorted(self._sides.items()):
            sides.close(topic, unit, ends.get(unit), begins.get(unit), found)
        return found


@dataclass(slots=True)
class _Sides:
    """Both sides of one topic and unit. `was`, `now`: what waits, by id, with its place in the order of its side."""

    was: dict[str, tuple[int, set[bytes]]] = field(default_factory=dict)
    now: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    met: OrderedDict[str, bytes | None] = field(default_factory=OrderedDict)
    """What the last ones that met have said; None where that differed."""

    recorded: int = 0
    replayed: int = 0
    first_was: int = -1
    """Place of the first recorded one that met, and of the last."""

    last_was: int = -1
    first_now: int = -1
    last_now: int = -1
    compared: int = 0
    differences: int = 0
    first: tuple[int, str, list[bytes], bytes] | None = None
    """The differing pair that came first in the replay: its place, id, and both sides."""

    def record(self, id_: str, value: bytes) -> None:
        if id_ in self.met:
            said = self.met[id_]
            if said is not None and said != value:
                self._differ(self.last_now, id_, sorted((said, value)), said)
                self.met[id_] = None
            return
        if id_ in self.was:
            self.was[id_][1].add(value)
            return
        place, self.recorded = self.recorded, self.recorded + 1
        if id_ in self.now:
            replayed_place, replayed = self.now.pop(id_)
            self._meet(id_, place, {value}, replayed_place, replayed)
        else:
            self.was[id_] = place, {value}

    def replay(self, id_: str, value: bytes) -> None:
        place, self.replayed = self.replayed, self.replayed + 1
        if id_ in self.was:
            recorded_place, values = self.was.pop(id_)
            self._meet(id_, recorded_place, values, place, value)
        else:
            self.now[id_] = place, value

    def _meet(self, id_: str, was: int, values: set[bytes], now: int, value: bytes) -> None:
        self.compared += 1
        self.first_was = was if self.first_was < 0 else min(was, self.first_was)
        self.first_now = now if self.first_now < 0 else min(now, self.first_now)
        self.last_was, self.last_now = max(was, self.last_was), max(now, self.last_now)
        self.met[id_] = value if values == {value} else None
        if values != {value}:
            self._differ(now, id_, sorted(values), value)
        if len(self.met) > REMEMBERED:
            self.met.popitem(last=False)

    def _differ(self, now: int, id_: str, values: list[bytes], value: bytes) -> None:
        self.differences += 1
        if self.first is None or now < self.first[0]:
            self.first = now, id_, values, value

    def close(
        self,
        topic: str,
        unit: str,
        end: InputsEnd | FactsEnd | None,
        begin: InputsBegin | FactsBegin | None,
        found: Verification,
    ) -> None:
        """What still waits is ahead of the other side at its beginning or end, or has no counterpart."""
        # what was told before the recording has inputs of who was told: their states are of different times
        begins = self.first_now if isinstance(begin, FactsBegin) else 0
        alone = [
            (place, id_, value) for id_, (place, value) in self.now.items() if begins <= place < self.last_now
        ]
        for place, id_, value in alone:
            self._differ(place, id_, [], value)
        waits = [(place, id_) for id_, (place, _) in self.was.items()]
        if begin is not None:
            waits = [one for one in waits if not self._was_said_before(*one, begin)]
        beyond = self._beyond(waits, end) if end is not None else set()
        missing = [id_ for _, id_ in waits if id_ not in beyond]
        found.compared += self.compared
        found.after_end += sum(place > self.last_now for place, _ in self.now.values())
        found.beyond_the_end += len(beyond)
        found.differences += self.differences + len(missing)
        if found.first is None and self.first is not None:
            _, id_, values, value = self.first
            found.first = Divergence(topic, unit, id_, _text(values), _text([value]))
        elif found.first is None and missing:
            found.first = Divergence(topic, unit, missing[0], _text(sorted(self.was[missing[0]][1])), "")

    def _was_said_before(self, place: int, id_: str, begin: InputsBegin | FactsBegin) -> bool:
        """Whether a restored state had said it: its cause lies before it, or at its edge and it comes not again."""
        where = begin.place(id_)
        return where == "before" or (where == "either" and (self.first_was < 0 or place < self.first_was))

    def _beyond(self, waits: Iterable[tuple[int, str]], end: InputsEnd | FactsEnd) -> set[str]:
        """Those that no recorded input can have caused: a tail of which nothing was replayed."""
        tail = [(id_, end.place(id_)) for place, id_ in waits if place > self.last_was]
        first = next((index for index, (_, place) in enumerate(tail) if place == "beyond"), len(tail))
        return {id_ for id_, place in tail[first:] if place != "recorded"}


def _text(values: Sequence[bytes]) -> str:
    return "\n".join(value.decode("utf-8", "replace") for value in values)
