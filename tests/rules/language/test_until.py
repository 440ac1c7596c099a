"""What `until` may say: a rule that is right, or of which nothing is certain, has no finding."""

from __future__ import annotations

import pytest

from rules.language.load import load_rules
from tests.rules.bad.small_site import site

RULE = """rules:
  r:
    for: Rack
    when: {when}
    until: {until}
    severity: low
    message: x
"""


@pytest.mark.parametrize(
    ("when", "until"),
    [
        # The same limit by another computation: they differ by rounding only.
        ("RackLiquidFlow < 0.7 * design_flow", "RackLiquidFlow / design_flow >= 0.7"),
        ("RackPower - 0.1 kW < 0.2 kW", "RackPower >= 0.3 kW"),
        ("RackPower - 10 kW < 20 kW", "RackPower >= 30 kW"),
        # Beyond the dead-band.
        ("abs(RackPower - 50 kW) > 10 kW", "RackPower > 40 kW and RackPower < 60 kW"),
        ("abs(RackPower - 50 kW) > 10 kW", "abs(50 kW - RackPower) < 9 kW"),
        ("least(RackPower, UPS.ActivePower) > 30 kW", "RackPower < 20 kW or UPS.ActivePower < 25 kW"),
        ("most(RackPower, UPS.ActivePower) > 30 kW", "RackPower < 20 kW and UPS.ActivePower < 25 kW"),
        ("RackPower > 30 kW", "RackPower < 25 kW and RackLiquidFlow > 50 L/min"),
        # Whole numbers have nothing between 0 and 1, or 2 and 3.
        ("RackLeakDetect > 0", "RackLeakDetect < 1"),
        ("count(RackPower > 5 kW, 10 s) > 2", "count(RackPower > 5 kW, 10 s) < 3"),
        # A smallest value above the largest one.
        ("max(RackPower, 10 s) < 50 kW", "min(RackPower, 10 s) > 60 kW"),
        ("frozen(RackPower, 10 s)", "changed(RackPower, 10 s)"),
        # One signal in two quantities: that both can be is not shown.
        ("RackPower - avg(RackPower, 1 min) > 5 kW", "RackPower > 60 kW"),
        (
            "RackPower / (RackPower + 1 kW) > 0.9",
            "RackPower / (RackPower + 1 kW) * (RackPower + 1 kW) < 95 kW",
        ),
        # A product of two signals is what it is.
        ("RackPower * UPS.ActivePower / 1 kW > 100 kW", "RackPower * UPS.ActivePower / 1 kW < 90 kW"),
    ],
)
def test_it_ends_what_when_begins(when: str, until: str) -> None:
    _, findings = load_rules({"r.yaml": RULE.format(when=when, until=until)}, site())
    assert [str(finding) for finding in findings] == []


def test_a_product_of_two_signals_is_a_quantity_of_its_own() -> None:
    rule = RULE.format(
        when="RackPower * UPS.ActivePower > 100 kW * 1 kW", until="UPS.ActivePower * RackPower < 1 kW * 1 kW"
    )
    assert load_rules({"r.yaml": rule}, site())[1] == []
    flutters = RULE.format(
        when="RackPower * UPS.ActivePower > 100 kW * 1 kW",
        until="RackPower * UPS.ActivePower < 120 kW * 1 kW",
    )
    assert "would flutter" in load_rules({"r.yaml": flutters}, site())[1][0].message
