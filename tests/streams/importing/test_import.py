from __future__ import annotations

import itertools
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.cli.main import run_app
from rules.engine.inputs import Activation, Frame, Gap, Input, Readings, Tick
from rules.errors import ConfigurationError
from rules.quality import Quality
from streams.importing.report import ImportReport
from streams.importing.run import import_recording
from streams.importing.times import TimeReader
from streams.recording.recording import Recording
from streams.replay.replay import replay
from streams.replay.rules import choose_site
from streams.wire import decode_input

SITE = """
name: small
tick: 10 s
rules: [rules.yaml]
sources:
  log: {{kind: file, period: 5 min, lateness: 1 h, clock_tolerance: {tolerance}}}
  gpus: {{kind: file, period: 5 min, lateness: 1 h, clock_tolerance: {tolerance}, assets: [HOST-A, HOST-B]}}
templates:
  host:
    type: Tray
    contains: {{"-G[1..2]": {{type: GPU}}}}
units:
  hall:
    assets:
      P-1:
        type: Pump
        points:
          PumpSpeed: {{range: 0..100 %, source: log}}
          LiquidTemperature: {{range: 0..100 degC, source: log}}
      HOST-A: host
      HOST-B: host
"""
RULES = """
rules:
  pump-slow:
    for: Pump
    when: PumpSpeed < 50 percent
    deadband: 5 percent
    on_delay: 7 min
    off_delay: 3 min
    severity: high
    message: "{asset}: {value:.0f} %"
  gpu-hot:
    for: GPU
    when: temperature > 80 degC
    severity: high
    message: "{asset}: {value:.0f} degC"
"""
CSV_MAP = """
site: site
format: csv
time: {column: t, zone: UTC}
order: oldest first
max_gap: 10 min
not_available: [N/A]
columns:
  speed: {to: P-1.PumpSpeed, unit: percent}
  temp: {to: P-1.LiquidTemperature, unit: degF}
ignored: [note]
"""


def folder(tmp_path: Path, text: str, tolerance: str = "1 h") -> Path:
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "site.yaml").write_text(SITE.format(tolerance=tolerance))
    (tmp_path / "site" / "rules.yaml").write_text(RULES)
    (tmp_path / "map.yaml").write_text(textwrap.dedent(text))
    return tmp_path / "map.yaml"


def run(
    tmp_path: Path, map_text: str, *texts: str, names: tuple[str, ...] = (), tolerance: str = "1 h"
) -> tuple[ImportReport, list[Input]]:
    files = []
    for number, text in enumerate(texts):
        file = tmp_path / (names[number] if names else f"data{number}.csv")
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        files.append(file)
    told: list[int] = []
    report = import_recording(
        files, folder(tmp_path, map_text, tolerance), tmp_path / "out.mcap", told.append
    )
    records = Recording(tmp_path / "out.mcap").records()
    return report, [decode_input(one.key, one.headers, one.value) for one in records]


def values(inputs: list[Input]) -> list[tuple[str, int, float]]:
    return [
        (point, int(time), float(value))
        for one in inputs
        if isinstance(one, Readings)
        for point, time, value, quality in zip(one.points, one.time_ns, one.values, one.quality, strict=True)
        if quality != Quality.MISSING
    ]


MIN = 60_000_000_000
T0 = 1_767_225_600_000_000_000  # 2026-01-01


def test_a_csv_with_everything_wrong_is_accounted_for_line_by_line(tmp_path: Path) -> None:
    report, inputs = run(
        tmp_path,
        CSV_MAP,
        "\ufefft,speed,temp,note\n"
        "2026-01-01 00:00:00,90,212,a\n"
        "2026-01-01 00:05:00,,N/A,b\n"
        "\n"
        "2026-01-01 00:10:00,fast,32,c\n"
        "yesterday,1,2,d\n"
        "2026-01-01 00:15:00,1\n"
        "2026-01-01 00:15:00,80,50,e\n"
        "2026-01-01 00:15:00,80,50,e\n"
        "2026-01-01 00:15:00,81,50,e\n"
        "2026-01-01 00:12:00,70,50,e\n"
        '2026-01-01 01:00:00,60,50,"a, quoted"\n'
        "2026-01-01 01:05:00,1_000,inf,\udcff\n",
    )
    assert [(one.line, one.column) for one in report.rejections] == [
        (5, "speed"), (6, ""), (7, ""), (13, "speed"), (13, "temp"),
    ]  # fmt: skip
    assert "'fast' is no number" in report.rejections[0].reason
    assert "no time of the form 'iso'" in report.rejections[1].reason
    assert "2 cells, the head has 4" in report.rejections[2].reason
    counted = (report.rows, report.readings, report.not_available, report.blank, report.rejected)
    assert counted == (9, 13, 2, 1, 5)
    assert (report.duplicates, report.conflicting, report.out_of_order) == (2, 1, 1)
    assert report.left_out == {"note": 9}
    assert [(gap.from_ns - T0, gap.to_ns - T0) for gap in report.gaps] == [(15 * MIN, 60 * MIN)]
    found = values(inputs)
    assert len(found) == report.readings
    assert found[:3] == [
        ("P-1.PumpSpeed", T0, 90.0),
        ("P-1.LiquidTemperature", T0, pytest.approx(100.0)),
        ("P-1.LiquidTemperature", T0 + 10 * MIN, pytest.approx(0.0)),
    ]
    gaps = [one for one in inputs if isinstance(one, Gap)]
    assert [(gap.reason, gap.from_ns - T0, gap.to_ns - T0) for gap in gaps] == [
        ("not-recorded", 15 * MIN, 60 * MIN)
    ]
    assert gaps[0].readings == 2 * 8


def test_where_the_site_names_a_root_key_nobody_activates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rules are those that the recording carries; an activation that nobody has signed would be refused."""
    rows = "t,speed,temp,note\n2026-01-01 00:00:00,1,50,\n"
    monkeypatch.setitem(globals(), "SITE", f"{SITE}\naccess:\n  root_key: {'5f' * 32}\n")
    _, inputs = run(tmp_path, CSV_MAP, rows)
    assert [type(one) for one in inputs] == [Tick, Readings, Tick]


def test_the_log_is_in_order_and_its_sequences_have_no_holes(tmp_path: Path) -> None:
    rows = "".join(
        f"2026-01-01 {minute // 60:02}:{minute % 60:02}:13.5,{minute},50,\n" for minute in range(0, 600, 5)
    )
    _, inputs = run(tmp_path, CSV_MAP, "t,speed,temp,note\n" + rows)
    assert isinstance(inputs[0], Tick)
    assert isinstance(inputs[1], Activation)
    ticks = [one.time_ns for one in inputs if isinstance(one, Tick)]
    assert ticks == sorted(set(ticks))
    assert all(tick % (10 * 10**9) == 0 for tick in ticks)
    sequences = [one.identity.sequence for one in inputs if isinstance(one, Readings)]
    assert sequences == list(range(1, len(sequences) + 1))
    assert len(sequences) < 20  # rows of one hour share an input
    now = 0
    for one in inputs:
        if isinstance(one, Tick):
            now = one.time_ns
        elif isinstance(one, Readings):
            assert (one.time_ns >= now).all()
            assert (one.time_ns - now < 3600 * 10**9).all()
            assert one.ingest_ns == one.time_ns.max()
    assert ticks[-1] > max(int(one.time_ns.max()) for one in inputs if isinstance(one, Readings))


def test_newest_first_and_any_order_give_the_same_log(tmp_path: Path) -> None:
    rows = [f"2026-01-01 00:{minute:02}:00,{minute},50,\n" for minute in range(0, 60, 5)]
    head = "t,speed,temp,note\n"
    run(tmp_path, CSV_MAP, head + "".join(rows))
    expected = list(Recording(tmp_path / "out.mcap").records())
    for order, shuffled in (("newest first", rows[::-1]), ("any", rows[1::2] + rows[::2])):
        report, _ = run(tmp_path, CSV_MAP.replace("oldest first", order), head + "".join(shuffled))
        assert list(Recording(tmp_path / "out.mcap").records()) == expected
        assert report.out_of_order == 0


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    text = "t,speed,temp,note\n2026-01-01 00:00:00,90,212,a\n2026-01-01 00:05:00,91,212,a\n"
    run(tmp_path, CSV_MAP, text)
    first = (tmp_path / "out.mcap").read_bytes()
    run(tmp_path, CSV_MAP, text)
    assert (tmp_path / "out.mcap").read_bytes() == first


TSV_MAP = """
site: site
format: tsv
time: {column: when, format: "%d.%m.%Y %H:%M", zone: Europe/Oslo}
order: newest first
decimal: ","
max_gap: 2 h
series: {column: host, names: {a: HOST-A, b: HOST-B}}
columns:
  power: {to: "{series}-G1.power_mean", unit: kW}
  temp: {to: "{series}-G2.temperature", unit: degC}
"""


def test_gpu_columns_become_frames_and_local_time_is_read_by_the_direction_of_the_file(
    tmp_path: Path,
) -> None:
    lines = ["25.10.2026 03:00", "25.10.2026 02:00", "25.10.2026 02:00", "25.10.2026 01:00"]
    text = "host\twhen\tpower\ttemp\n" + "".join(f"a\t{when}\t0,7\t40\n" for when in lines)
    text += "c\t24.10.2026 12:00\t1\t2\na\t29.03.2026 02:30\t1\t2\n"
    report, inputs = run(tmp_path, TSV_MAP, text)
    frames = [one for one in inputs if isinstance(one, Frame)]
    hours = [int(time) // (3600 * 10**9) for frame in frames for time in frame.time_ns]
    assert [hour - hours[0] for hour in hours] == [0, 1, 2, 3]
    assert [one.reason for one in report.rejections] == [
        "'c' is no series of the map",
        "2026-03-29 02:30:00 does not exist in Europe/Oslo",
    ]
    assert frames[0].asset == "HOST-A"
    assert frames[0].gpu.tolist() == [0, 1]
    assert frames[0].values[0, 0, 1] == np.float32(700.0)
    assert frames[0].values[0, 1, 3] == np.float32(40.0)
    assert np.count_nonzero(~np.isnan(frames[0].values[0])) == 2
    assert report.readings == 8


def test_two_files_are_merged_by_time(tmp_path: Path) -> None:
    texts = [
        "host\twhen\tpower\ttemp\n"
        + "".join(f"{host}\t01.06.2026 {hour:02}:00\t1\t2\n" for hour in range(9, 0, -1))
        for host in "ab"
    ]
    report, inputs = run(tmp_path, TSV_MAP, *texts)
    times = [int(time) for one in inputs if isinstance(one, Frame) for time in one.time_ns]
    assert times == sorted(times)
    assert (report.rows, report.duplicates, report.out_of_order, len(report.gaps)) == (18, 0, 0, 0)


METRICS_MAP = """
site: site
format: prometheus
time: {start: 2026-01-01T00:00:00Z, step: 1 min}
series: {label: uuid, names: {one: HOST-A, two: HOST-B}}
columns:
  gpu_temp: {to: "{series}-G1.temperature", unit: degC}
  gpu_clock_hz: {to: "{series}-G1.sm_clock", unit: Hz, labels: {kind: sm}}
ignored: [gpu_info, gpu_clock_hz]
"""


def test_exposition_text_becomes_one_row_per_series_and_snapshot(tmp_path: Path) -> None:
    first = (
        "# HELP gpu_temp temperature\n# TYPE gpu_temp gauge\n"
        'gpu_temp{uuid="one"} 41\n'
        'gpu_temp{uuid="two"} NaN\n'
        'gpu_clock_hz{uuid="one",kind="sm"} 1.98e+09\n'
        'gpu_clock_hz{uuid="one",kind="memory"} 3e+09\n'
        'gpu_info{uuid="one",name="x"} 1\n'
        'gpu_temp{uuid="one"} 42\n'
        "gpu_temp{uuid=\n"
        'gpu_temp{uuid="three"} 42\n'
        'gpu_fan{uuid="one"} 3\n'
    )
    report, inputs = run(tmp_path, METRICS_MAP, first, 'gpu_temp{uuid="one"} 43\n')
    frames = [one for one in inputs if isinstance(one, Frame)]
    found = {(frame.asset, int(frame.time_ns[0] - T0) // MIN): frame for frame in frames}
    assert set(found) == {("HOST-A", 0), ("HOST-B", 0), ("HOST-A", 1)}
    assert found["HOST-A", 0].values[0, 0, [3, 7]].tolist() == [41.0, 1980.0]
    assert found["HOST-B", 0].quality.tolist() == [[Quality.MISSING]]
    assert (report.readings, report.not_available) == (3, 3)
    assert report.left_out == {"gpu_info": 1, "gpu_clock_hz": 1}
    assert [one.line for one in report.rejections] == [8, 9, 10, 11]


def test_everything_wrong_in_a_map_is_said_at_once(tmp_path: Path) -> None:
    wrong = """
    site: site
    format: csv
    time: {column: t, zone: Europe/Olso}
    order: sideways
    colour: red
    delimiter: "||"
    columns:
      a: {to: P-1.PumpSpede, unit: percent}
      b: {to: P-1.PumpSpeed, unit: furlong}
      c: {to: P-1.LiquidTemperature, unit: kW}
      d: {to: HOST-A-G1.temprature, unit: degC}
      e: {unit: degC}
    """
    with pytest.raises(ConfigurationError) as raised:
        run(tmp_path, wrong, "t\n")
    said = "\n".join(str(one) for one in raised.value.findings)
    for part in (
        "unknown zone 'Europe/Olso'", "unknown order 'sideways'", "unknown key 'colour'",
        "a delimiter is one character",
        "did you mean 'P-1.PumpSpeed'",
        "'furlong'", "'kW' can't be converted to 'degC'", "did you mean 'temperature'", "the key 'to' is missing",
    ):  # fmt: skip
        assert part in said
    assert all(one.line > 0 for one in raised.value.findings)
    assert not (tmp_path / "out.mcap").exists()


@pytest.mark.parametrize(
    ("head", "part"),
    [
        ("t,speed\n", "no column 'temp'"),
        ("t,speed,temp,extra,note\n", "'extra' is not in"),
        ("t,speed,temp,temp,note\n", "'temp' occurs 2 times"),
        ("t,speed,temp,extra,extra,note\n", "'extra' occurs 2 times"),
        ("", "the first line is empty"),
        ("\n", "the first line is empty"),
        ("\x00\x01,t\x02,\x03", "not text of the encoding"),
    ],
)
def test_a_head_that_does_not_fit_the_map_is_a_finding(tmp_path: Path, head: str, part: str) -> None:
    (tmp_path / "out.mcap").write_bytes(b"kept")
    with pytest.raises(ConfigurationError, match=part) as raised:
        run(tmp_path, CSV_MAP, head)
    assert len(raised.value.findings) == 1
    assert (tmp_path / "out.mcap").read_bytes() == b"kept"
    assert not list(tmp_path.glob(".out*"))


ROWS = [f"2026-01-01 00:{minute:02}:00,{minute},50,note" for minute in range(0, 50, 5)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('2026-01-01 00:10:00,10,50,"note', "the quote that opens cell 4 is not closed on this line"),
        ('2026-01-01 00:10:00,"10,50,note', "the quote that opens cell 2 is not closed on this line"),
        ("2026-01-01 00:10:00,10,50," + "x" * 200_000, "field larger than field limit (131072)"),
        ("2026-01-01 00:10:00," + "x" * 3_000_000, "longer than 1,000,000 characters"),
        ("2026-01-01 00:10\0:00,10,50,note", r"'2026-01-01 00:10\x00:00' is no time of the form 'iso'"),
        ("2026-01-01 00:\udcff:00,10,50,note", r"'2026-01-01 00:\\xff:00' is no time of the form 'iso'"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_that_can_not_be_read_costs_no_other(tmp_path: Path, line: str, reason: str, end: str) -> None:
    lines = [*ROWS[:2], line, *ROWS[3:]]
    report, inputs = run(tmp_path, CSV_MAP, end.join(["t,speed,temp,note", *lines]))
    assert [(one.line, one.column, one.reason) for one in report.rejections] == [(4, "", reason)]
    assert (report.rows, report.readings, report.rejected_rows) == (9, 18, 1)
    assert len(values(inputs)) == 18


def test_a_quote_in_the_last_line_and_one_in_the_head(tmp_path: Path) -> None:
    report, _ = run(tmp_path, CSV_MAP, "\n".join(["t,speed,temp,note", *ROWS, '2026-01-01 01:00:00,1,2,"']))
    assert [one.line for one in report.rejections] == [12]
    with pytest.raises(
        ConfigurationError, match=r"data0.csv:1:0: .*the quote that opens cell 4 is not closed"
    ):
        run(tmp_path, CSV_MAP, "\n".join(['t,speed,temp,"note', *ROWS]))


def test_bytes_of_another_encoding_are_rejected_where_a_number_is_wanted(tmp_path: Path) -> None:
    report, _ = run(
        tmp_path, CSV_MAP, "t,speed,temp,note\n2026-01-01 00:00:00,1\udcff,50,\udcff\n" + "\n".join(ROWS[1:])
    )
    assert [(one.line, one.column) for one in report.rejections] == [(2, "speed")]
    assert (report.readings, report.rejected, report.rejected_rows) == (19, 1, 0)


@pytest.mark.parametrize(
    ("encoding", "data", "line"),
    [
        ("utf-8", "t,speed,temp (°C),note\n".encode("latin-1"), 1),
        ("utf-8", "t,speed,temp,note\n".encode("utf-16"), 1),
        ("utf-16", b"t,speed,temp,note\n", 1),
    ],
)
def test_a_file_of_another_encoding_is_a_finding(
    tmp_path: Path, encoding: str, data: bytes, line: int
) -> None:
    (tmp_path / "data.csv").write_bytes(data)
    map_file = folder(tmp_path, f"{CSV_MAP}encoding: {encoding}\n")
    with pytest.raises(ConfigurationError, match=f"not text of the encoding {encoding}") as raised:
        import_recording([tmp_path / "data.csv"], map_file, tmp_path / "out.mcap", lambda size: None)
    assert [finding.line for finding in raised.value.findings] == [line]


def test_progress_adds_up_to_the_size_of_the_file(tmp_path: Path) -> None:
    text = "\r\n".join(["t,speed,temp,note", *(f"{row} of °C" for row in ROWS * 500)])
    (tmp_path / "data.csv").write_bytes(text.encode())
    told: list[int] = []
    import_recording([tmp_path / "data.csv"], folder(tmp_path, CSV_MAP), tmp_path / "out.mcap", told.append)
    assert sum(told) == len(text.encode())
    assert len(told) > 2


_cell = st.sampled_from(["1", "55.5", "", "N/A", "x", " 7 ", "nan", "1e400"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), _cell, _cell), max_size=40))
def test_no_cell_and_no_row_is_lost(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("import")
    text = "t,speed,temp,note\n" + "".join(
        f"2026-01-01 {minute // 60:02}:{minute % 60:02}:00,{a},{b},\n" for minute, a, b in rows
    )
    report, inputs = run(tmp_path, CSV_MAP, text)
    assert report.rows == len(rows)
    assert report.readings + report.not_available + report.rejected == 2 * len(rows)
    delivered = sum(len(one.points) for one in inputs if isinstance(one, Readings))
    assert delivered == report.readings + report.not_available
    assert len(values(inputs)) == report.readings


def test_how_rows_are_cut_into_inputs_changes_no_alarm(tmp_path: Path) -> None:
    speeds = [90, 40, 40, 40, 90, 90, 40, 90, 40, 45, 52, 56, 90, 20, 20, 20]
    text = "t,speed,temp,note\n" + "".join(
        f"2026-01-01 {m // 60:02}:{m % 60:02}:07,{speed},50,\n"
        for m, speed in zip(itertools.count(0, 5), speeds, strict=False)
    )
    said = []
    for tolerance in ("1 h", "10 s", "17 min"):
        run(tmp_path, CSV_MAP, text, tolerance=tolerance)
        recording = Recording(tmp_path / "out.mcap")
        result = replay([recording], choose_site(recording, None, None), verify=True)
        said.append(
            sorted((a.rule, a.asset, a.raised_ns, a.cleared_ns, a.value) for a in result.alarms.values())
        )
        assert result.counter("late") == result.counter("clock_corrected") == 0
    assert said[0] == said[1] == said[2]
    assert len(said[0]) >= 2


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("iso", "2026-01-01T01:00:00+01:00", T0),
        ("iso", "2026-01-01 00:00:00.123456", T0 + 123_456_000),
        ("unix s", "1767225600.5", T0 + 500_000_000),
        ("unix ms", "1767225600001", T0 + 1_000_000),
        ("%d/%m/%y %H.%M", "01/01/26 00.00", T0),
        ("iso", "1969-12-31T23:59:59", None),
        ("unix s", "1e30", None),
        ("unix s", "1e9999999999999999999", None),
        ("unix s", "soon", None),
        ("unix s", "nan", None),
        ("iso", "9999-01-01", None),
    ],
)
def test_times(form: str, text: str, expected: int | None) -> None:
    if expected is not None:
        assert TimeReader(form).read(text) == expected
        return
    with pytest.raises(ValueError, match=r"is no |is not between|convert NaN"):
        TimeReader(form).read(text)


@pytest.mark.parametrize("text", ["1e999999", "-1e999999", "0e999999"])
def test_a_number_with_a_million_digits_is_never_written_out(text: str) -> None:
    with pytest.raises(ValueError, match="is not between"):
        TimeReader("unix ms").read(text)


def test_the_command_reports_and_a_wrong_map_ends_with_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.csv").write_text("t,speed,temp,note\n2026-01-01 00:00:00,90,50,\n")
    call = ["import", str(tmp_path / "data.csv"), "-o", str(tmp_path / "out.mcap"), "--map"]
    assert run_app([*call, str(folder(tmp_path, CSV_MAP))]) == 0
    assert "readings" in capfd.readouterr().out
    assert run_app([*call, str(folder(tmp_path, CSV_MAP.replace("max_gap", "max_gab")))]) == 2
    assert "did you mean 'max_gap'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("rows", "counts", "line"),
    [
        ("2026-01-01 00:00:00,90,x,\n", (1, 0, 1), "data.csv:2, column temp: 'x' is no number"),
        ("2026-01-01 00:00:00,90\n" * 2, (0, 2, 0), "data.csv:2: 2 cells, the head has 4"),
    ],
)
def test_the_command_ends_with_1_when_something_was_rejected(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    rows: str,
    counts: tuple[int, int, int],
    line: str,
) -> None:
    (tmp_path / "data.csv").write_text(f"t,speed,temp,note\n{rows}")
    call = ["import", str(tmp_path / "data.csv"), "-o", str(tmp_path / "out.mcap")]
    call += ["--map", str(folder(tmp_path, CSV_MAP))]
    assert run_app(call) == 1
    assert f"rejected: {line}" in capfd.readouterr().out.replace("\n", " ")
    assert run_app([*call, "--json"]) == 1
    said = orjson.loads(capfd.readouterr().out)
    assert (said["rows"], said["rejected_rows"], said["rejected_cells"]) == counts
    assert said["readings"] == counts[0]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "data.csv"
    map_file = folder(tmp_path, CSV_MAP)
    text = "\n".join(["t,speed,temp,note", *ROWS])
    source.write_text(text)
    with pytest.raises(ConfigurationError, match="would overwrite what it is made from"):
        import_recording([source], map_file, source, lambda size: None)
    assert source.read_text() == text
    output = tmp_path / "out.mcap"
    output.write_text("somebody's")
    import_recording([source], map_file, output, lambda size: None)
    assert (tmp_path / "out.before-1.mcap").read_text() == "somebody's"
    assert output.read_bytes().startswith(b"\x89MCAP")
