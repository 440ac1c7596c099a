"""What a name tells of unit and point."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.importing.guessing.names import SERIES_CHARACTERS_MAX, Match, Targets, gpu_field, unit_in
from streams.site_folder import load_site
from tests.streams.importing.formats import SITE


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("Flow [m3/s]", "m^3/s"),
        ("Flow ( °C ) ", "degC"),
        ("Flow (supply) [ L/min]", "L/min"),
        ("Flow [(kW]", None),
        ("flow_kw", "kW"),
        ("flow_kw ( )", None),
        ("flow ()", None),
        ("Flow [kW] in", None),
    ],
)
def test_the_unit_of_a_name(name: str, unit: str | None) -> None:
    assert unit_in(name) == unit


def test_a_very_long_name_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    targets = Targets(load_site(tmp_path))
    name = "CDU-A.LiquidFlow [L/min{}]"
    assert targets.match(name.format("")) == Match("CDU-A.LiquidFlow", True, "L/min")
    assert targets.match(name.format(" " * SERIES_CHARACTERS_MAX)) == Match("", False, "")
    assert gpu_field("power_mean [W]") == ("power_mean", "W", True)
    assert gpu_field(f"power_mean [W{' ' * SERIES_CHARACTERS_MAX}]") is None
