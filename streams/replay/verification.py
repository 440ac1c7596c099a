"""Verification: the outputs that a recording holds against those of its replay, by id and bytes.

Rules: a topic's outputs of one unit follow the order of the unit's inputs, and an output's id names its cause. A
recording that was cut off ends elsewhere in each topic, so that either side may be ahead at its end: that is
counted apart and is no difference. A replayed output is ahead when it follows the last recorded one; a recorded
one only when its cause lies behind the last recorded input of its unit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Said = Mapping[tuple[str, str], Mapping[str, set[bytes]]]
"""Recorded outputs: the bytes of each id (at least once: it may come again), by (topic, unit), in their order."""

Replayed = Mapping[tuple[str, str], Mapping[str, bytes]]


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
        if name in self.rules and middle in self.assets:
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
        if name in self.rules and middle in self.assets:
            return _before(number, self.now_ns, self.ahead_ns)
        if middle.isdecimal() and (int(middle), number) <= self.last.get(name, (-1, 0)):
            return "before"
        return "behind"


class FactsBegin(NamedTuple):
    """What a unit that tells facts had told when its state was taken; `times_ns` of the facts by id."""

    now_ns: int
    ahead_ns: int
    times_ns: Mapping[str, int]

    def place(self, fact_id: str) -> Literal["before", "behind", "either"]:
        """As of other outputs, by the sample that made the unit tell it."""
        return _before(self.times_ns[fact_id], self.now_ns, self.ahead_ns)


def _before(time_ns: int, now_ns: int, ahead_ns: int) -> Literal["before", "behind", "either"]:
    if time_ns <= now_ns:
        return "before"
    return "either" if time_ns <= now_ns + ahead_ns else "behind"


class FactsEnd(NamedTuple):
    """Where the recorded inputs of a unit that tells facts end; `times_ns` of the facts by id."""

    now_ns: int
    times_ns: Mapping[str, int]

    def place(self, fact_id: str) -> Literal["recorded", "beyond"]:
        """Where the sample lies that made the unit tell it."""
        return "beyond" if self.times_ns[fact_id] > self.now_ns else "recorded"


def compare(
    recorded: Said,
    replayed: Replayed,
    ends: Mapping[str, InputsEnd | FactsEnd],
    begins: Mapping[str, InputsBegin | FactsBegin],
) -> Verification:
    """Every recorded output with the replayed one of its id. `ends`: of the inputs of each unit.

    `begins`: of the units whose replay began at a snapshot; what was said before it is not compared.
    """
    found = Verification()
    for topic, unit in sorted(recorded.keys() | replayed.keys()):
        was, now = recorded.get((topic, unit), {}), replayed.get((topic, unit), {})
        if unit in begins:
            said_before = _said_before(list(was), now, begins[unit])
            was = {id_: values for id_, values in was.items() if id_ not in said_before}
        order = list(now)
        common = [index for index, id_ in enumerate(order) if id_ in was]
        end = common[-1] + 1 if common else 0
        found.after_end += len(order) - end
        found.compared += len(common)
        beyond = _beyond(list(was), now, ends[unit]) if unit in ends else set()
        found.beyond_the_end += len(beyond)
        for id_ in [*order[:end], *(id_ for id_ in was if id_ not in now and id_ not in beyond)]:
            if was.get(id_) != {now.get(id_)}:
                found.differences += 1
                found.first = found.first or Divergence(
                    topic, unit, id_, _text(sorted(was.get(id_, ()))), _text([now[id_]] if id_ in now else [])
                )
    return found


def _said_before(
    order: Sequence[str], replayed: Collection[str], begin: InputsBegin | FactsBegin
) -> set[str]:
    """Recorded ids, in their order, that a restored state had said: causes before it, or at its edge and not again."""
    head = next((index for index, id_ in enumerate(order) if id_ in replayed), len(order))
    places = ((index, id_, begin.place(id_)) for index, id_ in enumerate(order) if id_ not in replayed)
    return {id_ for index, id_, place in places if place == "before" or (place == "either" and index < head)}


def _beyond(order: Sequence[str], replayed: Collection[str], end: InputsEnd | FactsEnd) -> set[str]:
    """Recorded ids, in their order, that no recorded input can have caused: a tail of which nothing was replayed."""
    last = max((index for index, id_ in enumerate(order) if id_ in replayed), default=-1)
    tail = [(id_, end.place(id_)) for id_ in order[last + 1 :]]
    first = next((index for index, (_, place) in enumerate(tail) if place == "beyond"), len(tail))
    return {id_ for id_, place in tail[first:] if place != "recorded"}


def _text(values: Sequence[bytes]) -> str:
    return "\n".join(value.decode("utf-8", "replace") for value in values)
