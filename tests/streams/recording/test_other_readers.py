"""Other people's tools open a recording: `@mcap/core` by index and as a stream, Arrow's own reader the messages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcap.writer import CompressionType

from streams.record import Record
from streams.recording.recording import Recording, RecordingWriter
from tests.streams.recording.logs import as_records, frame, gap, readings, tick
from tests.support.node import node_environment

pytestmark = pytest.mark.node

SUPPORT = Path(__file__).parents[2] / "support" / "mcap-reader"
GOLDEN = Path(__file__).parents[2] / "golden"
INPUTS = [
    tick(100),
    readings(1),
    frame(1),
    gap(2),
    readings(3),
    frame(2),
    *(readings(n) for n in range(4, 60)),
]
OTHERS = [
    Record("alarms", 2, 2**33 + 7, 5, b"hall:hot:P-1", b'{"id":"a"}', (("schema", b"alarm/1"),)),
    Record("status", 0, 1, 6, None, b"\x00 no JSON", ()),
    Record("events", 0, len(INPUTS), 7, b"\xff", b"garbage", ()),
    Record("snapshots", 0, 3, 8, b"hall:a:0000", None, ()),
]
Read = Callable[[Path], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def read(request: pytest.FixtureRequest) -> Read:
    environment = node_environment(request, SUPPORT)

    def run(path: Path) -> subprocess.CompletedProcess[str]:
        command = ["node", SUPPORT / "reader.cjs", path]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=180, check=False
        )

    return run


def record(path: Path, compression: CompressionType) -> None:
    site = {"site.yaml": "site: Øvre".encode()}
    with RecordingWriter(
        path, attachments=site, metadata={"site": "small"}, compression=compression
    ) as writer:
        for n, one in enumerate([*as_records(INPUTS), *OTHERS]):
            writer.write(one, 1000 + n)
            if n % 9 == 8:
                writer.flush()


@pytest.mark.parametrize("compression", list(CompressionType))
def test_mcap_core_reads_lists_and_validates_a_recording(
    tmp_path: Path, read: Read, compression: CompressionType
) -> None:
    record(tmp_path / "a.mcap", compression)
    done = read(tmp_path / "a.mcap")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    count = len(INPUTS) + len(OTHERS)
    assert (said["named"], said["streamed"], len(said["messages"])) == (count, count, count)
    assert said["topics"] == {"events": len(INPUTS) + 1, "alarms": 1, "status": 1, "snapshots": 1}
    assert said["chunks"] == (count + 8) // 9
    assert said["profile"] == "headrace"
    assert said["attachments"] == {"site.yaml": "site: Øvre"}
    assert said["metadata"]["headrace"]["site"] == "small"
    channels = said["channels"].values()
    kinds = {one["metadata"].get("header.schema"): (one["encoding"], one["schema"]) for one in channels}
    assert kinds["frame/1"] == ("arrow", {"name": "frame/1", "encoding": "arrow"})
    assert kinds["tick/1"] == ("json", {"name": "tick/1", "encoding": "jsonschema"})
    last = said["messages"][len(INPUTS)]
    place = said["channels"][str(last["channel"])]["metadata"]
    assert (int(place["base_offset"]), place["partition"], last["sequence"]) == (2**33 + 7, "2", 7)
    assert last["time_ns"] == "5000000"


@pytest.mark.parametrize("name", ["format-1", "pump_trip", "disorder"])
def test_mcap_core_validates_what_lies_in_the_golden_set(read: Read, name: str) -> None:
    path = GOLDEN / f"{name}.mcap"
    done = read(path)
    assert done.returncode == 0, done.stderr
    said, ours = json.loads(done.stdout), Counter(record.topic for record in Recording(path).records())
    assert (said["topics"], said["named"], said["streamed"]) == (ours, ours.total(), ours.total())
    assert said["attachments"].keys() == Recording(path).attachments.keys()


def test_arrows_own_reader_reads_the_messages(tmp_path: Path, read: Read) -> None:
    record(tmp_path / "a.mcap", CompressionType.LZ4)
    messages = [
        one["arrow"] for one in json.loads(read(tmp_path / "a.mcap").stdout)["messages"] if "arrow" in one
    ]
    done = subprocess.run(
        [sys.executable, "-I", SUPPORT / "read_arrow.py"],
        input="\n".join(map(json.dumps, messages)), capture_output=True, text=True, check=True, timeout=180,
    )  # fmt: skip
    said: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["name"] for one in said[:4]] == ["readings/1", "frame/1", "readings/1", "frame/1"]
    assert len(said) == len(INPUTS) - 2
    (first,), (second,) = said[0]["rows"], said[1]["rows"]
    assert (first["sequence"], first["point"], first["value"]) == (1, ["P-1.PumpSpeed"], [1.0])
    assert (second["asset"], second["gpu"], second["energy_mj"]) == ("R01", [0, 1], [-1, 1])
    assert second["values"][:5] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len(second["values"]) == 48


@pytest.mark.parametrize("place", ["chunk", "summary"])
def test_mcap_core_sees_a_flipped_byte(tmp_path: Path, read: Read, place: str) -> None:
    """So that what it says of a sound file means something."""
    record(tmp_path / "a.mcap", CompressionType.NONE)
    raw = bytearray((tmp_path / "a.mcap").read_bytes())
    at = raw.index(b"P-1.PumpSpeed") if place == "chunk" else raw.rindex(b"tick/1")
    raw[at] ^= 1
    (tmp_path / "a.mcap").write_bytes(raw)
    done = read(tmp_path / "a.mcap")
    assert done.returncode == 1
    assert "crc" in done.stderr.lower()


def test_the_arrow_reader_is_not_ours() -> None:
    text = (SUPPORT / "read_arrow.py").read_text()
    assert not any(
        f"import {name}" in text or f"from {name}" in text for name in ("rules", "streams", "gateways")
    )
