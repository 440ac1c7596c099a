"""A site of one unit with a pump, and rule sets for it."""

from __future__ import annotations

from streams.rule_sets.rule_set import RuleSet
from tests.support.small_sites import HALL

SITE = HALL
TWO = SITE + "  annex:\n    assets: {P-2: {type: Pump, points: {PumpSpeed: {range: 0..100 %}}}}\n"
"""The same, with a second unit."""
SLOW = """
rules:
  pump-slow:
    for: Pump
    when: PumpSpeed < 50 percent
    severity: high
    message: "{asset} {value}"
"""


def rule_set(rules: str = SLOW, site: str = SITE) -> RuleSet:
    return RuleSet({"site.yaml": site, "rules/pumps.yaml": rules})
