"""`headrace broker`: an empty log that takes a replay, until it is told to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gateways.cli.main import run_app

ROOT = Path(__file__).parents[3]
WORDS = ["-m", "gateways.cli.main", "broker", "--json", "--port"]
Command = tuple[subprocess.Popen[str], dict[str, object]]


@pytest.fixture
def command(tmp_path: Path, unused_port: int) -> Iterator[Command]:
    """The process, and what it has said: it has said so once it answers."""
    process = subprocess.Popen(
        [sys.executable, *WORDS, str(unused_port)],
        cwd=ROOT,
        env={**os.environ, "HEADRACE_RUN_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process, json.loads(process.stdout.readline())
    process.kill()
    process.communicate()


def test_a_recording_can_be_replayed_into_it_and_a_signal_ends_it(
    command: Command, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    process, said = command
    assert said["partitions"] == 3
    recording = ROOT / "tests" / "golden" / "pump_trip.mcap"
    assert run_app(["replay", str(recording), "--to-kafka", str(said["bootstrap"]), "--json"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["records"]["events"] > 0
    broker = psutil.Process(int(str(said["pid"])))
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert not broker.is_running()


def test_a_port_that_is_taken_is_refused(command: Command, capfd: pytest.CaptureFixture[str]) -> None:
    port = str(command[1]["bootstrap"]).rsplit(":", 1)[1]
    assert run_app(["broker", "--port", port]) == 3
    said = capfd.readouterr().err
    assert f"port {port}" in said
    assert "choose another port (--port)" in said


def test_a_broker_that_ends_by_itself_is_no_good_end(command: Command) -> None:
    process, said = command
    psutil.Process(int(str(said["pid"]))).kill()
    _, words = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "its log, which was in its memory, is gone" in words


@pytest.mark.parametrize("bootstrap", ["kafka.plant:9092", "127.0.0.1:9092,127.0.0.1:9093", ":9092"])
def test_another_machine_or_several_brokers_are_refused(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def started(*_: object) -> None:
        raise AssertionError("it starts")

    monkeypatch.setattr("gateways.cli.broker.EmbeddedBroker", started)
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", bootstrap)
    assert run_app(["broker"]) == 2
    assert f"'{bootstrap}', and the embedded broker serves this machine only" in capfd.readouterr().err
