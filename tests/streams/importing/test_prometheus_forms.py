"""Prometheus' forms, by files that Prometheus has written."""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine.inputs import Frame
from rules.errors import ConfigurationError
from rules.quality import Quality
from streams.importing.remote_read import crc32c, message_class
from streams.importing.xor_chunk import read_xor
from tests.streams.importing.formats import PROMETHEUS, T0, fields, readings, run
from tests.support.examples import examples

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


def test_a_whole_number_that_no_float_holds_costs_its_own_line_alone(tmp_path: Path) -> None:
    line = 'loop_supply_temperature_celsius{loop="cdu-a"}'
    text = f"{line} {'9' * 400} 1753690000\n{line} 20 1753690001\n# EOF\n"
    report, inputs = run(tmp_path, LOOP_MAP.replace("FORMAT", "openmetrics"), ("a.om", text.encode()))
    assert [(one.line, one.reason) for one in report.rejections] == [(1, "int too large to convert to float")]
    assert list(readings(inputs).values()) == [20.0]


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


# What our own parsers do with anything at all


@settings(max_examples=examples(60), deadline=None)
@given(st.binary(max_size=200))
def test_no_chunk_crashes_its_reader(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert len(list(read_xor(data))) <= 65_535


@settings(max_examples=examples(50), deadline=None)
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


@settings(max_examples=examples(50), deadline=None)
@given(st.data())
@pytest.mark.parametrize(("form", "name"), [("prometheus", "dump.txt"), ("openmetrics", "dump.om")])
def test_no_text_crashes_an_import(
    tmp_path_factory: pytest.TempPathFactory, form: str, name: str, data: st.DataObject
) -> None:
    lines = st.sampled_from((PROMETHEUS / name).read_text().splitlines())
    text = data.draw(st.text(max_size=300) | st.lists(lines, max_size=5).map("\n".join))
    content = ("data", text.encode("utf-8", "replace"))
    run(tmp_path_factory.mktemp("text"), LOOP_MAP.replace("FORMAT", form), content)
