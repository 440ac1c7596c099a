"""What `import --guess` says of heads, and that what it writes is imported once a person has answered."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.cli.main import run_app
from rules.errors import ConfigurationError
from streams.importing.guessing.guess import guess_map
from streams.importing.map_file import load_map
from streams.importing.run import import_recording
from tests.streams.importing.formats import PROMETHEUS, SITE

ROOT = Path(__file__).parents[4]
RECORDINGS = ROOT.parent / "shared" / "recordings"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "site.yaml").write_text(SITE)
    return tmp_path / "site"


def guess(tmp_path: Path, data: bytes | str, name: str = "data") -> tuple[str, list[str]]:
    """The map for a file of this content, and what it asks."""
    (tmp_path / name).write_bytes(data.encode() if isinstance(data, str) else data)
    found = guess_map(tmp_path / name, tmp_path / "site", tmp_path)
    for line, question in found.questions:
        assert found.lines[line - 1].strip() == f"# CHECK: {question}"
    return found.text, [question for _, question in found.questions]


def imported(tmp_path: Path, text: str, *files: Path) -> dict[str, object]:
    """The report of an import through a map of this text, its questions taken as answered."""
    answered = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("# CHECK:"))
    (tmp_path / "map.yaml").write_text(answered)
    return import_recording(files, tmp_path / "map.yaml", tmp_path / "out.mcap", lambda size: None).as_dict()


def test_a_head_that_says_all_is_imported_as_it_was_guessed(
    tmp_path: Path, site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plant.csv").write_text(
        "Time,cdu_a_liquid_flow [m3/h],Pump Speed (%),CDU-A.LiquidTemperature_degF\n"
        "2026-01-01T00:00:00Z,6.0,50,68\n2026-01-01T00:00:10Z,6.6,51,69\n2026-01-01T00:00:20Z,6.6,51,69\n"
    )
    words = [
        "import",
        "--guess",
        str(tmp_path / "plant.csv"),
        "--site",
        str(site),
        "-o",
        str(tmp_path / "m.yaml"),
    ]
    assert run_app([*words, "--json"]) == 0
    said = orjson.loads(capfd.readouterr().out)
    assert (said["format"], said["open"]) == ("csv", [])
    assert said["text"] == (tmp_path / "m.yaml").read_text()
    assert "max_gap: 30 s" in said["text"]
    assert run_app(words) == 2
    assert "it is not overwritten" in capfd.readouterr().err
    call = [
        "import",
        str(tmp_path / "plant.csv"),
        "--map",
        str(tmp_path / "m.yaml"),
        "-o",
        str(tmp_path / "r.mcap"),
    ]
    assert run_app([*call, "--json"]) == 0
    assert orjson.loads(capfd.readouterr().out)["readings"] == 9
    plan = load_map(tmp_path / "m.yaml")
    assert [(one.target, round(one.scale, 3), round(one.offset, 3)) for one in plan.columns] == [
        ("CDU-A.LiquidFlow", 16.667, 0.0),
        ("P-1.PumpSpeed", 1.0, 0.0),
        ("CDU-A.LiquidTemperature", 0.556, -17.778),
    ]


def test_a_map_with_open_questions_is_refused_with_their_lines(
    tmp_path: Path, site: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("t,speed\n2026-01-01 00:00:00,1\n2026-01-01 00:00:10,2\n")
    words = ["import", "--guess", str(tmp_path / "a.csv"), "--site", str(site)]
    assert run_app([*words, "-o", str(tmp_path / "m.yaml")]) == 1
    asked = [int(line) for line in re.findall(r"m.yaml:(\d+): ", capfd.readouterr().err)]
    assert len(asked) == 2
    call = [
        "import",
        str(tmp_path / "a.csv"),
        "--map",
        str(tmp_path / "m.yaml"),
        "-o",
        str(tmp_path / "r.mcap"),
    ]
    assert run_app(call) == 2
    refused = capfd.readouterr().err
    assert [
        int(line) for line in re.findall(r"m.yaml:(\d+):\d+: error: still to be checked", refused)
    ] == asked
    assert not (tmp_path / "r.mcap").exists()
    assert run_app(words) == 1
    from_here = (tmp_path / "m.yaml").read_text().replace("site: site", f"site: {os.path.relpath(site)}")
    assert capfd.readouterr().out == from_here


def test_how_a_european_table_is_written_is_seen(tmp_path: Path, site: Path) -> None:
    text = "Zeit;P-1.PumpSpeed [%];Bemerkung\n" + "".join(
        f"{day:02}.01.2026 00:00:00;{day},5;{'gut' if day % 2 else 'N/A'}\n" for day in range(31, 12, -1)
    )
    found, asked = guess(tmp_path, text.replace("25,5", "---").encode("utf-16"), "a.csv")
    for line in (
        "encoding: utf-16",
        'delimiter: ";"',
        'decimal: ","',
        '"%d.%m.%Y %H:%M:%S"',
        "order: newest first",
    ):
        assert line in found
    assert asked[0].startswith("the times name no zone")
    report = imported(tmp_path, found, tmp_path / "a.csv")
    assert (report["readings"], report["rejected"]) == (18, 1)


def test_what_fits_two_readings_is_asked(tmp_path: Path, site: Path) -> None:
    rows = "".join(f"0{n}/02/2026 00:00,1\n" for n in range(1, 9))
    _, asked = guess(tmp_path, "when,P-1.PumpSpeed [%]\n" + rows)
    assert any("'%d/%m/%Y %H:%M', '%m/%d/%Y %H:%M'" in one for one in asked)
    _, asked = guess(tmp_path, "when;x;y\n2026-01-01;1.5;2,5\n2026-01-02;1.5;2,5\n")
    assert any("2 numbers of the head have a comma, 2 a point" in one for one in asked)
    _, asked = guess(tmp_path, "a,b\n1,2\n3,4\n")
    assert any("no column of the head is a time" in one for one in asked)
    _, asked = guess(tmp_path, "t,température [°C]\n2026-01-01T00:00Z,1\n".encode("latin-1"))
    assert any("is its encoding cp1252" in one for one in asked)


def test_a_unit_that_can_not_be_the_points_is_no_match(tmp_path: Path, site: Path) -> None:
    found, asked = guess(tmp_path, "t,PumpSpeed_kw,pump_sped_pct\n2026-01-01T00:00Z,1,2\n")
    assert 'PumpSpeed_kw: {to: "", unit: kW}' in found
    assert "is 'pump_sped_pct' the point P-1.PumpSpeed, and in percent?" in asked


@pytest.mark.parametrize(("factor", "form"), [(1, "unix s"), (10**3, "unix ms"), (10**9, "unix ns")])
def test_numbers_are_times_by_their_name_and_size(tmp_path: Path, site: Path, factor: int, form: str) -> None:
    rows = "".join(f"{(1767225600 + n) * factor},{1767225600 + n}\n" for n in range(5))
    found, asked = guess(tmp_path, "ts,counter\n" + rows)
    assert f'format: "{form}"' in found
    assert not any("zone" in one for one in asked)


def test_a_long_table_and_one_of_several_hosts(tmp_path: Path, site: Path) -> None:
    rows = [f"2026-01-01T00:00:{s:02}Z,{tag},1.5,Good\n" for s in range(20) for tag in ("PumpSpeed_pct", "X")]
    found, asked = guess(tmp_path, "time,tag,value,quality\n" + "".join(rows), "a.csv")
    assert "long: {name: tag, value: value}" in found
    assert "PumpSpeed_pct: {to: P-1.PumpSpeed, unit: percent}" in found
    assert 'quality: {column: quality, good: ["Good"]}' in found
    assert any("is a value good when 'quality' says one of these" in one for one in asked)
    assert any("which point is 'X'" in one for one in asked)
    rows = [f"2026-01-01T00:00:{s:02}Z,{host},300.5,41\n" for s in range(20) for host in ("dgx-1", "dgx-2")]
    found, _ = guess(tmp_path, "time,host,power_mean_w,temperature_degc\n" + "".join(rows), "b.csv")
    assert "    dgx-1: DGX-1" in found
    assert 'temperature_degc: {to: "{series}.temperature", unit: degC}' in found


def test_line_protocol_and_parquet(tmp_path: Path, site: Path) -> None:
    lines = "".join(
        f'cdu,id=A liquid_flow=1.5,note="x",LiquidTemperature_degc={n}i {1767225600 + n}000\n'
        for n in range(9)
    )
    found, asked = guess(tmp_path, lines, "a.lp")
    assert any("'time: {format: unix ms}'" in one for one in asked)
    report = imported(
        tmp_path,
        found.replace("format: influx", "format: influx\ntime: {format: unix ms}"),
        tmp_path / "a.lp",
    )
    assert (report["rejected"], report["readings"]) == (0, 18)
    assert report["left_out"] == {"cdu.note": 9}
    times = np.arange("2026-01-01T00:00", "2026-01-01T01:00", dtype="datetime64[m]").astype("datetime64[us]")
    table = pa.table({"t": pa.array(times, pa.timestamp("us", "UTC")), "Pump Speed [%]": np.arange(60.0)})
    pq.write_table(table, tmp_path / "a.parquet")
    found, asked = guess(tmp_path, (tmp_path / "a.parquet").read_bytes(), "b.parquet")
    assert asked == []
    assert imported(tmp_path, found, tmp_path / "a.parquet")["readings"] == 60


def test_what_parquet_has_besides_values_is_not_read_by_a_guess(tmp_path: Path, site: Path) -> None:
    table = pa.table({
        "raw": pa.array([b"x" * 100] * 2),
        "t": ["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"],
        "list": [[1], [2]],
        "Pump Speed [%]": [1.0, 2.0],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "a.parquet")
    found, asked = guess(tmp_path, (tmp_path / "a.parquet").read_bytes(), "b.parquet")
    assert any("left out: 'raw', 'list'" in one for one in asked)
    assert "ignored: [raw, list]" in found


@pytest.mark.parametrize("name", ["samples.bin", "chunks.bin", "matrix.json", "dump.txt", "dump.om"])
def test_what_prometheus_gave_needs_one_answer(tmp_path: Path, site: Path, name: str) -> None:
    found, asked = guess(tmp_path, (PROMETHEUS / name).read_bytes(), name)
    assert [one.partition("?")[0] for one in asked] == [
        "what is each of them called behind the name of its host in the site",
        "1 names look like no point of the site: move those that are to columns",
    ]
    report = imported(tmp_path, found, tmp_path / name)
    assert (report["rejected"], report["readings"], report["not_available"]) == (0, 100, 4)
    assert report["left_out"] == {"loop_supply_temperature_celsius": 27}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"one column\n1\n", "no table"),
        (b"\x00\x01\x02", "neither text"),
        (b"{}", "no table"),
        (b"PAR1", "can't be read"),
        (b'{"resultType"', "can't be read"),
        (b'{"status":"success","data":{"resultType":"matrix","result":[]}}', "there is no series in it"),
    ],
)
def test_what_is_of_no_format_is_one_finding(tmp_path: Path, site: Path, data: bytes, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        guess(tmp_path, data)
    (finding,) = raised.value.findings
    assert (finding.file, finding.line) == (str(tmp_path / "data"), 0)
    assert finding.message.startswith(message)


_cell = st.text(max_size=8) | st.sampled_from(
    ["1", "2,5", "2026-01-01", "01.02.2026 00:00", "N/A", '"', "# CHECK: x"]
)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=120)
    | st.lists(st.lists(_cell, min_size=2, max_size=4).map(";".join), max_size=8).map(
        lambda rows: "\n".join(rows).encode("utf-8", "replace")
    )
)
def test_whatever_a_file_holds_its_map_can_be_read(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    tmp_path = tmp_path_factory.mktemp("guess")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "site.yaml").write_text(SITE)
    (tmp_path / "data").write_bytes(data)
    try:
        found = guess_map(tmp_path / "data", tmp_path / "site", tmp_path)
    except ConfigurationError:
        return
    (tmp_path / "map.yaml").write_text(found.text)
    try:
        load_map(tmp_path / "map.yaml")
    except ConfigurationError as error:
        said = [one.message for one in error.findings]
        assert not [one for one in said if "YAML" in one], found.text
        assert sum(one.startswith("still to be checked") for one in said) == len(found.questions)


def blank(name: str, answer: str) -> dict[str, str]:
    """What stands for a column of which the head says nothing, and what a person writes there."""
    return {f'{name}: {{to: "", unit: ""}}': f"{name}: {answer}"}


HYDRO = {
    **blank("V5", "{to: HU-1.LiquidFlow, unit: m^3/s}"),
    **blank("V6", "{to: HU-1.ApparentPower, unit: kVA}"),
    **{
        asked: answer
        for n in range(1, 5)
        for asked, answer in blank(f"V{n}", f"{{to: HU-1-VIB-{n}.Vibration, unit: mm/s}}").items()
    },
    "max_gap: 15 min": "max_gap: 10 min",
}
MACHINE = blank("value", "{to: MACHINE-1.Temperature, unit: degF}") | {"max_gap: 15 min": "max_gap: 10 min"}
ROOM = blank("value", "{to: ROOM-1.AirTemperature, unit: degF}") | {"max_gap: 3 h": "max_gap: 90 min"}
HOST_FIELDS = {
    "power": 'power_mean", unit: W', "temp": 'temperature", unit: degC',
    "util": 'gpu_utilization", unit: percent', "gmem": 'memory_utilization", unit: percent',
}  # fmt: skip
HOST = {'cbsugpu05: ""': "cbsugpu05: HOST-05", "max_gap: 3 h": "max_gap: 90 min"} | {
    f'{column}{end}: {{to: "{{series}}.", unit: ""}}': f'{column}{end}: {{to: "{{series}}-{asset}.{field}}}'
    for column, field in HOST_FIELDS.items()
    for end, asset in (("ave", "MEAN"), ("min", "MIN"), ("max", "MAX"))
}
EXPORTER = {'-000000000000": ""': '-000000000000": HOST-H200-G1'}
TEMPERATURES = "machine_temperature/{}_temperature_system_failure.csv"
H200 = "gpu_exporter/linux-x86_64__nvidia-h200__590.48.01__load.metrics"


@pytest.mark.recordings
@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "site_name", "example", "answers"),
    [
        ("hydro_plant/signals.csv", "hydro", "hydro_plant", HYDRO),
        (TEMPERATURES.format("machine"), "machine_temperature", "machine_temperature", MACHINE),
        (TEMPERATURES.format("ambient"), "machine_temperature", "room_temperature", ROOM),
        pytest.param(
            "gpu_hosts/cbsugpu05_usage_stats.txt", "gpu_hosts", "gpu_hosts", HOST, marks=pytest.mark.night
        ),
        (H200, "gpu_exporter", "gpu_exporter", EXPORTER),
    ],
)  # fmt: skip
def test_recordings_of_others_once_answered_give_what_their_maps_give(
    tmp_path: Path, name: str, site_name: str, example: str, answers: dict[str, str]
) -> None:
    found = guess_map(RECORDINGS / name, ROOT / "examples" / site_name, tmp_path)
    text = found.text
    for asked, answer in answers.items():
        assert text.count(asked) == 1
        text = text.replace(asked, answer)
    report = imported(tmp_path, text, RECORDINGS / name)
    expected = import_recording(
        [RECORDINGS / name],
        ROOT / "examples" / "maps" / f"{example}.yaml",
        tmp_path / "expected.mcap",
        lambda size: None,
    ).as_dict()
    assert report == expected
