"""Which operands of the rules' conditions the scenarios have seen true, and which false.

Rules: nothing of the engine changes. Each operand becomes two rules without delays, one for itself and one for its
opposite, as an unknown one is neither; they run along the scenario in an engine of their own, for the assets that
it gives a signal to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rules.engine.outputs import Alarm
from rules.language.operands import Operand
from rules.language.program import Program, Rule
from rules.language.terms import Term
from rules.language.watched import AssetSignal, watching
from rules.site.model import Site
from streams.scenarios.run import Result, RulesUnderTest, given_by, outputs_of


@dataclass(slots=True)
class Seen:
    """In how many scenarios an operand was true at some time, in how many false; only those that went as expected."""

    operand: Operand
    true: int = 0
    false: int = 0

    @property
    def complete(self) -> bool:
        """Whether it was both."""
        return self.true > 0 and self.false > 0


def operands_seen(operands: Sequence[Operand], site: Site, results: Iterable[Result]) -> list[Seen]:
    """One for each operand, in their order."""
    seen = [Seen(operand) for operand in operands]
    for result in results:
        if result.problems:
            continue
        rules = _probes(operands, given_by(result.scenario))
        if not rules:
            continue
        program = Program(tuple(sorted(rules, key=lambda rule: rule.id)), site.digest, digest="")
        outputs = outputs_of(result.scenario, RulesUnderTest(program, site), result.traces)
        for name in {output.rule for output in outputs if isinstance(output, Alarm)}:
            value, _, place = name.partition("-")
            one = seen[int(place)]
            if value == "true":
                one.true += 1
            else:
                one.false += 1
    return seen


def _probes(operands: Sequence[Operand], given: set[AssetSignal]) -> list[Rule]:
    rules = []
    for place, operand in enumerate(operands):
        for value, term in (("true", operand.term), ("false", Term("not", (operand.term,)))):
            rule = dataclasses.replace(
                operand.rule,
                id=f"{value}-{place}",
                when=term,
                until=None,
                on_delay_ns=0,
                off_delay_ns=0,
                shown={},
                targets={},
            )
            watched = watching(rule, given)
            if watched:
                assets = tuple(asset for asset in rule.assets if asset in watched)
                rules.append(dataclasses.replace(rule, assets=assets))
    return rules
