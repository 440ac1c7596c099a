"""`suppresses` of the rules: which alarms an alarm explains.

Rules: a name is that of a rule or a pattern (`gpu-*`) over them; a pattern leaves the rule itself out; no alarm may
explain itself by way of others, as then nobody would hear any of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

from rules.findings import nearest
from rules.strict_yaml import Node


def read_suppressions(nodes: Mapping[str, Node], rules: Collection[str]) -> dict[str, tuple[str, ...]]:
    """By rule those that it suppresses, in order. `nodes`: the values of the key; `rules`: all that there are."""
    found = {rule: _read(rule, node, rules) for rule, node in nodes.items()}
    for rule, node in nodes.items():
        circle = _circle(rule, found)
        if circle:
            path = " -> ".join([rule, *circle])
            node.report(f"causes in a circle: {path}", "nobody would hear any of them")
    return found


def _read(rule: str, node: Node, rules: Collection[str]) -> tuple[str, ...]:
    found: set[str] = set()
    for one in node.as_list_or_one():
        name = one.as_text()
        if name is None:
            continue
        if any(letter in name for letter in "*?["):
            met = {other for other in rules if fnmatchcase(other, name)} - {rule}
            if not met:
                one.report(f"no other rule has a name like '{name}'")
            found |= met
        elif name not in rules:
            one.report(f"there is no rule '{name}'", nearest(name, rules))
        else:
            found.add(name)
    return tuple(sorted(found))


def _circle(rule: str, suppresses: Mapping[str, Collection[str]]) -> list[str]:
    """A way from a rule back to it; empty where there is none."""
    ways = [[rule]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for other in suppresses.get(way[-1], ()):
            if other == rule:
                return [*way[1:], other]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []
