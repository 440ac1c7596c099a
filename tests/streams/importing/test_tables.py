"""Long tables and Parquet."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rules.engine.inputs import Gap, Readings
from rules.errors import ConfigurationError
from rules.quality import Quality
from streams.importing.parquet import open_parquet, values_of
from tests.streams.importing.formats import T0, S, fields, readings, run

LONG_MAP = """
format: csv
time: {column: when}
order: any
not_available: [N/A]
long: {name: tag, value: val}
columns:
  "F-101": {to: CDU-A.LiquidFlow, unit: m^3/h}
  "T-101": {to: CDU-A.LiquidTemperature, unit: degC}
ignored: ["X-*", note]
"""


def test_a_long_table_is_rows_of_one_time_put_together(tmp_path: Path) -> None:
    text = (
        "when,tag,val,note\n2026-01-01T00:00:10Z,F-101,6,\n2026-01-01T00:00:10Z,T-101,20,\n"
        "2026-01-01T00:00:00Z,F-101,N/A,\n2026-01-01T00:00:00Z,X-1,5,\n2026-01-01T00:00:00Z,T-102,5,\n"
        "2026-01-01T00:00:20Z,T-101,hot,\n2026-01-01T00:00:10Z,T-101,21,\n"
    )
    report, inputs = run(tmp_path, LONG_MAP, ("a.csv", text.encode()))
    found = readings(inputs)
    assert found["CDU-A.LiquidFlow", T0 + 10 * S] == pytest.approx(100.0)
    assert math.isnan(found["CDU-A.LiquidFlow", T0])
    assert (report.rows, report.readings, report.not_available) == (4, 3, 1)
    assert (report.duplicates, report.conflicting) == (1, 1)
    assert [(one.line, one.column, one.reason) for one in report.rejections] == [
        (6, "T-102", "neither mapped nor ignored"),
        (7, "T-101", "'hot' is no number"),
    ]
    assert report.left_out == {"X-1": 1, "note": 7}


def test_a_source_that_says_nothing_is_a_gap_though_another_goes_on(tmp_path: Path) -> None:
    map_text = """
format: csv
time: {column: t}
max_gap: 30 s
long: {name: n, value: v}
columns:
  flow: {to: CDU-A.LiquidFlow, unit: L/min}
  power: {to: DGX-1-G1.power_mean, unit: W}
"""
    rows = [f"2026-01-01 00:0{s // 60}:{s % 60:02},flow,1" for s in range(0, 120, 10)]
    rows += ["2026-01-01 00:00:00,power,1", "2026-01-01 00:01:50,power,1"]
    text = "t,n,v\n" + "\n".join(sorted(rows))
    report, inputs = run(tmp_path, map_text, ("a.csv", text.encode()))
    assert [(one.identity.source, one.to_ns - one.from_ns) for one in inputs if isinstance(one, Gap)] == [
        ("gpus", 110 * S)
    ]
    assert [gap.to_ns - gap.from_ns for gap in report.gaps] == [110 * S]


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_gives_what_the_same_csv_gives(tmp_path: Path) -> None:
    map_text = """
format: FORMAT
time: {column: t, zone: Europe/Oslo}
columns:
  flow: {to: CDU-A.LiquidFlow, unit: m^3/h}
  temp: {to: CDU-A.LiquidTemperature, unit: degF}
ignored: [note]
"""
    times = np.arange("2026-03-29T00:00", "2026-03-29T02:00", 7, dtype="datetime64[m]").astype(
        "datetime64[ms]"
    )
    flow, temp = np.arange(len(times)) * 1.25, [None if n % 5 == 0 else float(n) for n in range(len(times))]
    text = "t,flow,temp,note\n" + "".join(
        f"{time},{one!r},{'' if two is None else two},x\n"
        for time, one, two in zip(times.tolist(), flow.tolist(), temp, strict=True)
    )
    report, inputs = run(tmp_path, map_text.replace("FORMAT", "csv"), ("a.csv", text.encode()))
    file = parquet(tmp_path / "a.parquet", t=times, flow=flow, temp=temp, note=["x"] * len(times))
    same_report, same = run(tmp_path, map_text.replace("FORMAT", "parquet"), file)
    assert repr(same) == repr(inputs)
    one, other = report.as_dict(), same_report.as_dict()
    assert one | {"files": 0} == other | {"files": 0}


@pytest.mark.parametrize(
    ("times", "form"),
    [
        (pa.array([T0, T0 + S, None], pa.timestamp("ns", "Europe/Oslo")), "iso"),
        (pa.array([T0 // 1000, T0 // 1000 + 10**6, None], pa.timestamp("us")), "iso"),
        (pa.array([T0 // S, T0 // S + 1, None], pa.int64()), "unix s"),
        (pa.array(["2026-01-01T00:00:00Z", "2026-01-01 00:00:01", "soon"]), "iso"),
    ],
)
def test_times_of_parquet(tmp_path: Path, times: Any, form: str) -> None:
    map_text = f"""
format: parquet
time: {{column: t, format: {form}}}
columns:
  flow: {{to: CDU-A.LiquidFlow, unit: L/min}}
"""
    file = parquet(tmp_path / "a.parquet", t=times, flow=pa.array(["1.5", "inf", "3"]))
    report, inputs = run(tmp_path, map_text, file)
    assert readings(inputs) == {("CDU-A.LiquidFlow", T0): 1.5}
    assert sorted((one.line, one.column) for one in report.rejections) == [(2, "flow"), (3, "")]


def test_long_parquet_with_series(tmp_path: Path) -> None:
    map_text = """
format: parquet
time: {column: t}
long: {name: field, value: v}
series: {column: host, names: {a: DGX-1, b: DGX-2}}
labels: {gpu: {"0": -G1}}
columns:
  power: {to: "{series}{gpu}.power_mean", unit: kW}
"""
    table = {
        "t": pa.array([T0, T0, T0 + 10 * S, T0 + 20 * S], pa.timestamp("ns")), "field": ["power"] * 4,
        "host": ["a", "b", "a", "c"], "gpu": [0, 0, 0, 0], "v": pa.array([0.5, 0.25, math.inf, 1.0], pa.float32()),
    }  # fmt: skip
    report, inputs = run(tmp_path, map_text, parquet(tmp_path / "a.parquet", **table))
    found = fields(inputs, "power_mean")
    assert (found["DGX-1", 0, T0], found["DGX-2", 0, T0]) == (500.0, 250.0)
    assert [(one.line, one.reason) for one in report.rejections] == [
        (4, "'c' is no series of the map"),
        (3, "'inf' is no number"),
    ]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_value_is_judged_only_where_its_row_stands(tmp_path: Path, form: str) -> None:
    map_text = f"""
format: {form}
time: {{column: t}}
long: {{name: n, value: v}}
columns:
  flow: {{to: CDU-A.LiquidFlow, unit: L/min}}
ignored: ["X-*"]
"""
    rows = [
        ("2026-01-01T00:00:00Z", "flow", "1"), ("2026-01-01T00:00:10Z", "X-1", "open"),
        ("2026-01-01T00:00:20Z", "Y-1", "shut"), ("soon", "flow", "high"), ("2026-01-01T00:00:30Z", "flow", "low"),
    ]  # fmt: skip
    if form == "csv":
        text = "\n".join(",".join(row) for row in (("t", "n", "v"), *rows))
        report, inputs = run(tmp_path, map_text, ("a.csv", text.encode()))
    else:
        times, names, values = (list(column) for column in zip(*rows, strict=True))
        report, inputs = run(tmp_path, map_text, parquet(tmp_path / "a.parquet", t=times, n=names, v=values))
    assert readings(inputs) == {("CDU-A.LiquidFlow", T0): 1.0}
    assert sorted(one.reason for one in report.rejections) == [
        "'low' is no number",
        "'soon' is no time of the form 'iso'",
        "neither mapped nor ignored",
    ]
    assert report.left_out == {"X-1": 1}


def not_utf8(column: Any) -> Any:
    """The same, its first character made a byte that no text of UTF-8 begins with."""
    bad = [None if one is None else b"\xde" + one[1:].encode() for one in column.to_pylist()]
    return pa.array(bad, pa.binary()).view(pa.string())


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (pa.array([T0 // 10**6, 1 << 62], pa.timestamp("ms")), "not between 1970"),
        (pa.chunked_array([pa.array(["2026-01-01"]), not_utf8(pa.array(["2026-01-01"]))]), "'utf-8' codec"),
        (pa.array([20_454, 100_000_000], pa.date32()), "date value out of range"),
    ],
)
def test_a_time_of_parquet_that_is_none_costs_its_row_alone(tmp_path: Path, times: Any, reason: str) -> None:
    map_text = """
format: parquet
time: {column: t, zone: Europe/Oslo}
columns:
  flow: {to: CDU-A.LiquidFlow, unit: L/min}
"""
    report, inputs = run(tmp_path, map_text, parquet(tmp_path / "a.parquet", t=times, flow=[1.0, 2.0]))
    assert list(readings(inputs).values()) == [1.0]
    (rejected,) = report.rejections
    assert rejected.line == 2
    assert reason in rejected.reason


def test_bytes_that_are_no_text_cost_the_cells_that_hold_them(tmp_path: Path) -> None:
    map_text = """
format: parquet
time: {column: t}
columns:
  flow: {to: CDU-A.LiquidFlow, unit: L/min}
"""
    times = pa.array([T0, T0 + S], pa.timestamp("ns", "UTC"))
    flow = pa.chunked_array([pa.array(["1.5"]), not_utf8(pa.array(["2.5"]))])
    report, inputs = run(tmp_path, map_text, parquet(tmp_path / "a.parquet", t=times, flow=flow))
    assert readings(inputs) == {("CDU-A.LiquidFlow", T0): 1.5}
    assert [(one.line, one.column) for one in report.rejections] == [(2, "flow")]
    named = parquet(tmp_path / "b.parquet", time=times, flow=[1.0, 2.0])
    named.write_bytes(named.read_bytes().replace(b"flow", b"\x80low"))
    with pytest.raises(ConfigurationError, match="can't be read: 'utf-8' codec"):
        run(tmp_path, map_text, named)


def test_local_times_of_parquet_keep_their_nanoseconds(tmp_path: Path) -> None:
    map_text = """
format: parquet
time: {column: t, zone: Europe/Oslo}
columns:
  flow: {to: CDU-A.LiquidFlow, unit: L/min}
"""
    times = pa.array([T0 + 1, T0 + S + 123_456_789], pa.timestamp("ns"))
    _, inputs = run(tmp_path, map_text, parquet(tmp_path / "a.parquet", t=times, flow=[1.0, 2.0]))
    utc_ns = T0 - 3600 * S
    assert [time for _, time in readings(inputs)] == [utc_ns + 1, utc_ns + S + 123_456_789]


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("shape", ["wide", "long"])
def test_a_column_says_which_values_are_good(tmp_path: Path, form: str, shape: str) -> None:
    map_text = f"""
format: {form}
time: {{column: t}}
quality: {{column: q, good: [Good, 192]}}
columns:
  flow: {{to: CDU-A.LiquidFlow, unit: L/min}}
"""
    names = {"wide": ["t", "flow", "q"], "long": ["t", "v", "q", "n"]}[shape]
    map_text += "long: {name: n, value: v}\n" if shape == "long" else ""
    rows = [
        (f"2026-01-01T00:00:0{n}Z", float(n), quality, "flow")[: len(names)]
        for n, quality in enumerate(("Good", "192", "Bad", ""))
    ]
    if form == "csv":
        text = "\n".join(",".join(map(str, row)) for row in (names, *rows))
        report, inputs = run(tmp_path, map_text, ("a.csv", text.encode()))
    else:
        table = {name: [row[index] for row in rows] for index, name in enumerate(names)}
        report, inputs = run(tmp_path, map_text, parquet(tmp_path / "a.parquet", **table))
    found = [
        (float(value), Quality(quality), int(status))
        for one in inputs
        if isinstance(one, Readings)
        for value, quality, status in zip(one.values, one.quality, one.status, strict=True)
    ]
    good, bad = (Quality.GOOD, 0), (Quality.BAD, 0x80000000)
    assert found == [(0.0, *good), (1.0, *good), (2.0, *bad), (3.0, *bad)]
    assert (report.readings, report.not_good) == (4, 2)


def test_an_hour_that_comes_twice_is_told_across_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.importing.parquet.BATCH_ROWS", 2)
    map_text = """
format: parquet
time: {column: t, zone: Europe/Oslo}
columns:
  flow: {to: CDU-A.LiquidFlow, unit: L/min}
"""
    hours = ["01:00", "02:00", "02:30", "02:00", "02:30", "03:00"]
    times = pa.array(np.array([f"2026-10-25T{hour}" for hour in hours], "datetime64[us]"))
    _, inputs = run(tmp_path, map_text, parquet(tmp_path / "a.parquet", t=times, flow=[1.0] * 6))
    found = [time // (1800 * S) for _, time in readings(inputs)]
    assert [one - found[0] for one in found] == [0, 2, 3, 4, 5, 6]


def test_columns_of_parquet_that_can_not_be_read_are_findings(tmp_path: Path) -> None:
    map_text = """
format: parquet
time: {column: t}
columns:
  flow: {to: CDU-A.LiquidFlow, unit: L/min}
"""
    file = parquet(tmp_path / "a.parquet", t=pa.array([1]), flow=pa.array([[1.0]]), more=pa.array([1]))
    with pytest.raises(ConfigurationError) as raised:
        run(tmp_path, map_text, file)
    assert "the column 'more' is not in" in str(raised.value)
    with pytest.raises(ConfigurationError) as raised:
        run(tmp_path, map_text + "ignored: [more]\n", file)
    assert "'flow' is of type list" in str(raised.value)
    assert "'t' has whole numbers" in str(raised.value)


def test_bytes_of_parquet_are_no_values(tmp_path: Path) -> None:
    map_text = """
format: parquet
time: {column: t}
columns:
  flow: {to: CDU-A.LiquidFlow, unit: L/min}
"""
    for kind in (pa.binary(), pa.binary(1)):
        with pytest.raises(ConfigurationError, match="the column 'flow' is of type"):
            run(
                tmp_path,
                map_text,
                parquet(tmp_path / "a.parquet", t=["2026-01-01"], flow=pa.array([b"1"], kind)),
            )


def test_a_text_that_parquet_has_once_is_once_in_the_memory(tmp_path: Path) -> None:
    same, longer = "a" * 9000, "b" * 10_001
    file = parquet(tmp_path / "a.parquet", n=[same, same, longer, None, same])
    (batch,) = open_parquet(file).iter_batches()
    found = values_of(batch.column(0))
    assert found == [same, same, "longer than 10,000 bytes", None, same]
    assert found[0] is found[1] is found[4]


def test_a_long_text_of_parquet_is_rejected_with_its_row_alone(tmp_path: Path) -> None:
    map_text = """
format: parquet
time: {column: t}
columns:
  flow: {to: CDU-A.LiquidFlow, unit: L/min}
"""
    times = [f"2026-01-01T00:00:0{n}Z" for n in range(3)]
    file = parquet(tmp_path / "a.parquet", t=times, flow=["1", "1" * 20_000, "3"])
    report, inputs = run(tmp_path, map_text, file)
    assert list(readings(inputs).values()) == [1.0, 3.0]
    assert [(one.line, one.column, one.reason) for one in report.rejections] == [
        (2, "flow", "'longer than 10,000 bytes' is no number")
    ]
