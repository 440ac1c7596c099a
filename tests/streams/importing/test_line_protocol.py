"""InfluxDB: lines as influxdb-client 1.50.0 for Python wrote them (Point(…).to_line_protocol())."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.streams.importing.formats import T0, S, readings, run

LINES = (
    'pump\\,\\ main,side\\=x=left\\,1,unit=hall\\ a n=3i,note="he said \\"a\\\\b\\", ok",on=true,speed\\ rpm=90.5 '
    "1767225600000000000\n"
    "loop,cdu=CDU-A flow=12.25,temp=17i 1767225600000000000\n"
    "loop,cdu=CDU-Å flow=1e+22,temp=-3.5e-07 1767225600000000005\n"
)
INFLUX_MAP = """
format: influx
columns:
  "pump, main.speed rpm": {to: P-1.PumpSpeed, unit: percent, labels: {side=x: "left,1"}}
  loop.flow: {to: CDU-A.LiquidFlow, unit: L/min, labels: {cdu: CDU-A}}
  loop.temp: {to: CDU-A.LiquidTemperature, unit: degC}
ignored: ["pump, main.*", loop.flow]
"""


def test_line_protocol_with_its_escapes(tmp_path: Path) -> None:
    report, inputs = run(tmp_path, INFLUX_MAP, ("a.lp", LINES.encode()))
    assert readings(inputs) == {
        ("P-1.PumpSpeed", T0): 90.5,
        ("CDU-A.LiquidFlow", T0): 12.25,
        ("CDU-A.LiquidTemperature", T0): 17.0,
        ("CDU-A.LiquidTemperature", T0 + 5): -3.5e-07,
    }
    assert report.left_out == {"pump, main.n": 1, "pump, main.note": 1, "pump, main.on": 1, "loop.flow": 1}
    assert report.rejected == 0


def test_lines_come_in_any_order_and_in_another_unit_and_bad_ones_are_named(tmp_path: Path) -> None:
    text = (
        "# a comment\n\nloop,cdu=CDU-A temp=2 1767225602000\nloop,cdu=CDU-A temp=1 1767225601000\n"
        'loop,cdu=CDU-A temp=\nloop,cdu=CDU-A temp=3\nloop,cdu=CDU-A temp="x" 1767225603000\n'
        "loop,cdu=CDU-A heat=1 1767225603000\nloop,cdu=CDU-A temp=NaN 1767225603000\n"
    )
    report, inputs = run(tmp_path, INFLUX_MAP + "time: {format: unix ms}\n", ("a.lp", text.encode()))
    assert list(readings(inputs)) == [
        ("CDU-A.LiquidTemperature", T0 + S),
        ("CDU-A.LiquidTemperature", T0 + 2 * S),
    ]
    assert [(one.line, one.column) for one in report.rejections] == [
        (5, ""), (6, ""), (7, "loop.temp"), (8, "loop.heat"), (9, ""),
    ]  # fmt: skip
    assert (report.blank, report.out_of_order) == (1, 0)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300) | st.lists(st.sampled_from(LINES.splitlines()), max_size=5).map("\n".join))
def test_no_text_crashes_an_import(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    run(tmp_path_factory.mktemp("text"), INFLUX_MAP, ("data", text.encode("utf-8", "replace")))
