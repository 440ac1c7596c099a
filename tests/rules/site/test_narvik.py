"""The example sites: their totals, and what the rest of Headrace relies on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rules.errors import ConfigurationError
from rules.site.model import Site
from streams.site_folder import load_site

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def narvik() -> Site:
    return load_site(EXAMPLES / "narvik")


@pytest.fixture(scope="module")
def whole() -> Site:
    return load_site(EXAMPLES / "narvik-full")


def test_totals_of_the_demo(narvik: Site) -> None:
    assert {name: len(unit.gpus) for name, unit in narvik.units.items()} == {
        "site": 0,
        "row-a": 288,
        "row-b": 288,
    }
    assert 370 <= len(narvik.points) <= 430
    assert 137_000 <= narvik.readings_per_s <= 139_000
    assert sum(asset.type == "Rack" for asset in narvik.assets.values()) == 8
    assert narvik.tick_ns == 100_000_000
    assert narvik.rule_paths == ("rules",)


def test_totals_of_the_whole_site(whole: Site) -> None:
    assert len(whole.units) == 14
    assert sum(len(unit.gpus) for unit in whole.units.values()) == 14_976
    assert sum(asset.type == "Rack" for asset in whole.assets.values()) == 208
    assert sum(actuator.kind == "nvml" for actuator in whole.actuators.values()) == 14_976


def test_both_sites_have_the_same_types_of_points_and_constants(narvik: Site, whole: Site) -> None:
    """So that one set of rules serves both."""

    def signals(site: Site) -> set[tuple[str, str, str]]:
        points = {
            (site.assets[point.asset].type, point.point_type, point.engineering_unit)
            for point in site.points.values()
        }
        constants = {
            (asset.type, name, asset.constant_units[name])
            for asset in site.assets.values()
            for name in asset.constants
        }
        return points | constants

    assert signals(narvik) == signals(whole)


def test_lanes_follow_the_file(narvik: Site) -> None:
    for unit in narvik.units.values():
        assert [unit.gpu_lane[gpu] for gpu in unit.gpus] == list(range(len(unit.gpus)))
        for asset, (low, high) in unit.gpu_range.items():
            assert high > low or asset == "site"
            prefix = "R" if asset == unit.id else f"{asset}-"
            assert all(gpu.startswith(prefix) for gpu in unit.gpus[low:high])
    row_b = narvik.units["row-b"]
    assert row_b.gpus[0] == "R05-T01-G1"
    assert row_b.gpu_range["R06-T02"] == (76, 80)
    assert row_b.gpu_range["row-b"] == (0, 288)


def test_every_gpu_has_one_source_and_one_limit(narvik: Site) -> None:
    read: dict[str, str] = {}
    for source in narvik.sources.values():
        for asset in source.assets:
            unit = narvik.units[narvik.assets[asset].unit]
            for gpu in unit.gpus[slice(*unit.gpu_range[asset])]:
                assert read.setdefault(gpu, source.id) == source.id
    gpus = [gpu for unit in narvik.units.values() for gpu in unit.gpus]
    assert set(read) == set(gpus)
    limits = [narvik.actuators[f"{gpu}.power_limit"] for gpu in gpus]
    assert [limit.source for limit in limits] == [read[gpu] for gpu in gpus]
    assert [limit.address for limit in limits] == [str(index) for index in range(576)]
    assert {
        (limit.kind, limit.low, limit.high, limit.default, limit.engineering_unit) for limit in limits
    } == {("nvml", 500.0, 1600.0, 1400.0, "W")}
    assert [gpu for gpu in gpus if read[gpu] == "nvml-r01-t01"] == [f"R01-T01-G{n}" for n in range(1, 5)]


def test_points_actuators_and_relations(narvik: Site) -> None:
    flow = narvik.points["R01.RackLiquidFlow"]
    assert flow.address == "nsu=urn:headrace:plant;s=R01.RackLiquidFlow"
    assert (flow.engineering_unit, flow.low, flow.high, flow.period_ns) == ("L/min", 0, 300, 10**9)
    assert (flow.deadband_kind, flow.deadband, flow.is_setpoint) == ("percent", 0.1, False)
    pump = narvik.actuators["CDU-A-P1.PumpSpeed"]
    assert (pump.kind, pump.source, pump.address) == ("opcua", "plant-opcua", narvik.points[pump.id].address)
    assert narvik.points[pump.id].is_setpoint
    assert narvik.assets["CDU-A-P1"].part_of == "CDU-A"
    assert narvik.assets["R01-T05-G2"].part_of == "R01-T05"
    assert narvik.assets["CDU-B"].feeds == ("R05", "R06", "R07", "R08")
    assert narvik.assets["BRK-A"].feeds == ("FEED-A",)
    assert narvik.assets["R01"].constants["design_flow"] == 158
    assert narvik.assets["R01"].constant_units["design_flow"] == "L/min"
    assert narvik.assets["CDU-A-SecondarySupply"].process_area == "Secondary Supply"


def test_ids_round_trip(whole: Site) -> None:
    for unit in whole.units.values():
        assert all(whole.assets[asset.id] is asset and asset.unit == unit.id for asset in unit.assets)
        assert all(whole.points[f"{point.asset}.{point.point_type}"] is point for point in unit.points)
    for actuator in whole.actuators.values():
        assert actuator.id == f"{actuator.asset}.{actuator.quantity}"
        assert actuator.source in whole.sources
    for asset in whole.assets.values():
        assert asset.part_of is None or asset.part_of in whole.assets
        assert all(target in whole.assets for target in asset.feeds)


def test_the_digest_is_that_of_the_text(narvik: Site) -> None:
    text = (EXAMPLES / "narvik" / "site.yaml").read_bytes()
    assert narvik.digest == hashlib.sha256(text).hexdigest()


def test_assets_of_a_template_share_its_constants(whole: Site) -> None:
    gpus = [asset for asset in whole.assets.values() if asset.type == "GPU"]
    assert len({id(gpu.constants) for gpu in gpus}) == 1


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda folder: None, "has no site.yaml"),
        (lambda folder: (folder / "site.yaml").write_bytes(b"name: \xff"), "not UTF-8"),
        (lambda folder: (folder / "site.yaml").write_text("name: x\n"), "the key 'units' is missing"),
        (lambda folder: (folder / "site.yaml").mkdir(), "can't be read"),
    ],
)
def test_a_folder_without_a_good_site(tmp_path: Path, prepare: object, words: str) -> None:
    assert callable(prepare)
    prepare(tmp_path)
    with pytest.raises(ConfigurationError, match=words):
        load_site(tmp_path)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no folder"):
        load_site(tmp_path / "nowhere")
