"""Rule files to a checked program, with everything that is wrong found at once.

Rules: text in, findings out, no I/O; a rule with an error is left out, and then there is no program at all: a
plant must not run on half of its rules.

Top-level keys: `rules`; `parameters` and `expressions`, names for all files; docs/rules.md explains them.

    rules:
      rack-flow-low:
        for: Rack
        when: RackLiquidFlow < 0.7 * design_flow and RackPower > 20 kW
        until: RackLiquidFlow > 0.8 * design_flow
        on_delay: 500 ms
        severity: urgent
        message: "{asset}: {RackLiquidFlow:.0f} of {design_flow:.0f} L/min"
        then:
          - command: limit each GPU.power_limit to 500 W
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Final

from rules.findings import Finding
from rules.gpu_fields import FIELD_INDEX
from rules.language.comparisons import compared
from rules.language.definitions import Definitions
from rules.language.limits import ROWS, Joined, Written, written_out
from rules.language.names import Names
from rules.language.program import OWN_RULES, Program, Rule, make_program
from rules.language.rule_reader import RuleReader
from rules.language.suppression import read_suppressions
from rules.language.terms import to_judge
from rules.site.model import Site
from rules.strict_yaml import Node, load

TOP_KEYS: Final = ("rules", "parameters", "expressions")
_ID: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def load_rules(texts: Mapping[str, str], site: Site) -> tuple[Program | None, list[Finding]]:
    """The program of all rule files (`texts`: file name to text), and every finding, sorted by place.

    The program is None when a finding is an error; warnings leave it as it is.
    """
    findings: list[list[Finding]] = []
    files: list[dict[str, Node]] = []
    unread = ""
    for file in sorted(texts):
        root, found = load(texts[file], file)
        findings.append(found)
        if root is None:
            unread = file
        else:
            files.append(root.fields(TOP_KEYS, required=() if _has_any(root) else ("rules",)))
    definitions = Definitions(unread=unread)
    for fields in files:
        definitions.read(fields)
    names = Names(site, definitions)
    definitions.check(names.known_anywhere, names.everything, set(FIELD_INDEX))
    rules = _rules(files, names)
    if not any(finding.severity == "error" for found in findings for finding in found):
        definitions.warn_of_unused()
    ordered = sorted({finding for found in findings for finding in found})
    if any(finding.severity == "error" for finding in ordered):
        return None, ordered
    return make_program(rules, site.digest), ordered


def _has_any(root: Node) -> bool:
    return any(key in root.entries for key in TOP_KEYS)


def _rules(files: list[dict[str, Node]], names: Names) -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    places: dict[str, str] = {}
    suppressions: dict[str, Node] = {}
    conditions: dict[tuple[str, str], str] = {}
    tables: dict[str, list[tuple[Written, Rule]]] = {}
    for fields in files:
        if "rules" not in fields:
            continue
        for rule_id, node in fields["rules"].as_mapping().items():
            key = fields["rules"].keys[rule_id]
            _check_id(rule_id, key)
            for written in written_out(rule_id, key, node):
                _check_new(written, places)
                _check_condition(written, conditions)
                if "suppresses" in written.entries:
                    suppressions[written.id] = written.entries["suppresses"]
                rule = RuleReader(names, written).read()
                if rule is not None:
                    rules[rule.id] = rule
                    if written.table:
                        tables.setdefault(written.table, []).append((written, rule))
    for rows in tables.values():
        _check_order(rows)
    for rule_id, suppressed in read_suppressions(suppressions, places).items():
        if rule_id in rules:
            rules[rule_id] = replace(rules[rule_id], suppresses=suppressed)
    return rules


def _check_id(rule_id: str, key: Node) -> None:
    if not _ID.fullmatch(rule_id) or rule_id in OWN_RULES:
        reserved = "this name is the engine's own" if rule_id in OWN_RULES else "such as 'rack-flow-low'"
        key.report(f"'{rule_id}' can't be the name of a rule", reserved)


def _check_new(written: Written, places: dict[str, str]) -> None:
    if written.id in places:
        written.key.report(f"duplicate rule '{written.id}'", f"first given at {places[written.id]}")
    places.setdefault(written.id, f"{written.key.document.file}:{written.key.line}")


def _check_condition(written: Written, conditions: dict[tuple[str, str], str]) -> None:
    """A warning for the same text about the same assets: one of them was copied and not changed."""
    if "when" not in written.entries or "for" not in written.entries:
        return
    condition = (written.entries["for"].scalar, " ".join(written.entries["when"].scalar.split()))
    first = conditions.setdefault(condition, written.id)
    if first != written.id:
        written.entries["when"].report(
            f"the same condition as rule '{first}'", "one of them is enough", "warning"
        )


def _check_order(rows: list[tuple[Written, Rule]]) -> None:
    """HH is above H, H above L, L above LL, for every asset."""
    order = list(ROWS)
    rows = sorted(rows, key=lambda one: order.index(one[0].row))
    for (upper, one), (lower, other) in pairwise(rows):
        assert one.when is not None
        assert other.when is not None
        high, low = compared(one.when), compared(other.when)
        if high is None or low is None:
            continue  # against a signal: the plant decides
        above_of, below_of = high[2].number, low[2].number
        of_both = set(other.assets)
        shared = [asset for asset in one.assets if asset in of_both]
        for asset in to_judge(shared, above_of, below_of):
            above, below = above_of.of(asset), below_of.of(asset)
            if not above > below:
                text = f"{upper.row} is not above {lower.row} for {asset}: {above:g} and {below:g}"
                upper_limit = upper.entries["when"]
                assert isinstance(upper_limit, Joined)
                upper_limit.report(text, offset=upper_limit.limit_from)
                break
