"""Parquet, long tables, Prometheus' and InfluxDB's forms: by files that other software has written."""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine.inputs import Frame, Gap, Input, Readings
from rules.errors import ConfigurationError
from rules.gpu_fields import FIELD_INDEX
from rules.quality import Quality
from streams.importing.map_file import load_map
from streams.importing.remote_read import crc32c, message_class
from streams.importing.report import ImportReport
from streams.importing.row_store import RowStore
from streams.importing.rows import Row
from streams.importing.run import import_recording
from streams.importing.xor_chunk import read_xor
from streams.recording.recording import Recording
from streams.wire import decode_input

PROMETHEUS = Path(__file__).parent / "prometheus"
T0 = 1_767_225_600_000_000_000  # 2026-01-01
S = 1_000_000_000
SITE = """
name: formats
tick: 1 s
sources:
  log: {kind: file, period: 10 s, lateness: 1 h, clock_tolerance: 1 min}
  gpus: {kind: file, period: 10 s, lateness: 1 h, clock_tolerance: 1 min, assets: [DGX-1, DGX-2]}
templates:
  host:
    type: Tray
    contains: {"-G[1..2]": {type: GPU}}
units:
  hall:
    assets:
      CDU-A:
        type: CDU
        points:
          LiquidTemperature: {range: -50..100 degC, source: log}
          LiquidFlow: {range: 0..1000 L/min, source: log}
      P-1:
        type: Pump
        points:
          PumpSpeed: {range: 0..100 %, source: log}
      DGX-1: host
      DGX-2: host
"""


def run(tmp_path: Path, map_text: str, *files: tuple[str, bytes] | Path) -> tuple[ImportReport, list[Input]]:
    """The report and the inputs of an import of files given by path, or by name and content."""
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "site.yaml").write_text(SITE)
    (tmp_path / "map.yaml").write_text("site: site\n" + map_text)
    paths = []
    for one in files:
        path = one if isinstance(one, Path) else tmp_path / one[0]
        if not isinstance(one, Path):
            path.write_bytes(one[1])
        paths.append(path)
    told: list[int] = []
    report = import_recording(paths, tmp_path / "map.yaml", tmp_path / "out.mcap", told.append)
    assert sum(told) == sum(path.stat().st_size for path in paths)
    records = Recording(tmp_path / "out.mcap").records()
    return report, [decode_input(one.key, one.headers, one.value) for one in records]


def readings(inputs: list[Input]) -> dict[tuple[str, int], float]:
    return {
        (point, int(time)): float(value)
        for one in inputs
        if isinstance(one, Readings)
        for point, time, value in zip(one.points, one.time_ns, one.values, strict=True)
    }


def fields(inputs: list[Input], name: str) -> dict[tuple[str, int, int], float]:
    """By host, GPU and time."""
    return {
        (one.asset, int(gpu), int(time)): float(one.values[sample, lane, FIELD_INDEX[name]])
        for one in inputs
        if isinstance(one, Frame)
        for sample, time in enumerate(one.time_ns)
        for lane, gpu in enumerate(one.gpu)
    }


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


# Prometheus

PROMETHEUS_MAP = """
format: FORMAT
series: {label: Hostname, names: {dgx-1: DGX-1, dgx-2: DGX-2}}
labels: {gpu: {"0": -G1, "1": -G2}}
columns:
  DCGM_FI_DEV_POWER_USAGE: {to: "{series}{gpu}.power_mean", unit: W}
ignored: [loop_supply_temperature_celsius]
"""
LOOP_MAP = """
format: FORMAT
columns:
  loop_supply_temperature_celsius: {to: CDU-A.LiquidTemperature, unit: degC, labels: {loop: cdu-a}}
ignored: ["DCGM_*"]
"""
FORMS = [
    ("remote-read", "samples.bin"), ("remote-read", "chunks.bin"), ("prometheus-json", "matrix.json"),
    ("prometheus", "dump.txt"), ("openmetrics", "dump.om"), ("openmetrics", "written.om"),
]  # fmt: skip


def written(metric: str) -> dict[tuple[str, str, int], float]:
    """Host, GPU and time (ns) of what Prometheus was given, read without any of our readers."""
    found = {}
    for line in (PROMETHEUS / "written.om").read_text().splitlines():
        match = re.fullmatch(
            r'(\w+)\{(?:Hostname|loop)="([^"]+)"(?:,gpu="(\d)")?\} (\S+) (\d+)\.(\d{3})', line
        )
        if match and match[1] == metric:
            at_ns = (int(match[5]) * 1000 + int(match[6])) * 1_000_000
            found[match[2], match[3] or "", at_ns] = float(match[4])
    return found


@pytest.mark.parametrize(("form", "name"), FORMS)
def test_every_form_of_prometheus_gives_what_was_written(tmp_path: Path, form: str, name: str) -> None:
    report, inputs = run(tmp_path, LOOP_MAP.replace("FORMAT", form), PROMETHEUS / name)
    loop = written("loop_supply_temperature_celsius")
    found = readings(inputs)
    assert {time for _, time in found} == {time for _, _, time in loop}
    for (_, _, time), value in loop.items():
        assert found["CDU-A.LiquidTemperature", time] == value or math.isnan(value)
    assert (report.rejected, report.not_available, report.readings) == (0, 1, len(loop) - 1)
    assert report.left_out == {"DCGM_FI_DEV_POWER_USAGE": len(written("DCGM_FI_DEV_POWER_USAGE"))}


@pytest.mark.parametrize(("form", "name"), FORMS)
def test_labels_lead_to_gpus_of_hosts(tmp_path: Path, form: str, name: str) -> None:
    text = PROMETHEUS_MAP.replace("FORMAT", form)
    report, inputs = run(tmp_path, text, PROMETHEUS / name)
    power = written("DCGM_FI_DEV_POWER_USAGE")
    found = fields(inputs, "power_mean")
    assert len(found) == len(power)
    for (host, gpu, time), value in power.items():
        assert found[host.upper(), int(gpu), time] == pytest.approx(value, nan_ok=True, rel=1e-6)
    assert (report.rejected, report.duplicates, report.out_of_order, report.silent) == (0, 0, 0, [])
    assert report.not_available == 4
    assert report.rows == len({(host, time) for host, _, time in power})


def test_a_gpu_of_which_a_scrape_says_nothing_is_not_in_its_frame(tmp_path: Path) -> None:
    text = 'DCGM{h="a",gpu="0"} 1 1767225600000\nDCGM{h="a",gpu="1"} 2 1767225600000\n'
    text += 'DCGM{h="a",gpu="1"} 3 1767225610000\n'
    map_text = """
format: prometheus
series: {label: h, names: {a: DGX-1}}
labels: {gpu: {"0": -G1, "1": -G2}}
columns:
  DCGM: {to: "{series}{gpu}.power_mean", unit: W}
"""
    _, inputs = run(tmp_path, map_text, ("a.prom", text.encode()))
    frames = [one for one in inputs if isinstance(one, Frame)]
    assert [one.gpu.tolist() for one in frames] == [[0, 1], [1]]
    assert all((one.quality == Quality.GOOD).all() for one in frames)


def test_what_the_map_does_not_know_and_what_never_came_is_said(tmp_path: Path) -> None:
    text = LOOP_MAP.replace("FORMAT", "remote-read").replace('["DCGM_*"]', "[]").replace("cdu-a", "cdu-b")
    report, _ = run(tmp_path, text, PROMETHEUS / "samples.bin")
    assert report.silent == ["CDU-A.LiquidTemperature"]
    assert report.rejected == report.rejected_rows == 5
    assert 'DCGM_FI_DEV_POWER_USAGE{Hostname="dgx-1",gpu="0"}: neither mapped nor ignored' in {
        one.reason for one in report.rejections
    }


@pytest.mark.parametrize(
    ("form", "data", "part"),
    [
        ("remote-read", b"no snappy", "neither a snappy-compressed"),
        ("remote-read", b"\x05\x10\xff\xff\xff\xff\xff", "no ReadResponse"),
        ("remote-read", b"\xff\xff\xff\xff\x0f" + b"a" * 90, "neither a snappy-compressed"),
        ("remote-read", b"", "neither a snappy-compressed"),
        ("prometheus-json", b"[]", "no answer of Prometheus"),
        ("prometheus-json", b'{"status":"error","error":"query timed out","data":{}}', "'query timed out'"),
        (
            "prometheus-json",
            b'{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}',
            "'scalar'",
        ),
        ("parquet", b"PAR1 and nothing else", "can't be read"),
    ],
)
def test_a_file_that_is_not_of_its_format_is_a_finding(
    tmp_path: Path, form: str, data: bytes, part: str
) -> None:
    text = LOOP_MAP.replace("FORMAT", form)
    text += "time: {column: t}\nlong: {name: n, value: v}\n" if form == "parquet" else ""
    with pytest.raises(ConfigurationError, match=re.escape(part)):
        run(tmp_path, text, ("data", data))
    assert not (tmp_path / "out.mcap").exists()


def test_a_stream_of_chunks_is_read_up_to_where_it_is_broken(tmp_path: Path) -> None:
    data = bytearray((PROMETHEUS / "chunks.bin").read_bytes())
    data[-3] ^= 1
    text = LOOP_MAP.replace("FORMAT", "remote-read")
    report, _ = run(tmp_path, text, ("broken", bytes(data)))
    assert [one.reason.partition(": ")[2] for one in report.rejections] == [
        "the checksum of a frame is wrong; what follows can't be read"
    ]
    assert report.left_out["DCGM_FI_DEV_POWER_USAGE"] > 0


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C (RFC 3720)


def test_histograms_and_odd_pairs_are_rejected_by_series(tmp_path: Path) -> None:
    name = {"__name__": "loop_supply_temperature_celsius", "loop": "cdu-a"}
    result = [
        {"metric": name, "values": [[1767225600, "1.5"], [1767225610], "x", [1767225620, "+Inf"]]},
        {"metric": name | {"__name__": "DCGM_x"}, "histograms": [[1767225600, {"count": "1"}]]},
        {"value": [1, "2"]},
    ]
    answer = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    text = LOOP_MAP.replace("FORMAT", "prometheus-json")
    report, inputs = run(tmp_path, text, ("a.json", orjson.dumps(answer)))
    assert readings(inputs)["CDU-A.LiquidTemperature", T0] == 1.5
    assert (report.readings, report.not_available) == (1, 1)
    assert sorted((one.line, one.reason.partition(":")[0]) for one in report.rejections) == [
        (1, "'[1767225610]' is no time with a value"),
        (1, "'x' is no time with a value"),
        (2, "native histograms are not read"),
        (3, "no series"),
    ]


# InfluxDB: lines as influxdb-client 1.50.0 for Python wrote them (Point(…).to_line_protocol())

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


# Tables

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


# What our own parsers do with anything at all


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_chunk_crashes_its_reader(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert len(list(read_xor(data))) <= 65_535


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["samples.bin", "chunks.bin", "matrix.json", "dump.txt", "dump.om"]), st.data())
def test_no_damage_crashes_an_import(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    form = {one: form for form, one in FORMS}[name]
    content = bytearray((PROMETHEUS / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(ConfigurationError):
        run(
            tmp_path_factory.mktemp("damage"),
            PROMETHEUS_MAP.replace("FORMAT", form),
            ("data", bytes(content)),
        )


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300) | st.lists(st.sampled_from(LINES.splitlines()), max_size=5).map("\n".join))
@pytest.mark.parametrize("form", ["influx", "prometheus", "openmetrics"])
def test_no_text_crashes_an_import(tmp_path_factory: pytest.TempPathFactory, form: str, text: str) -> None:
    map_text = INFLUX_MAP if form == "influx" else LOOP_MAP.replace("FORMAT", form)
    run(tmp_path_factory.mktemp("text"), map_text, ("data", text.encode("utf-8", "replace")))


_value = st.none() | st.floats(allow_nan=False)
_row = st.builds(
    lambda time, cells, status: Row(
        time, "ab"[len(cells) % 2], tuple(cells), tuple(cells.values()), (7,) * len(cells) if status else ()
    ),
    st.integers(0, 1 << 62), st.dictionaries(st.integers(0, 9), _value, max_size=4), st.booleans(),
)  # fmt: skip


@given(st.lists(_row, max_size=30), st.booleans())
def test_rows_come_back_sorted_as_they_were(rows: list[Row], newest_first: bool) -> None:
    store = RowStore()
    for row in rows:
        store.add(row)
    given_order = rows[::-1] if newest_first else rows
    assert list(store.sorted(newest_first)) == sorted(given_order, key=lambda row: row.time_ns)


def test_messages_are_what_prometheus_writes() -> None:
    """The field numbers, by a message that their encoder wrote."""
    from cramjam import snappy

    answer = message_class("ReadResponse")()
    answer.ParseFromString(bytes(snappy.decompress_raw((PROMETHEUS / "samples.bin").read_bytes())))
    (result,) = answer.results
    assert len(result.timeseries) == 5
    assert answer.SerializeToString() == bytes(
        snappy.decompress_raw((PROMETHEUS / "samples.bin").read_bytes())
    )
