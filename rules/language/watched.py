"""Which signals a rule reads, by the asset that has them: for tests of rules."""

from __future__ import annotations

from collections.abc import Set

from rules.language.program import Rule

AssetSignal = tuple[str, str]


def watching(rule: Rule, given: Set[AssetSignal]) -> set[str]:
    """Assets of the rule whose condition reads one of the signals `given`, its own or another asset's."""
    found: set[str] = set()
    for top in (rule.when, rule.until, rule.silent):
        for term in top.walk() if top else ():
            if term.op == "field":
                found |= {asset for asset, signal in given if signal == term.signal and asset in rule.assets}
            elif term.op == "point":
                points = {f"{asset}.{signal}" for asset, signal in given}
                found |= {asset for asset, point in term.points.items() if point in points}
    return found


def signals_read(rule: Rule) -> str:
    """Their names as they are written, for a message."""
    terms = [term for top in (rule.when, rule.until, rule.silent) if top for term in top.walk()]
    return ", ".join(dict.fromkeys(term.signal for term in terms if term.signal))
