"""Maps: those of the examples, and labels where nothing carries one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules.errors import ConfigurationError
from streams.importing.map_file import load_map
from tests.streams.importing.formats import run

MAPS = sorted((Path(__file__).parents[3] / "examples" / "maps").glob("*.yaml"))


@pytest.mark.parametrize("path", MAPS, ids=lambda path: path.stem)
def test_every_map_of_the_examples_can_be_used(path: Path) -> None:
    assert load_map(path).columns


@pytest.mark.parametrize("kind", ["csv", "parquet", "opcua"])
def test_labels_where_no_value_carries_one_are_refused(tmp_path: Path, kind: str) -> None:
    """They would give one column's values to every GPU."""
    map_text = f"""
format: {kind}
labels: {{gpu: {{"0": -G1, "1": -G2}}}}
columns:
  power: {{to: "DGX-1{{gpu}}.power_mean", unit: W}}
  flow: {{to: CDU-A.LiquidFlow, unit: L/min, labels: {{loop: a}}}}
"""
    map_text += "series: {file: true, names: {a: DGX-1}}\n" if kind == "opcua" else "time: {column: t}\n"
    with pytest.raises(ConfigurationError) as raised:
        run(tmp_path, map_text)
    said = [one.message for one in raised.value.findings]
    expected = ["'labels' is of samples and long tables"] * 2
    assert said == expected + ["a historian has no series"] * (kind == "opcua")
