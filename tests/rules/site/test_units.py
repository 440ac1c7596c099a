"""Units: the table that spares pint's import agrees with pint."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import pint
import pytest

from rules.gpu_fields import GPU_FIELDS
from rules.site.types import GPU_ACTUATORS, OBJECT_TYPES, POINT_UNITS
from rules.site.units import COMMON, PARTS, convert, is_unit, normal, same_dimension

REGISTRY = pint.UnitRegistry()


def dimension(unit: str) -> object:
    return REGISTRY.Unit(unit or "dimensionless").dimensionality


def is_data(unit: str) -> bool:
    """Pint has no dimension for bits: here they are no plain numbers."""
    return "bit" in str(REGISTRY.Quantity(1, unit or "dimensionless").to_root_units().units)


def test_units_have_the_dimensions_of_pint() -> None:
    for one, other in combinations([*COMMON, *PARTS], 2):
        expected = dimension(one) == dimension(other) and is_data(one) == is_data(other)
        assert same_dimension(one, other) == expected, (one, other)


def test_every_unit_of_a_type_is_common() -> None:
    named = {*POINT_UNITS.values(), *GPU_ACTUATORS.values(), *(field.unit for field in GPU_FIELDS)}
    assert named <= set(COMMON)
    assert set().union(*OBJECT_TYPES.values()) == set(POINT_UNITS)


@pytest.mark.parametrize(
    ("value", "unit", "to", "difference", "expected"),
    [
        (1.7, "kW", "W", False, 1700),
        (60, "L/min", "L/s", False, 1),
        (300, "K", "degC", False, 26.85),
        (0.5, "K", "degC", True, 0.5),
        (9, "degF", "degC", True, 5),
        (212, "degF", "degC", False, 100),
        (1, "bar", "kPa", False, 100),
        (50, "percent", "", False, 0.5),
    ],
)
def test_conversion(value: float, unit: str, to: str, difference: bool, expected: float) -> None:
    assert convert(value, unit, to, difference) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["L/mn", "kWw", "1/", "import os", "(", "\x00", "__class__"])
def test_nonsense_is_no_unit(text: str) -> None:
    assert not is_unit(text)


def test_units_beyond_the_table_are_asked_of_pint() -> None:
    assert is_unit("mmHg")
    assert same_dimension("mmHg", "kPa")
    assert not same_dimension("mmHg", "kW")


def test_a_dimension_is_the_same_however_its_unit_is_written() -> None:
    assert same_dimension("L*kPa/min", "kW")
    assert same_dimension("kPa*m^3/s", "kW")
    assert not same_dimension("L*kPa", "kW")
    assert not same_dimension("mmHg", "kW")
    assert not same_dimension("nonsense", "nonsense")
    assert normal("%") == "percent"


def test_loading_the_demo_site_and_its_rules_does_not_import_pint() -> None:
    code = (
        "import sys, pathlib; from streams.rule_sets.rule_folder import load_program; "
        "from streams.site_folder import load_site; folder = pathlib.Path('examples/narvik'); "
        "load_program(folder, load_site(folder)); sys.exit('pint' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_scales_are_those_of_pint() -> None:
    compounds = ["kN/m^3", "L*kPa/min", "kJ/L/K", "mm/s", "percent/h", "MB/s", "J/kg/K", "1/min", "m^3/s"]
    for one, other in combinations([*PARTS, *compounds, "kJ/min", "kg*m^2/s^3", "kB/min", "kN/L"], 2):
        if same_dimension(one, other):
            expected = REGISTRY.Quantity(7.0, one or "dimensionless").to(other or "dimensionless").magnitude
            assert convert(7.0, one, other) == pytest.approx(float(expected), rel=1e-14)
