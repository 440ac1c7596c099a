"""`headrace bench kernels`, small: its keys are there, and its baselines find what the engine finds."""

from pathlib import Path

import numpy as np
import pytest

from gateways.bench import kernel_parts, kernel_twins, kernels
from gateways.bench.kernel_load import folder_for, shares
from rules.engine.outputs import Alarm
from rules.gpu_fields import FIELD_INDEX
from streams.rule_sets.rule_folder import load_program
from streams.site_folder import load_site

FOLDER = Path(__file__).parents[3] / "examples" / "narvik"
SITE = load_site(FOLDER)
RULES = """
rules:
  hot: {for: GPU, when: temperature > 55 degC and power_instant > 500 W, severity: low, message: "{asset}"}
  odd: {for: GPU, when: not (xid == 0 or temperature < 50 degC), severity: low, message: "{asset}"}
  near: {for: GPU, when: temperature_margin - 5 K <= 10 K, severity: low, message: "{asset}"}
  moves: {for: GPU, when: "rate(temperature, 2 s) > 5 K/s", severity: low, message: "{asset}"}
"""


def test_twins_find_what_the_engine_finds() -> None:
    program = kernel_parts.program_of(RULES, SITE)
    share = shares(SITE, program, 72)[0]
    values = share.racks[0].values
    dice = np.random.default_rng(3)
    shape = (1, values.shape[1])
    for name, low, high in (
        ("temperature", 40, 70),
        ("power_instant", 300, 900),
        ("temperature_margin", 5, 40),
    ):
        values[:, :, FIELD_INDEX[name]] = np.round(dice.uniform(low, high, shape))
    values[:, :, FIELD_INDEX["xid"]] = dice.integers(0, 2, shape)
    values[:, ::9, FIELD_INDEX["temperature"]] = np.nan
    rules = kernel_twins.stateless(program)
    assert [rule.id for rule in rules] == ["hot", "near", "odd"]

    alarms = {
        (one.rule, one.asset) for one in share.engine.step(share.next_second()) if isinstance(one, Alarm)
    }
    rack = share.racks[0]
    masks = kernel_twins.numpy_masks(rules, rack)
    found = {
        (rule, rack.gpus[lane]) for rule, mask in masks.items() for lane in np.flatnonzero(mask.any(axis=0))
    }
    assert found == alarms
    assert {rule for rule, _ in alarms} == {"hot", "near", "odd"}

    pytest.importorskip("polars")
    table = kernel_twins.PolarsTwin(rules, [rack]).masks()
    for rule, mask in masks.items():
        assert np.array_equal(table[rule].to_numpy(), mask.ravel()), rule


def test_a_missing_signal_is_no_data_to_the_twins() -> None:
    text = 'rules: {silent: {for: GPU, when: no_data(temperature), after: 3 s, severity: low, message: "{asset}"}}'
    program = kernel_parts.program_of(text, SITE)
    rack = shares(SITE, program, 72)[0].racks[0]
    rack.values[2, 5, FIELD_INDEX["temperature"]] = np.nan
    rules = kernel_twins.stateless(program)
    assert np.argwhere(kernel_twins.numpy_masks(rules, rack)["silent"]).tolist() == [[2, 5]]
    pytest.importorskip("polars")
    table = kernel_twins.PolarsTwin(rules, [rack]).masks()
    assert np.flatnonzero(table["silent"].to_numpy()).tolist() == [2 * 72 + 5]


@pytest.mark.parametrize("polars", [True, False])
def test_keys_of_a_run(polars: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if polars:
        pytest.importorskip("polars")
    monkeypatch.setattr(kernel_twins, "has_polars", lambda: polars)
    run = kernels.measure(FOLDER, 144, 1)
    of_gpus = [rule for rule in load_program(FOLDER, SITE).rules if rule.asset_type == "GPU"]
    assert (run["gpus"], run["engines"], run["rules"]) == (144, 1, len(of_gpus))
    assert run["readings_per_s"] > 0
    assert run["ratio_to_memcpy"] > 0
    assert run["ratio_to_numpy"] > 0
    assert (run["ratio_to_polars"] is not None) is polars
    assert run["state_bytes_per_gpu"] > 100
    assert run["snapshot_mb_compressed"] < run["snapshot_mb"]
    assert {"snapshot_pause_ms", "restore_ms"} <= run.keys()


def test_parts_and_starts() -> None:
    assert kernel_parts.phase_cost_ns(SITE, 1).keys() == {"quiet", "pending", "active", "no_data"}
    assert [row["rules"] for row in kernel_parts.growth(SITE, (1, 40), 1)] == [1, 40]
    program = kernel_parts.program_of(RULES, SITE)
    assert kernel_parts.plant_readings_per_s(SITE, program, 1)["all"] > 0
    assert kernel_parts.plant_readings_per_s(SITE, program, 1)["watched"] == 0  # no rule reads a point


def test_a_generated_rule_is_quiet() -> None:
    share = shares(SITE, kernel_parts.program_of(kernel_parts.many_rules(40), SITE), 72)[0]
    assert [out for _ in range(8) for out in share.engine.step(share.next_second())] == []


def test_more_gpus_than_the_site_has_are_its_units_over_again() -> None:
    found = shares(SITE, kernel_parts.program_of(RULES, SITE), 700)
    assert [share.engine.unit.id for share in found] == ["row-a", "row-b", "row-a"]
    assert sum(share.gpus for share in found) == 720
    assert folder_for(FOLDER, 500) == FOLDER
    assert folder_for(FOLDER, 15_000).name == "narvik-full"
