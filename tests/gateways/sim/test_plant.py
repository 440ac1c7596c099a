"""The physics as a whole: energy is kept, the same seed gives the same bytes, writes and the PLC act."""

from __future__ import annotations

import numpy as np
import pytest

from gateways.sim.faults import parse_fault
from gateways.sim.plant import Plant
from rules.site.model import Site


def run(plant: Plant, until_s: float, dt_s: float = 0.1) -> None:
    while plant.time_s < until_s - 1e-9:
        plant.step(dt_s)


@pytest.mark.parametrize(
    "faults", [[], ["pump_trip@300s", "heat_sink_lost@900s", "~heat_sink_lost@1800s", "chiller_trip@2400s"]]
)
def test_energy_is_kept_in_every_loop_over_an_hour(site: Site, faults: list[str]) -> None:
    plant = Plant(site, seed=3)
    for text in faults:
        plant.inject(parse_fault(text))
    before = plant.stored_j()
    gpu_j = plant.gpus.energy_j.copy()
    run(plant, 3600.0, 0.5)
    after = plant.stored_j()
    accounts = {"rows": plant.rows.account, **plant.facility.account}
    assert set(accounts) == {"rows", "facility", "sink", "sea"}
    for name, account in accounts.items():
        stored = after[name] - before[name]
        off = np.abs(account.heat_in_j - account.heat_out_j - stored) / account.heat_in_j
        assert off.max() < 0.005, name
    # and the border itself: what the rows took in is what the GPUs' own energy counters say, and the rest of the racks
    through_gpus = float((plant.gpus.energy_j - gpu_j).sum())
    share = through_gpus / float(plant.rows.account.heat_in_j.sum())
    assert 0.7 < share < 0.9


def test_the_energy_check_sees_a_leak_of_heat(site: Site) -> None:
    plant = Plant(site, seed=3)
    before = plant.stored_j()["rows"]
    run(plant, 600.0, 0.5)
    plant.rows.return_c += 1.0
    account = plant.rows.account
    off = (
        np.abs(account.heat_in_j - account.heat_out_j - (plant.stored_j()["rows"] - before))
        / account.heat_in_j
    )
    assert off.max() > 0.001


def _bytes(plant: Plant) -> bytes:
    return (
        plant.gpus.temperature_c.tobytes() + plant.rows.return_c.tobytes() + plant.points().values.tobytes()
    )


def test_same_seed_same_bytes(site: Site) -> None:
    plants = [Plant(site, seed) for seed in (5, 5, 6)]
    for plant in plants:
        plant.inject(parse_fault("pump_trip@2s"))
        run(plant, 10.0)
    assert _bytes(plants[0]) == _bytes(plants[1])
    assert _bytes(plants[0]) != _bytes(plants[2])


def test_reading_does_not_change_the_physics(site: Site) -> None:
    read, unread = Plant(site, 5), Plant(site, 5)
    for _ in range(50):
        read.step(0.1)
        read.points()
        unread.step(0.1)
    assert read.gpus.temperature_c.tobytes() == unread.gpus.temperature_c.tobytes()


def test_a_power_limit_lowers_power_then_temperature(site: Site) -> None:
    plant = Plant(site, 1)
    gpu = plant.layout.index("R02-T03-G1")
    before_w, before_c = plant.gpus.power_w[gpu], plant.gpus.temperature_c[gpu]
    plant.write("R02-T03-G1.power_limit", 500.0)
    run(plant, 1.0)
    assert plant.gpus.power_w[gpu] == pytest.approx(500.0, abs=1.0)
    assert plant.gpus.temperature_c[gpu] > before_c - 3.0
    run(plant, 120.0)
    assert plant.gpus.temperature_c[gpu] == pytest.approx(before_c - (before_w - 500.0) * 0.02, abs=3.0)


def test_a_pump_speed_changes_flow_and_temperature(site: Site) -> None:
    plant = Plant(site, 1)
    before = plant.points()
    plant.write("CDU-A-P1.PumpSpeed", 60.0)
    run(plant, 30.0)
    after = plant.points()
    assert after["CDU-A.LiquidFlow"] < 0.85 * before["CDU-A.LiquidFlow"]
    assert after["R01.RackLiquidReturnTemperature"] > before["R01.RackLiquidReturnTemperature"] + 0.5
    assert after["CDU-B.LiquidFlow"] == pytest.approx(before["CDU-B.LiquidFlow"], rel=0.01)


def test_other_set_points_act(site: Site) -> None:
    plant = Plant(site, 1)
    plant.write("CDU-A.LiquidTemperatureSpRequest", 26.0)
    plant.write("R05.RackLiquidIsolationRequest", 1.0)
    plant.write("R06.RackElectricalIsolationRequest", 1.0)
    plant.write("R07.RackControlValvePositionSp", 30.0)
    plant.write("DUMP-1.ValvePositionSp", 100.0)
    plant.write("DH-1.ValvePositionSp", 20.0)
    plant.write("CDU-B.ValvePositionSp", 90.0)
    run(plant, 60.0)
    shown = plant.points()
    assert shown["R05.RackLiquidFlow"] < 0.1
    assert shown["R05.RackLiquidIsolationStatus"] == 1.0
    assert shown["R06.RackPower"] < 0.1
    assert shown["R07.RackLiquidFlow"] < 0.8 * shown["R08.RackLiquidFlow"]
    assert shown["DUMP-1.HeatPower"] > 400.0
    assert shown["CDU-B.ValvePosition"] == pytest.approx(90.0, abs=0.1)
    run(plant, 600.0, 0.5)
    shown = plant.points()
    assert shown["CDU-A-SecondarySupply.LiquidTemperature"] == pytest.approx(26.0, abs=0.5)
    assert shown["DH-1.HeatPower"] < 300.0


def test_writes_are_refused_outside_the_range_and_where_nothing_is_to_set(site: Site) -> None:
    plant = Plant(site, 1)
    with pytest.raises(ValueError, match="30 to 100"):
        plant.write("CDU-A-P1.PumpSpeed", 101.0)
    with pytest.raises(KeyError):
        plant.write("R01.RackPower", 1.0)


@pytest.mark.parametrize(("seed", "size"), [(11, 0.7), (12, 0.85), (13, 1.0)])
def test_without_headrace_gpus_pass_85_before_the_standby_pump_and_with_limits_they_do_not(
    site: Site, seed: int, size: float
) -> None:
    hottest = {}
    for is_capped in (False, True):
        plant = Plant(site, seed)
        plant.inject(parse_fault(f"pump_trip:CDU-A*{size}@5s"))
        row = plant.layout.rack_row[plant.layout.gpu_rack] == 0
        start_c = plant.gpus.temperature_c[row].max()
        assert 45.0 < start_c < 53.0
        hottest[is_capped] = start_c
        run(plant, 7.5)
        if is_capped:
            for gpu in np.flatnonzero(row):
                plant.write(f"{plant.layout.ids['GPU'][gpu]}.power_limit", 500.0)
        while plant.time_s < 305.0:
            plant.step(0.1 if plant.time_s < 45.0 else 0.5)
            hottest[is_capped] = max(hottest[is_capped], plant.gpus.temperature_c[row].max())
        assert plant.plc.standby_starts == 1
        assert plant.points()["CDU-A.LiquidFlow"] > 600.0
    assert hottest[False] > 86.0
    assert hottest[True] < 75.0


def test_the_plc_can_be_switched_off(site: Site) -> None:
    plant = Plant(site, 1, plc=False)
    plant.inject(parse_fault("pump_trip@1s"))
    plant.inject(parse_fault("leak:R06@1s"))
    run(plant, 40.0)
    assert plant.plc.standby_starts == 0
    assert plant.points()["CDU-A.LiquidFlow"] < 0.5
    assert plant.points()["R06.RackPower"] > 50.0
    assert plant.gpus.temperature_c.max() > 100.0


def test_over_temperature_switches_the_tray_off_and_leak_isolates_the_rack(site: Site) -> None:
    plant = Plant(site, 1)
    plant.inject(parse_fault("gpu_runaway:R03-T02-G2*1@1s"))
    plant.inject(parse_fault("leak:R06@1s"))
    run(plant, 60.0)
    tray = plant.layout.index("R03-T02")
    assert plant.plc.tray_tripped.sum() == 1
    assert plant.plc.tray_tripped[tray] == 1
    assert plant.gpus.power_w[plant.layout.gpu_tray == tray].max() < 1.0
    shown = plant.points()
    assert shown["R06.RackElectricalIsolationStatus"] == 1.0
    assert shown["R06.RackLiquidIsolationStatus"] == 1.0
    assert shown["R06.RackPower"] < 0.1
    plant.inject(parse_fault("~leak@60s"))
    plant.step(0.1)
    plant.plc.reset()
    run(plant, 90.0)
    assert plant.points()["R06.RackPower"] > 50.0
