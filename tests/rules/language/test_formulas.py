"""Physical models against textbooks, the curves of the simulated plant, and the notes of the plant."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateways.sim.physics_curves import (
    PG25_CP,
    PG25_DENSITY,
    chiller_capacity,
    chiller_power,
    effectiveness,
    heat_pump_cop,
)
from rules.engine.engine import Engine
from rules.engine.outputs import Alarm
from rules.language.definitions import Definitions
from rules.language.expression import parse_expression
from rules.language.formulas import FORMULAS
from rules.language.load import load_rules
from rules.language.names import Names
from rules.language.resolve import Resolver
from tests.rules.bad.small_site import site
from tests.rules.engine.plant import START, UNIT, S, flow, tick
from tests.rules.engine.plant import site as plant_site


def value_of(text: str) -> tuple[float, str]:
    """A text of constants: its number and unit."""
    found = Resolver(Names(site(), Definitions()), ["R1"]).number(parse_expression(text))
    return found.term.number.value, found.unit


def test_heat_is_flow_times_capacity_times_difference() -> None:
    water, unit = value_of("heat(60 L/min, 20 degC, 30 degC)")
    assert unit == "kW"
    assert water == pytest.approx(997.05 / 1000 * 4.181 * 10, rel=1e-3)
    glycol, _ = value_of("heat(0.001 m^3/s, 20 degC, 30 degC, 25 percent)")
    assert glycol == pytest.approx(PG25_DENSITY * PG25_CP * 1e-6 * 10, rel=1e-3)
    assert value_of("heat(60 L/min, 30 degC, 20 degC)")[0] == -water
    warm, unit = value_of(f"warmed(60 L/min, 20 degC, {glycol} kW, 25 percent)")
    assert (warm, unit) == (pytest.approx(30.0), "degC")


@pytest.mark.parametrize(("hot_end", "cold_end", "share"), [
    (5, 5, 1e-12), (5, 7, 1e-6), (10, 2, 1e-4), (2, 10, 1e-4), (10, 1, 2e-3),
])  # fmt: skip
def test_the_mean_temperature_difference_needs_no_logarithm(
    hot_end: float, cold_end: float, share: float
) -> None:
    found, unit = value_of(f"lmtd({30 + hot_end} degC, {20 + cold_end} degC, 20 degC, 30 degC)")
    exact = hot_end if hot_end == cold_end else (hot_end - cold_end) / math.log(hot_end / cold_end)
    assert unit == "K"
    assert found == pytest.approx(exact, rel=share)


@pytest.mark.parametrize(("hot_flow", "cold_flow"), [(30.0, 20.0), (20.0, 30.0), (25.0, 25.0)])
def test_a_counter_flow_exchanger_is_what_its_conductance_makes_of_it(
    hot_flow: float, cold_flow: float
) -> None:
    """UA 40 kW/K, flows in kW/K, 45 °C against 20 °C: both ways back from the four temperatures."""
    exact = float(effectiveness(np.array([40.0]), np.array([hot_flow]), np.array([cold_flow]))[0])
    heat = exact * min(hot_flow, cold_flow) * 25
    ends = f"45 degC, {45 - heat / hot_flow} degC, 20 degC, {20 + heat / cold_flow} degC"
    assert value_of(f"effectiveness({ends})") == (pytest.approx(exact), "")
    conductance, unit = value_of(f"{heat} kW / lmtd({ends})")
    assert unit == "kW/K"
    assert conductance == pytest.approx(40.0, rel=1e-3)


@pytest.mark.parametrize(("share", "cop"), [(1.0, 5.51), (0.25, 4.17)])
def test_a_chiller_is_as_good_as_the_notes_of_the_plant_say(share: float, cop: float) -> None:
    heat = share * chiller_capacity(1000.0, 6.67, 29.4)
    found, unit = value_of(f"chiller_cop({heat} kW, 1 MW, 5.5, 6.67 degC, 29.4 degC)")
    assert unit == ""
    assert found == pytest.approx(cop, abs=0.005)


@pytest.mark.parametrize(("leaving", "entering"), [(10, 20), (15, 18), (2, 40)])
def test_a_chiller_follows_the_curves_of_the_simulated_one(leaving: float, entering: float) -> None:
    exact = 600.0 / chiller_power(1200.0, 600.0, leaving, entering)
    found, _ = value_of(f"chiller_cop(600 kW, 1200 kW, 5.5, {leaving} degC, {entering} degC)")
    assert found == pytest.approx(exact)


def test_a_heat_pump_has_a_share_of_carnot() -> None:
    assert value_of("0.55 * carnot_cop(85 degC, 40 degC)")[0] == pytest.approx(heat_pump_cop(85.0, 40.0))


@pytest.mark.parametrize(("text", "power_kw", "shown"), [
    ("chiller_cop(RackPower, 100 kW, 5.5, 6.67 degC, 29.4 degC)", 100.0, "5.51"),
    ("chiller_cop(RackPower, 100 kW, 5.5, 6.67 degC, 29.4 degC)", 0.0, "no value"),
    ("chiller_cop(RackPower, 100 kW, 5.5, 6.67 degC, 29.4 degC)", -1.0, "no value"),
    ("lmtd(45 degC, 0 degC + RackPower * 1 K/kW, 20 degC, 40 degC)", 25.0, "5.00"),
    ("lmtd(45 degC, 0 degC + RackPower * 1 K/kW, 20 degC, 40 degC)", 20.0, "no value"),
    ("lmtd(45 degC, 0 degC + RackPower * 1 K/kW, 20 degC, 40 degC)", 12.0, "no value"),
    ("effectiveness(0 degC + RackPower * 1 K/kW, 30 degC, 20 degC, 25 degC)", 45.0, "0.60"),
    ("effectiveness(0 degC + RackPower * 1 K/kW, 30 degC, 20 degC, 25 degC)", 20.0, "no value"),
    ("warmed(RackPower * 1 L/min/kW, 20 degC, 69.483 kW)", 100.0, "30.00"),
    ("warmed(RackPower * 1 L/min/kW, 20 degC, 69.483 kW)", 0.0, "no value"),
    ("carnot_cop(0 degC + RackPower * 1 K/kW, 25 degC)", 85.0, "5.97"),
    ("carnot_cop(0 degC + RackPower * 1 K/kW, 25 degC)", 20.0, "no value"),
])  # fmt: skip
def test_what_physics_excludes_is_unknown(text: str, power_kw: float, shown: str) -> None:
    file = f"""
expressions:
  model: {text}
rules:
  r: {{for: Rack, when: RackLiquidFlow > 1 L/min, severity: low, message: "{{model:.2f}}"}}
"""
    program, findings = load_rules({"r.yaml": file}, plant_site())
    assert program is not None, [str(finding) for finding in findings]
    engine = Engine(program, plant_site(), UNIT)
    power = flow(1, START + S, power_kw, point="R1.RackPower")
    said = engine.step([tick(START), power, flow(2, START + S, 5.0)])
    assert [one.message for one in said if isinstance(one, Alarm)] == [shown]


def test_every_formula_is_tested() -> None:
    assert set(FORMULAS) == {"heat", "warmed", "lmtd", "effectiveness", "chiller_cop", "carnot_cop"}
