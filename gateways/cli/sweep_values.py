"""`headrace sweep --param NAME=VALUES`: which values are meant.

    limit=78..88/2 degC                    78 degC, 80 degC, ... 88 degC
    on_delay=1,2,5 s                       what follows the last number follows all that have nothing
    limit=0.6..0.8/0.1 * design_flow       and need not be a unit: 0.6 * design_flow, ...
    limit=78,80                            a bare number takes the unit that stands there now

Rules: values are texts of the rule language, which checks them; here only numbers are counted, in decimal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.language.candidates import Parameter

_NUMBER: Final = r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)"
_RANGE: Final = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*/\s*({_NUMBER})(.*)")
_LEADING: Final = re.compile(rf"\s*({_NUMBER})(.*)")


def choices_of(
    asked: Sequence[str], known: Mapping[str, Parameter], rule_id: str, most: int
) -> dict[str, list[str]]:
    """Values by name, in the order that was asked for. Raises ConfigurationError, also for more than `most` in all."""
    has = f"parameters of '{rule_id}': {_listed(known)}"
    if not asked:
        raise _wrong("there is nothing to vary", f"such as --param {next(iter(known))}=…; {has}")
    found: dict[str, list[str]] = {}
    for text in asked:
        name, equals, values = text.partition("=")
        name = name.strip()
        if not equals:
            raise _wrong(f"'{text}' is no NAME=VALUES", "such as limit=78..88/2 or 'on_delay=1,2,5 s'")
        if name not in known:
            near = nearest(name, known)
            raise _wrong(f"the rule '{rule_id}' has no parameter '{name}'", f"{near}; {has}" if near else has)
        if name in found:
            raise _wrong(f"'{name}' is given twice", "all values of a parameter in one --param")
        found[name] = _values(name, values, known[name].unit, most)
    count = math.prod(map(len, found.values()))
    if count > most:
        product = " x ".join(str(len(values)) for values in found.values())
        raise _wrong(
            f"{product} = {count:,} candidates are more than {most:,}", "fewer values, or --max-candidates"
        )
    return found


def _values(name: str, text: str, unit: str, most: int) -> list[str]:
    match = _RANGE.fullmatch(text)
    if match is not None:
        low, high, step = (Decimal(number) for number in match.groups()[:3])
        if step <= 0:
            raise _wrong(f"{name}: the step {step} is not above 0", "from..to/step, such as 78..88/2")
        count = int(abs(high - low) / step) + 1
        if count > most:
            raise _wrong(f"{name}: {count:,} values are more than {most:,}", "a larger step")
        signed = step if high >= low else -step
        return [_with(f"{(low + n * signed).normalize():f}", match[4], unit) for n in range(count)]
    items = [item.strip() for item in _split(text)]
    if not all(items):
        raise _wrong(f"{name}: a value is missing in '{text}'", "such as 'on_delay=1,2,5 s'")
    last = _LEADING.fullmatch(items[-1])
    rest = last[2] if last else ""
    found = []
    for item in items:
        number = _LEADING.fullmatch(item)
        bare = number is not None and not number[2].strip()
        found.append(_with(item, rest, unit) if bare else item)
    return list(dict.fromkeys(found))


def _with(number: str, rest: str, unit: str) -> str:
    return f"{number} {rest.strip() or unit}".strip()


def _split(text: str) -> list[str]:
    """At commas, but not within parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _listed(known: Mapping[str, Parameter]) -> str:
    return ", ".join(f"{name} ({one.now or 'none'})" for name, one in known.items())


def _wrong(message: str, hint: str) -> ConfigurationError:
    return ConfigurationError([Finding("--param", 0, 0, message, hint)])
