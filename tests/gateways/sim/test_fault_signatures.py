"""Each named fault shows its own signature in the signals, and leaves when it is removed."""

from __future__ import annotations

import numpy as np
import pytest

from gateways.sim.effects import STORM_XID
from gateways.sim.faults import FAULTS, parse_fault
from gateways.sim.plant import Plant
from gateways.sim.sensors import Snapshot
from gateways.sim.telemetry import Telemetry
from rules.errors import ConfigurationError
from rules.gpu_fields import FIELD_INDEX
from rules.quality import Quality, quality_of_status
from rules.site.model import Site


def run(plant: Plant, seconds: float, dt_s: float = 0.1) -> Snapshot:
    until = plant.time_s + seconds
    while plant.time_s < until - 1e-9:
        plant.step(dt_s)
    return plant.points()


def start(site: Site, fault: str, plc: bool = False) -> Plant:
    plant = Plant(site, 2, plc)
    plant.points()
    plant.inject(parse_fault(f"{fault}@1s"))
    return plant


def remove(plant: Plant, name: str) -> None:
    plant.inject(parse_fault(f"~{name}@0s"))


def test_pump_trip(site: Site) -> None:
    plant = start(site, "pump_trip:CDU-B")
    shown = run(plant, 4.0)
    assert shown["CDU-B.LiquidFlow"] < 0.1 * 632
    assert shown["R05.RackLiquidDifferentialPressure"] < 2.0
    assert shown["CDU-B-P1.PumpSpeed"] == 80.0
    assert shown["CDU-B-P1.Current"] < 0.1
    assert shown["R01.RackLiquidFlow"] > 150.0
    remove(plant, "pump_trip")
    assert run(plant, 10.0)["CDU-B.LiquidFlow"] > 600.0


def test_feed_trip(site: Site) -> None:
    plant = start(site, "feed_trip:BRK-A")
    before = plant.points()
    first = run(plant, 3.0)
    assert first["BRK-A.Status"] == 0.0
    assert first["FEED-A.Voltage"] < 1.0
    assert first["FEED-A.ActivePower"] < 1.0
    assert first["UPS-A.ActivePower"] > 400.0
    assert first["R01.RackPower"] > 100.0
    later = run(plant, 10.0)
    assert later["FEED-B.ActivePower"] > before["FEED-B.ActivePower"] + 100.0
    assert later["FEED-B.Voltage"] < before["FEED-B.Voltage"] - 0.5
    assert later["UPS-A.StateOfCharge"] < 100.0
    remove(plant, "feed_trip")
    assert run(plant, 2.0)["FEED-A.ActivePower"] > 400.0


def test_both_feeds_lost_until_the_ups_are_empty(site: Site) -> None:
    plant = start(site, "feed_trip:FEED-A")
    plant.inject(parse_fault("feed_trip:FEED-B@1s"))
    assert run(plant, 60.0, 0.5)["R01.RackPower"] > 100.0
    assert run(plant, 1200.0, 1.0)["R01.RackPower"] < 1.0


def test_chiller_trip(site: Site) -> None:
    plant = start(site, "chiller_trip")
    before = plant.points()
    shown = run(plant, 121.0)
    assert shown["CH-1.Status"] == 0.0
    assert shown["CH-1-Return.LiquidTemperature"] - shown["CH-1-Supply.LiquidTemperature"] < 0.1
    rise = shown["CDU-A-PrimarySupply.LiquidTemperature"] - before["CDU-A-PrimarySupply.LiquidTemperature"]
    assert 0.3 < rise / 2.0 < 0.8  # K/min
    remove(plant, "chiller_trip")
    assert run(plant, 1200.0, 0.5)["CDU-A-PrimarySupply.LiquidTemperature"] == pytest.approx(15.0, abs=0.5)


def test_leak(site: Site) -> None:
    plant = start(site, "leak:R02-T07*3")
    shown = run(plant, 60.0)
    assert shown["R02.RackLeakDetect"] == 1.0
    assert shown["R02-T07.RackLeakDetectTray"] == 1.0
    assert shown["R02-T08.RackLeakDetectTray"] == 0.0
    assert 70.0 - shown["CDU-A-Tank.LiquidLevel"] == pytest.approx(3.0, abs=0.2)
    remove(plant, "leak")
    level = run(plant, 0.2)["CDU-A-Tank.LiquidLevel"]
    assert run(plant, 30.0)["CDU-A-Tank.LiquidLevel"] == pytest.approx(level, abs=0.05)


def test_sensor_frozen(site: Site) -> None:
    plant = start(site, "sensor_frozen:R01.RackPower")
    first = run(plant, 2.0)
    plant.write("R01.RackElectricalIsolationRequest", 1.0)
    later = run(plant, 5.0)
    assert later["R01.RackPower"] == first["R01.RackPower"]
    place = later.ids.index("R01.RackPower")
    assert later.time_ns[place] > first.time_ns[place]
    remove(plant, "sensor_frozen")
    assert run(plant, 0.2)["R01.RackPower"] < 1.0


def test_sensor_drift(site: Site) -> None:
    plant = start(site, "sensor_drift:CDU-A.LiquidFlow*2")
    shown = run(plant, 61.0)
    assert shown["CDU-A.LiquidFlow"] - shown["CDU-B.LiquidFlow"] == pytest.approx(0.02 * 1500, abs=2.0)
    assert sum(shown[f"R0{rack}.RackLiquidFlow"] for rack in range(1, 5)) == pytest.approx(632, abs=2.0)
    remove(plant, "sensor_drift")
    assert run(plant, 0.2)["CDU-A.LiquidFlow"] == pytest.approx(632, abs=2.0)


def test_a_drift_beyond_the_span_is_uncertain(site: Site) -> None:
    plant = start(site, "sensor_drift:HU-1.Frequency*200")
    shown = run(plant, 60.0)
    place = shown.ids.index("HU-1.Frequency")
    assert shown.values[place] == 55.0
    assert quality_of_status(int(shown.status[place])) == Quality.UNCERTAIN
    assert (np.delete(shown.status, place) == 0).all()


def test_stale(site: Site) -> None:
    plant = start(site, "stale:CDU-A")
    first = run(plant, 1.0)
    later = run(plant, 5.0)
    mine = [place for place, name in enumerate(later.ids) if name.startswith("CDU-A.")]
    assert mine
    assert (later.time_ns[mine] == first.time_ns[mine]).all()
    assert (later.values[mine] == first.values[mine]).all()
    others = np.setdiff1d(np.arange(len(later.ids)), mine)
    assert (later.time_ns[others] > first.time_ns[others]).all()
    remove(plant, "stale")
    last = run(plant, 0.2)
    assert (last.time_ns == plant.time_ns).all()


def test_valve_stuck(site: Site) -> None:
    plant = start(site, "valve_stuck:CDU-A*0.3")
    shown = run(plant, 30.0)
    assert shown["CDU-A.ValvePosition"] == pytest.approx(30.0, abs=0.1)
    assert shown["CDU-A.ValvePositionSp"] > 65.0
    remove(plant, "valve_stuck")
    run(plant, 300.0, 0.5)
    shown = plant.points()
    assert shown["CDU-A.ValvePosition"] == pytest.approx(shown["CDU-A.ValvePositionSp"], abs=2.0)


def test_gpu_runaway(site: Site) -> None:
    plant = start(site, "gpu_runaway:R04-T09-G3")
    gpu = plant.layout.index("R04-T09-G3")
    run(plant, 1.5)
    before_c = plant.gpus.temperature_c[gpu]
    run(plant, 4.0)
    rate = (plant.gpus.temperature_c - before_c)[gpu] / 4.0
    assert rate > 1.0  # K/s
    assert np.median(plant.gpus.temperature_c) < 52.0
    remove(plant, "gpu_runaway")
    run(plant, 120.0)
    assert plant.gpus.temperature_c[gpu] < 55.0


@pytest.mark.parametrize(("size", "low", "high"), [(0.5, 49.5, 49.9), (1.0, 49.0, 49.8), (2.0, 48.0, 49.3)])
def test_frequency_dip(site: Site, size: float, low: float, high: float) -> None:
    plant = start(site, f"frequency_dip*{size}")
    lowest = min(run(plant, 0.5)["HU-1.Frequency"] for _ in range(60))
    assert low < lowest < high
    assert plant.points()["HU-1.ActivePower"] > 1300.0  # droop
    remove(plant, "frequency_dip")
    assert run(plant, 60.0)["FEED-A.Frequency"] == pytest.approx(50.0, abs=0.1)


def test_xid_storm(site: Site) -> None:
    plant = start(site, "xid_storm:R05*5")
    telemetry = Telemetry(plant)
    run(plant, 3.0)
    telemetry.update(0.1)
    xid = telemetry.values[:, FIELD_INDEX["xid"]]
    assert list(np.unique(xid[xid > 0])) == [STORM_XID]
    assert (xid > 0).sum() == 5
    assert set(plant.layout.gpu_rack[xid > 0]) == {plant.layout.index("R05")}
    remove(plant, "xid_storm")
    run(plant, 0.2)
    telemetry.update(0.1)
    assert (telemetry.values[:, FIELD_INDEX["xid"]] == 0).all()


def test_heat_sink_lost(site: Site) -> None:
    plant = start(site, "heat_sink_lost")
    before = plant.points()
    shown = run(plant, 3.0)
    assert shown["DH-1.LiquidFlow"] < 0.2 * before["DH-1.LiquidFlow"]
    shown = run(plant, 180.0)
    assert shown["HP-1.Status"] == 0.0
    assert shown["HP-1.HeatPower"] < 1.0
    remove(plant, "heat_sink_lost")
    assert run(plant, 600.0, 0.5)["DH-1.HeatPower"] > 300.0


def test_clock_skew(site: Site) -> None:
    plant = start(site, "clock_skew")
    shown = run(plant, 2.0)
    assert (shown.time_ns == plant.time_ns + 3600 * 10**9).all()
    remove(plant, "clock_skew")
    assert (run(plant, 0.2).time_ns == plant.time_ns).all()


def test_every_fault_has_a_default_target_and_a_test_here(site: Site) -> None:
    plant = Plant(site, 1)
    for name in FAULTS:
        plant.inject(parse_fault(f"{name}@0s"))
        assert f"test_{name}" in globals()
    plant.step(0.1)
    assert len(plant.active_faults) == len(FAULTS)


def test_a_target_that_the_site_lacks_is_named(site: Site) -> None:
    with pytest.raises(ConfigurationError, match="CDU-A"):
        Plant(site, 1).inject(parse_fault("pump_trip:CDU-AA@1s"))
