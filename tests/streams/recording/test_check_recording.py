"""The independent check finds what is missing: also in a real recording's shape (frames, readings, envelopes)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rules.engine.inputs import Frame, Gap, Identity, Input, Readings, Tick
from streams.record import Record
from streams.recording import recording
from streams.recording.recording import RecordingWriter
from streams.wire import encode_input

CHECK = Path(__file__).parents[2] / "support" / "check_recording.py"


def readings(sequence: int, source: str = "plc", epoch: int = 5) -> Readings:
    n = np.zeros(1, np.int64)
    return Readings(
        "hall", Identity(source, epoch, sequence), 7, ("P-1.PumpSpeed",), n, n, np.ones(1), n.astype(np.uint8),
        n.astype(np.uint32),
    )  # fmt: skip


def frame(sequence: int) -> Frame:
    return Frame(
        "hall", Identity("gpus", 5, sequence), 7, "R01", np.zeros(1, np.int64), np.zeros(1, np.uint16),
        np.zeros((1, 1, 24), np.float32), np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.int64),
    )  # fmt: skip


INPUTS: list[Input] = [
    Tick("hall", Identity("ticker", 0, 100), 1),
    readings(1),
    frame(1),
    Gap("hall", Identity("plc", 5, 2), "disconnected", 0, 1, 3),
    readings(3),
    frame(2),
    Tick("hall", Identity("ticker", 0, 107), 2),
    readings(1, epoch=9),
    readings(4),
]


def check(tmp_path: Path, inputs: list[Input]) -> tuple[int, dict[str, object]]:
    path = tmp_path / "run.mcap"
    with RecordingWriter(path) as writer:
        for offset, value in enumerate(inputs):
            m = encode_input(value, 1)
            writer.write(Record(m.topic, m.partition, offset, 1, m.key, m.value, m.headers), offset)
        writer.write(Record("events", 0, 10**6, 1, b"\xff", b"garbage", ()), 10**6)
    done = subprocess.run(
        [sys.executable, str(CHECK), str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("channels", [4096, 1])
def test_a_whole_recording_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int) -> None:
    monkeypatch.setattr(recording, "CHANNELS_PER_TOPIC", channels)
    code, said = check(tmp_path, [*INPUTS, INPUTS[2]])
    assert code == 0
    assert said == {"inputs": 8, "lost": 0, "duplicates": 1, "foreign": 1, "holes": []}


@pytest.mark.parametrize("removed", [1, 2, 3, 4])
def test_one_removed_input_is_named(tmp_path: Path, removed: int) -> None:
    code, said = check(tmp_path, [value for index, value in enumerate(INPUTS) if index != removed])
    identity = INPUTS[removed].identity
    assert code == 1
    assert said["lost"] == 1
    assert said["holes"] == [
        {"unit": "hall", "source": identity.source, "epoch": identity.epoch, "sequence": identity.sequence}
    ]


def test_the_check_is_short_and_its_own() -> None:
    text = CHECK.read_text()
    assert len(text.splitlines()) <= 100
    assert not any(
        f"import {name}" in text or f"from {name}" in text for name in ("rules", "streams", "gateways")
    )
