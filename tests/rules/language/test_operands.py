"""Which conditions a rule is made of, with their places and their own texts."""

from __future__ import annotations

import pytest

from rules.language.load import load_rules
from rules.language.operands import Operand, operands
from tests.rules.bad.small_site import site
from tests.rules.language.test_resolve import text_of

HEAD = "rules:\n  r:\n    for: Rack\n    severity: low\n    message: m\n"


def found(text: str) -> list[Operand]:
    texts = {"r.yaml": text}
    program, findings = load_rules(texts, site())
    assert program is not None, [str(finding) for finding in findings]
    return operands(texts, site(), program)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("RackPower > 1 kW", ["RackPower > 1 kW"]),
        ("not (RackPower > 1 kW)", ["RackPower > 1 kW"]),
        (
            "RackPower > 1 kW and (RackPower == 3 kW or RackPower>2 kW)",
            ["RackPower > 1 kW", "RackPower == 3 kW or RackPower>2 kW", "RackPower == 3 kW", "RackPower>2 kW"],
        ),
        # more of the same is one chain
        (
            "RackPower > 1 kW or RackPower > 2 kW or (RackPower > 3 kW or RackPower > 4 kW)",
            ["RackPower > 1 kW", "RackPower > 2 kW", "RackPower > 3 kW", "RackPower > 4 kW"],
        ),
        # parentheses of numbers are their own
        (
            "(RackPower + 1 kW) * 2 > (3 kW) and changed(RackPower, 1 min)",
            ["(RackPower + 1 kW) * 2 > (3 kW)", "changed(RackPower, 1 min)"],
        ),
    ],
)  # fmt: skip
def test_what_and_or_and_not_join(when: str, expected: list[str]) -> None:
    said = found(f"{HEAD}    when: {when}\n")
    assert [one.text for one in said] == expected
    for one in said:
        assert (one.file, one.line) == ("r.yaml", 6)
        assert f"    when: {when}"[one.column - 1 :].startswith(one.text)


def test_a_named_expression_is_looked_into_where_it_is_written() -> None:
    text = "expressions:\n  busy: RackPower > 1 kW and RackPower < 9 kW\n"
    said = found(f"{text}{HEAD}    when: RackLiquidFlow < 9 L/min and not busy\n    until: busy\n")
    assert [(one.line, one.column, one.text) for one in said] == [
        (2, 9, "RackPower > 1 kW"),
        (2, 9, "RackPower > 1 kW"),
        (2, 30, "RackPower < 9 kW"),
        (2, 30, "RackPower < 9 kW"),
        (8, 11, "RackLiquidFlow < 9 L/min"),
    ]
    assert text_of(said[0].term) == "gt(RackPower, 1)"


def test_a_row_of_limits_is_at_its_limit_and_no_data_is_none() -> None:
    text = (
        "rules:\n  silent: {for: Rack, when: no_data(RackPower), severity: low, message: m}\n"
        "  rows:\n    for: Rack\n    limits:\n      of: RackPower\n      message: m\n"
        "      HH: {limit: 9 kW, severity: low}\n      H: {limit: 8 kW, severity: low}\n"
    )
    assert [(one.rule.id, one.line, one.column, one.text) for one in found(text)] == [
        ("rows-hh", 8, 19, "RackPower >= 9 kW"),
        ("rows-h", 9, 18, "RackPower >= 8 kW"),
    ]
