"""What the plant makes of other sites than the demo's, and what it says where it can't."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateways.sim.plant import Plant
from rules.errors import ConfigurationError
from rules.site.model import Site
from rules.site.parse import parse_site

SITE_FILE = Path(__file__).parents[3] / "examples" / "narvik" / "site.yaml"


def changed(*changes: tuple[str, str]) -> Site:
    text = SITE_FILE.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    site, findings = parse_site(text, "site.yaml")
    assert site is not None, findings
    return site


def test_units_of_the_site_file_are_the_points_units() -> None:
    plain = Plant(changed()).points()
    other = Plant(
        changed(
            ("RackPower: 0..200 kW", "RackPower: 0..200000 W"),
            ("RackLiquidFlow: {range: 0..300 L/min, deadband: 0.1 %}", "RackLiquidFlow: 0..0.01 m^3/s"),
        )
    ).points()
    assert other["R01.RackPower"] == pytest.approx(1000 * plain["R01.RackPower"], rel=0.01)
    assert other["R01.RackLiquidFlow"] == pytest.approx(plain["R01.RackLiquidFlow"] / 60_000, rel=0.01)


def test_an_oil_needs_more_flow_for_the_same_rise() -> None:
    oil = changed(
        ("coolant_density: 1015 kg/m^3", "coolant_density: 800 kg/m^3"),
        ("coolant_specific_heat: 3910 J/kg/K", "coolant_specific_heat: 2200 J/kg/K"),
    )
    shown, plain = Plant(oil).points(), Plant(changed()).points()
    rises = [
        s["R01.RackLiquidReturnTemperature"] - s["R01.RackLiquidSupplyTemperature"] for s in (shown, plain)
    ]
    assert rises[0] / rises[1] == pytest.approx(1015 * 3910 / (800 * 2200), rel=0.05)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("        feeds: R[05..08]\n", "        feeds: R[05..07]\n", "R08: no CDU feeds it"),
        ("HX-B: {is: exchanger, feeds: CDU-B}", "HX-B: {is: exchanger}", "HX-B: it feeds no CDU"),
        ("      CH-1:\n", "      CH-2: {type: Chiller}\n      CH-1:\n", "one Chiller only"),
        (
            "          LiquidLevel: 0..100 %",
            "          LiquidPressure: 0..9 kPa",
            "no signal for CDU-A-Tank.LiquidPressure",
        ),
        (
            "RackLiquidIsolationRequest: {default: 0}",
            "RackLiquidFlow: {default: 0}",
            "no set point for R01.RackLiquidFlow",
        ),
        ("design_flow: 158 L/min", "design_flow: 158 kW", "is in kW, the simulated plant needs L/min"),
    ],
)
def test_what_it_can_not_place_is_named(old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Plant(changed((old, new)))
