"""Alarm response sheets: what a rule file says to the people who get its alarms, as written.

Source of the form: the alarm response procedure of ISA-18.2 (cause, consequence of no action, corrective action,
priority) as far as the language carries it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rules.language.limits import written_out
from rules.language.program import Program
from rules.strict_yaml import load

_CONDITION = ("when", "until", "deadband", "after", "on_delay", "off_delay", "latch")


@dataclass(frozen=True, slots=True)
class Sheet:
    """One rule as its file has it.

    `condition`: those of when, until, deadband, after, on_delay, off_delay and latch that are given. `assets`: how many
    it watches.
    """

    rule: str
    file: str
    line: int
    asset_type: str
    assets: int
    severity: str
    condition: Mapping[str, str]
    message: str
    cause: str
    response: str
    actions: tuple[str, ...]


def sheets(texts: Mapping[str, str], program: Program) -> list[Sheet]:
    """A sheet for each rule of `program`, which was loaded from `texts`, most severe first, then by name."""
    found = []
    rules = {rule.id: rule for rule in program.rules}
    for file in sorted(texts):
        root, _ = load(texts[file], file)
        assert root is not None, "the program was loaded from it"
        keys = root.entries["rules"].keys if "rules" in root.entries else {}
        for rule_id, key in keys.items():
            for written in written_out(rule_id, key, root.entries["rules"].entries[rule_id]):
                rule, entries = rules[written.id], written.entries
                actions = entries["then"].items if "then" in entries else ()
                found.append(
                    Sheet(
                        written.id,
                        file,
                        written.key.line,
                        rule.asset_type,
                        len(rule.assets),
                        rule.severity,
                        {name: entries[name].scalar for name in _CONDITION if name in entries},
                        rule.message,
                        rule.cause,
                        rule.response,
                        tuple(action.entries["command"].scalar for action in actions),
                    )
                )
    order = ("urgent", "high", "medium", "low")
    return sorted(found, key=lambda sheet: (order.index(sheet.severity), sheet.rule))
