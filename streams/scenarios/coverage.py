"""Which rules the scenarios try: a rule needs one that raises it, and a near miss that must not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rules.language.program import Program
from streams.scenarios.run import Result


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many scenarios raise a rule, see it clear, and expect it `never`; only those that went as expected."""

    rule: str
    raised: int
    cleared: int
    never: int

    @property
    def complete(self) -> bool:
        """Whether the rule was seen to be true and to stay false."""
        return self.raised > 0 and self.never > 0


def coverage(program: Program, results: Sequence[Result]) -> list[Coverage]:
    """One line for each rule of the program, in its order."""
    passed = [result for result in results if not result.problems]
    return [
        Coverage(
            rule.id,
            sum(any(seen.rule == rule.id for seen in result.seen) for result in passed),
            sum(
                any(seen.rule == rule.id and seen.cleared_ns is not None for seen in result.seen)
                for result in passed
            ),
            sum(
                any(e.rule == rule.id and not e.occurrences for e in result.scenario.expectations)
                for result in passed
            ),
        )
        for rule in program.rules
    ]
