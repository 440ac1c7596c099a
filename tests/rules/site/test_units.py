"""Units: the table that spares pint's import agrees with pint."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import pint
import pytest

from rules.gpu_fields import GPU_FIELDS
from rules.site.types import GPU_ACTUATORS, OBJECT_TYPES, POINT_UNITS
from rules.site.units import COMMON, SCALE, convert, is_unit, normal, same_dimension

REGISTRY = pint.UnitRegistry()


def dimension(unit: str) -> object:
    return REGISTRY.Unit(unit or "dimensionless").dimensionality


def test_common_units_are_units_and_their_words_are_dimensions() -> None:
    for one, other in combinations(COMMON, 2):
        assert same_dimension(one, other) == (COMMON[one] == COMMON[other])
        if COMMON[one] == COMMON[other]:
            assert dimension(one) == dimension(other), (one, other)


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


def test_parsing_the_demo_site_does_not_import_pint() -> None:
    code = (
        "import sys, pathlib; from streams.site_folder import load_site; "
        "load_site(pathlib.Path('examples/narvik')); sys.exit('pint' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_scales_are_those_of_pint() -> None:
    for one, other in combinations(SCALE, 2):
        if COMMON[one] == COMMON[other]:
            expected = REGISTRY.Quantity(7.0, one or "dimensionless").to(other or "dimensionless").magnitude
            assert convert(7.0, one, other) == pytest.approx(float(expected), rel=1e-14)
