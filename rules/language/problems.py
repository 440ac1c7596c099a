"""What is wrong with a rule's text, raised where it is noticed and gathered where the text goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


class ExpressionError(Exception):
    """Something is wrong at character `offset` of the text. `others`: what else is wrong with it."""

    def __init__(self, offset: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message
        self.hint = hint
        self.others: tuple[ExpressionError, ...] = ()

    @property
    def all(self) -> tuple[ExpressionError, ...]:
        """Itself and the others."""
        return self, *self.others


def joined(problems: Iterable[ExpressionError]) -> ExpressionError:
    """One error that stands for all."""
    first, *others = [one for problem in problems for one in problem.all]
    found = ExpressionError(first.offset, first.message, first.hint)
    found.others = tuple(others)
    return found


class AlreadyReportedError(Exception):
    """Something that a rule needs is wrong, and has its finding."""


def each(*works: Callable[[], T]) -> list[T]:
    """What each of them gives. All are tried, and what is wrong with any of them is raised together."""
    found: list[T] = []
    problems: list[ExpressionError] = []
    reported: AlreadyReportedError | None = None
    for work in works:
        try:
            found.append(work())
        except ExpressionError as problem:
            problems.append(problem)
        except AlreadyReportedError as other:
            reported = other
    if problems:
        raise joined(problems)
    if reported:
        raise reported
    return found
