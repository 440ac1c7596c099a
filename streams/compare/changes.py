"""What became of each episode and command from one side to the other: added, gone, earlier, longer, and by how much.

Rules: only what has the same name is paired: an episode by unit, rule and asset, a command by its actuator as well.
Within a name, pairs keep the order of time; two may be paired where they overlap or lie less than `NEAR_NS` apart, and
of neighbours that could be, those whose beginnings are nearest to each other. So each episode of either side is in
exactly one change, and the other way round gives the mirror image. Times are exact: a microsecond is a difference.
What follows from a beginning that moved is not said again: that the episode is longer, where its end is the same, or
that its message shows another value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeVar

from rules.engine.outputs import Command
from streams.compare.episodes import Episode

NEAR_NS: Final = 600_000_000_000
"""Ten minutes, the period in which ISA-18.2 counts alarms: what is further apart is another event."""

FOREVER_NS: Final = 1 << 63

Kind = Literal["added", "gone", "earlier", "later", "longer", "shorter", "severity", "message", "value"]

T = TypeVar("T")


class EpisodeChange(NamedTuple):
    """An episode of one side and that of the other, where there is one; `end_ns`: when what still stands was cut."""

    before: Episode | None
    after: Episode | None
    end_ns: int

    @property
    def episode(self) -> Episode:
        """Of the side that has it; the first where both have."""
        found = self.before or self.after
        assert found is not None, "a change is of something"
        return found

    @property
    def raised_by_ns(self) -> int:
        """How much later it is raised; negative where earlier."""
        if self.before is None or self.after is None:
            return 0
        return self.after.raised_ns - self.before.raised_ns

    @property
    def lasted_by_ns(self) -> int:
        """How much longer it lasts; negative where shorter. One that stands counts up to the end."""
        if self.before is None or self.after is None:
            return 0
        return self.after.lasted_ns(self.end_ns) - self.before.lasted_ns(self.end_ns)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is other; empty where nothing is."""
        if self.before is None:
            return ("added",)
        if self.after is None:
            return ("gone",)
        ends_elsewhere = self.before.cleared_ns != self.after.cleared_ns
        said: tuple[tuple[Kind, bool], ...] = (
            ("earlier", self.raised_by_ns < 0),
            ("later", self.raised_by_ns > 0),
            ("longer", self.lasted_by_ns > 0 and ends_elsewhere),
            ("shorter", self.lasted_by_ns < 0 and ends_elsewhere),
            ("severity", self.before.severity != self.after.severity),
            ("message", self.before.message != self.after.message and not self.raised_by_ns),
        )
        return tuple(kind for kind, holds in said if holds)


class CommandChange(NamedTuple):
    """A command of one side and that of the other, where there is one."""

    before: Command | None
    after: Command | None

    @property
    def command(self) -> Command:
        """Of the side that has it; the first where both have."""
        found = self.before or self.after
        assert found is not None, "a change is of something"
        return found

    @property
    def given_by_ns(self) -> int:
        """How much later it is given; negative where earlier."""
        if self.before is None or self.after is None:
            return 0
        return self.after.cause_ns - self.before.cause_ns

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is other; empty where nothing is."""
        if self.before is None:
            return ("added",)
        if self.after is None:
            return ("gone",)
        said: tuple[tuple[Kind, bool], ...] = (
            ("earlier", self.given_by_ns < 0),
            ("later", self.given_by_ns > 0),
            ("value", (self.before.value, self.before.engineering_unit)
             != (self.after.value, self.after.engineering_unit)),
        )  # fmt: skip
        return tuple(kind for kind, holds in said if holds)


def episode_changes(before: Sequence[Episode], after: Sequence[Episode], end_ns: int) -> list[EpisodeChange]:
    """One for each episode of either side, those that are the same included, by time."""
    pairs = _by_name(
        before, after, lambda one: (one.unit, one.rule, one.asset), lambda one: one.span(FOREVER_NS)
    )
    changes = [EpisodeChange(one, other, end_ns) for one, other in pairs]
    return sorted(changes, key=lambda change: (change.episode.raised_ns, change.episode[:4]))


def command_changes(before: Sequence[Command], after: Sequence[Command]) -> list[CommandChange]:
    """One for each command of either side, those that are the same included, by time."""
    pairs = _by_name(
        before,
        after,
        lambda one: (one.unit, one.rule, one.asset, one.actuator),
        lambda one: (one.cause_ns, one.cause_ns),
    )
    changes = [CommandChange(one, other) for one, other in pairs]
    return sorted(changes, key=lambda change: (change.command.cause_ns, change.command.id))


def _by_name(
    before: Sequence[T], after: Sequence[T], name: Callable[[T], Any], span: Callable[[T], tuple[int, int]]
) -> Iterator[tuple[T | None, T | None]]:
    both: dict[Any, tuple[list[T], list[T]]] = {}
    for side, said in enumerate((before, after)):
        for one in said:
            both.setdefault(name(one), ([], []))[side].append(one)
    for ours, theirs in both.values():
        yield from _pairs(sorted(ours, key=span), sorted(theirs, key=span), span)


def _pairs(
    before: Sequence[T], after: Sequence[T], span: Callable[[T], tuple[int, int]]
) -> Iterator[tuple[T | None, T | None]]:
    """In the order of time; whoever has no partner comes alone."""
    one = other = 0
    while one < len(before) and other < len(after):
        ours, theirs = span(before[one]), span(after[other])
        apart_ns = abs(ours[0] - theirs[0])
        if max(ours[0], theirs[0]) - min(ours[1], theirs[1]) >= NEAR_NS:
            is_ours = ours[0] < theirs[0]
        elif _nearer(after, other + 1, ours, apart_ns, span):
            is_ours = False
        elif _nearer(before, one + 1, theirs, apart_ns, span):
            is_ours = True
        else:
            yield before[one], after[other]
            one, other = one + 1, other + 1
            continue
        if is_ours:
            yield before[one], None
            one += 1
        else:
            yield None, after[other]
            other += 1
    yield from ((left, None) for left in before[one:])
    yield from ((None, left) for left in after[other:])


def _nearer(
    said: Sequence[T], place: int, to: tuple[int, int], apart_ns: int, span: Callable[[T], tuple[int, int]]
) -> bool:
    """Whether the next one begins nearer to a beginning than the one before it did."""
    return place < len(said) and abs(span(said[place])[0] - to[0]) < apart_ns
