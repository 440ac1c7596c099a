"""Historians to recordings: asyncua's, and node-opcua's, which nobody here wrote."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from gateways.cli.main import run_app
from gateways.listen import free_port
from gateways.opcua.convert import BAD_TYPE_MISMATCH
from gateways.opcua.stack import Client
from rules.engine.inputs import Gap, Readings
from rules.quality import Quality
from streams.recording.recording import Recording
from streams.wire import decode_input
from tests.gateways.opcua.harness import HERE, ServerProcess
from tests.support.node import node_environment

PEERS = Path(__file__).parents[2] / "support" / "node-opcua"
T0 = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 10**9
S = 10**9
SITE = """
name: history
tick: 1 s
sources:
  plc: {kind: file, period: 1 s, lateness: 1 min, clock_tolerance: 1 min}
units:
  hall:
    assets:
      P-1:
        type: Pump
        points:
          LiquidFlow: {range: 0..1000 L/min, source: plc}
          PumpSpeed: {range: 0..100 %, source: plc}
"""
MAP = """
site: site
format: opcua
security: SECURITY
columns:
  nsu=urn:test:historian;s=flow: {to: P-1.LiquidFlow, unit: m^3/min}
"""


def map_file(folder, more="", security="None"):
    (folder / "site").mkdir()
    (folder / "site" / "site.yaml").write_text(SITE)
    (folder / "map.yaml").write_text(MAP.replace("SECURITY", security) + more)
    return folder / "map.yaml"


def imported(folder, port, capfd, *span, code=0):
    """What the command says, and the inputs of the recording."""
    call = ["import", f"opc.tcp://127.0.0.1:{port}/historian", "--map", str(folder / "map.yaml"), "--json"]
    assert run_app([*call, "-o", str(folder / "out.mcap"), "--from", *span]) == code
    said = orjson.loads(capfd.readouterr().out)
    if code > 1:
        assert not (folder / "out.mcap").exists()
        return said, []
    records = Recording(folder / "out.mcap").records()
    return said, [decode_input(one.key, one.headers, one.value) for one in records]


def columns(inputs):
    return [
        (int(time), float(value), int(quality), int(status))
        for one in inputs
        if isinstance(one, Readings)
        for time, value, quality, status in zip(one.time_ns, one.values, one.quality, one.status, strict=True)
    ]


@pytest.fixture(scope="module")
def historian():
    port = free_port()
    process = ServerProcess(port, sys.executable, HERE / "historian_server.py", port, "-").start()
    yield process
    process.kill()


def test_raw_values_come_page_by_page_with_source_times_and_status(historian, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    map_file(tmp_path)
    said, inputs = imported(tmp_path, historian.port, capfd, "2026-01-01T00:00Z", "--to", "2026-01-02T00:00Z")
    found = columns(inputs)
    assert len(found) == said["readings"] == 25_000
    assert [time for time, *_ in found] == [T0 + number * S for number in range(25_000)]
    assert [value for _, value, *_ in found] == [pytest.approx(1000.0 * number) for number in range(25_000)]
    bad = [number for number, (_, _, quality, _) in enumerate(found) if quality == Quality.BAD]
    assert bad == list(range(99, 25_000, 100))
    assert {status for _, _, quality, status in found if quality == Quality.BAD} == {0x808C0000}
    assert said["not_good"] == 250
    assert (said["duplicates"], said["out_of_order"], said["gaps"]) == (0, 0, [])


def test_a_historian_s_nonsense_is_said_in_a_line(tmp_path, capfd, monkeypatch):
    async def nothing(self, *_given):
        pass

    monkeypatch.chdir(tmp_path)
    for name in ("connect", "get_namespace_array", "leave"):
        monkeypatch.setattr(Client, name, nothing)
    map_file(tmp_path)
    span = ("2026-01-01T00:00Z", "--to", "2026-01-02T00:00Z")
    said, _ = imported(tmp_path, 4840, capfd, *span, code=3)
    assert "TypeError" in str(said)


def test_the_end_is_not_included_so_that_spans_can_follow_each_other(historian, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    map_file(tmp_path)
    span = ("2026-01-01T00:00:10Z", "--to", "2026-01-01T01:00:20+01:00")
    _, inputs = imported(tmp_path, historian.port, capfd, *span)
    assert [(time - T0) // S for time, *_ in columns(inputs)] == list(range(10, 20))


def test_what_is_no_number_is_bad_and_a_point_without_values_is_named(
    historian, tmp_path, capfd, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    map_file(tmp_path, "  nsu=urn:test:historian;s=text: {to: P-1.PumpSpeed, unit: percent}\n")
    said, inputs = imported(
        tmp_path, historian.port, capfd, "2026-01-01T00:00Z", "--to", "2026-01-01T00:00:02Z"
    )
    speeds = [
        (int(quality), int(status))
        for one in inputs
        if isinstance(one, Readings)
        for point, quality, status in zip(one.points, one.quality, one.status, strict=True)
        if point == "P-1.PumpSpeed"
    ]
    assert speeds == [(Quality.BAD, BAD_TYPE_MISMATCH)] * 2
    said, _ = imported(
        tmp_path, historian.port, capfd, "2026-01-01T01:00:00Z", "--to", "2026-01-01T01:00:02Z"
    )
    assert said["never_seen"] == ["P-1.PumpSpeed"]
    assert said["readings"] == 2


def test_nothing_is_written_when_a_node_is_wrong_or_the_server_is_away(
    historian, tmp_path, capfd, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    map_file(tmp_path, "  nsu=urn:elsewhere;s=flow: {to: P-1.PumpSpeed, unit: percent}\n")
    span = ("2026-01-01T00:00Z", "--to", "2026-01-02T00:00Z")
    said, _ = imported(tmp_path, historian.port, capfd, *span, code=2)
    assert "nsu=urn:elsewhere;s=flow': the server has no such namespace" in str(said)
    said, _ = imported(tmp_path, free_port(), capfd, *span, code=3)
    assert "nothing was written" in str(said)


def test_a_call_that_is_wrong_says_what_to_write(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = str(map_file(tmp_path))
    server = "opc.tcp://127.0.0.1:4840/historian"
    for words, part in (
        (["opc.tcp://plant.example:4840", "--from", "2020-01-01T00:00Z"], "plant.example is another machine"),
        ([server], "from a time on"),
        ([server, server, "--from", "2020-01-01T00:00Z"], "imported alone"),
        ([server, "--from", "2026-01-02T00:00Z", "--to", "2026-01-01T00:00Z"], "--from must lie before --to"),
        ([server, "--from", "soon"], "'soon' is no time"),
        ([file], "reads a server, not files"),
    ):
        assert run_app(["import", *words, "--map", file, "-o", "out.mcap"]) == 2
        assert part in capfd.readouterr().err
    assert not (tmp_path / "out.mcap").exists()


def test_a_secured_historian(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    port, certificates = free_port(), tmp_path / "certificates"
    certificates.mkdir()
    process = ServerProcess(port, sys.executable, HERE / "historian_server.py", port, certificates).start()
    try:
        map_file(tmp_path, security="Basic256Sha256")
        said, _ = imported(tmp_path, port, capfd, "2026-01-01T00:00Z", "--to", "2026-01-01T00:01:00Z")
    finally:
        process.kill()
    assert said["readings"] == 60
    assert (tmp_path / "run" / "certificates" / "servers" / "history.der").exists()


@pytest.fixture(scope="module")
def their_historian(request, tmp_path_factory):
    """node-opcua's, started once: its keys take it some seconds of a core."""
    environment = node_environment(request, PEERS)
    port, pki = free_port(), tmp_path_factory.mktemp("pki")
    process = ServerProcess(port, "node", PEERS / "historian.cjs", port, pki, env=environment).start()
    yield process
    process.kill()


@pytest.mark.node
@pytest.mark.parametrize("security", ["None", "Basic256Sha256"])
def test_a_historian_that_is_not_asyncua(their_historian, tmp_path, capfd, monkeypatch, security):
    monkeypatch.chdir(tmp_path)
    port, still = their_historian.port, "nsu=urn:test:historian;s=still"
    file = map_file(tmp_path, f"  {still}: {{to: P-1.PumpSpeed, unit: percent}}\n", security=security)
    said, inputs = imported(tmp_path, port, capfd, "2026-01-01T00:00Z", "--to", "2026-01-02T00:00Z")
    (tmp_path / "out.mcap").unlink()
    file.write_text(file.read_text().replace("s=still", "s=plain"))
    refused, _ = imported(tmp_path, port, capfd, "2026-01-01T00:00Z", "--to", "2026-01-02T00:00Z", code=2)
    found = columns(inputs)
    assert [time for time, *_ in found] == [T0 + number * S for number in range(12_000)]
    assert [value for _, value, *_ in found] == [pytest.approx(1000.0 * number) for number in range(12_000)]
    qualities = [Quality(quality) for _, _, quality, _ in found]
    assert [qualities.count(one) for one in (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD)] == [
        10_800,
        1080,
        120,
    ]
    assert said["never_seen"] == ["P-1.PumpSpeed"]
    assert not [one for one in inputs if isinstance(one, Gap)]
    assert "s=plain': BadHistoryOperationUnsupported" in str(refused)
