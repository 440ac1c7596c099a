"""Which signals a rule reads, by the asset that has them: for tests of rules."""

from __future__ import annotations

from collections.abc import Set

from rules.language.program import Rule
from rules.language.terms import OVER

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
            elif term.op in OVER:
                assets = {asset for asset, _ in given}
                for asset, members in term.members.items():
                    read = {
                        (of, one.signal) if one.op == "field" else tuple(one.points[of].rsplit(".", 1))
                        for member in assets.intersection(members)
                        for one, of in term.args[0].signals(member)
                    }
                    found |= {asset} if read & given else set()
    return found


def signals_read(rule: Rule) -> str:
    """Their names as they are written, for a message."""
    tops = [top for top in (rule.when, rule.until, rule.silent) if top]
    found = [term.signal for top in tops for term, _ in top.signals(rule.assets[0])]
    return ", ".join(dict.fromkeys(found))
