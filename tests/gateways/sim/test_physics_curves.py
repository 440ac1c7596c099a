"""Correlations against figures computed by hand from the same sources."""

from __future__ import annotations

import numpy as np
import pytest

from gateways.sim.physics_curves import (
    chiller_capacity,
    chiller_power,
    effectiveness,
    exchanged_heat,
    francis_efficiency,
    heat_pump_cop,
)
from gateways.sim.physics_gpus import GpuDesign, Gpus
from gateways.sim.physics_hydraulics import Pumps
from gateways.sim.physics_power import HydroUnit


def test_chiller_cop_at_the_reference_point_and_at_a_quarter_load() -> None:
    full_w = chiller_capacity(1e6, 6.67, 29.4)
    assert full_w / chiller_power(1e6, full_w, 6.67, 29.4) == pytest.approx(5.51, abs=0.02)
    assert 0.25 * full_w / chiller_power(1e6, 0.25 * full_w, 6.67, 29.4) == pytest.approx(4.17, abs=0.02)
    assert chiller_power(0.0, 1e3, 6.67, 29.4) == chiller_power(1e6, 0.0, 6.67, 29.4) == 0.0


def test_heat_pump_cop_from_both_sources() -> None:
    assert heat_pump_cop(88.0, 37.0) == pytest.approx(3.9, abs=0.05)
    assert heat_pump_cop(88.0, 27.0) == pytest.approx(3.3, abs=0.05)


def test_effectiveness_is_continuous_and_gives_no_more_heat_than_there_is() -> None:
    ua, hot = np.full(4, 2e5), np.full(4, 4e4)
    cold = np.array([4e4, 4e4 * (1 + 1e-7), 8e4, 0.0])
    share = effectiveness(ua, hot, cold)
    assert share[0] == pytest.approx(5.0 / 6.0)
    assert share[1] == pytest.approx(share[0], rel=1e-4)
    assert share[2] > share[0]
    assert share[3] == 0.0
    heat = exchanged_heat(ua, hot, cold, np.full(4, 33.0), np.full(4, 15.0))
    assert (heat <= np.minimum(hot, cold) * 18.0 + 1e-9).all()


def test_a_francis_turbine_is_best_near_80_percent() -> None:
    assert francis_efficiency(0.8) == 0.93
    assert francis_efficiency(0.8) > francis_efficiency(1.0) > francis_efficiency(0.3)


def test_water_column_answers_the_wrong_way_first() -> None:
    unit = HydroUnit()
    for _ in range(600):
        unit.step(0.1, 1.0e6, 50.0)
    before_w = unit.power_w
    unit.step(0.1, 1.0e6, 49.0)
    assert unit.power_w < before_w
    for _ in range(100):
        unit.step(0.1, 1.0e6, 49.0)
    assert unit.power_w > 1.2 * before_w


def test_a_gpu_without_flow_warms_as_its_heat_capacity_says() -> None:
    gpus = Gpus.create(1, GpuDesign(), 22.0, np.random.default_rng(1))
    gpus.power_w[:] = 1400.0
    before = gpus.temperature_c.copy()
    for _ in range(10):
        gpus.step_heat(0.1, np.array([22.0]), gpus.temperature_c.copy(), np.zeros(1))
    assert (gpus.temperature_c - before)[0] == pytest.approx(1400 / 600, abs=0.02)


def test_a_gpu_at_design_flow_has_the_site_files_resistance() -> None:
    gpus = Gpus.create(400, GpuDesign(resistance_k_w=0.025), 22.0, np.random.default_rng(1))
    gpus.power_w[:] = 1000.0
    for _ in range(300):
        gpus.step_heat(1.0, np.full(400, 22.0), np.full(400, 22.0), np.ones(400))
    assert gpus.temperature_c.mean() == pytest.approx(22.0 + 25.0, abs=1.2)


@pytest.mark.parametrize(
    ("lost", "low", "high"), [(0.3, 0.6, 0.8), (0.5, 0.3, 0.5), (0.7, 0.0, 0.1), (1.0, 0.0, 0.001)]
)
def test_flow_that_a_slower_pump_leaves(lost: float, low: float, high: float) -> None:
    pumps = Pumps.create(np.ones((1, 2)))
    pumps.health[0, 0] = 1.0 - lost
    for _ in range(40):
        pumps.step(0.1, np.ones(1))
    assert low <= pumps.flow[0] <= high
    assert pumps.head_kpa[0] == pytest.approx(pumps.design_head_kpa * pumps.flow[0] ** 2)


def test_two_pumps_share_the_flow() -> None:
    pumps = Pumps.create(np.ones((1, 2)))
    pumps.running[:] = 1.0
    pumps.setpoint[:] = 0.8
    for _ in range(100):
        pumps.step(0.1, np.ones(1))
    assert 1.05 < pumps.flow[0] < 1.3
    assert pumps.share[0] == pytest.approx([0.5, 0.5])
