"""What goes wrong: one sentence on stderr, and with `--json` one object on stdout, whichever command it is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from gateways.cli.main import run_app

SITE = "examples/narvik"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ("replay nowhere.mcap", "can't be read"),
        ("replay pyproject.toml", "not a recording"),
        ("recording info nowhere.mcap", "can't be read"),
        ("up nowhere", "no site"),
        (f"up {SITE} --for soon", "no time"),
        ("alarms nowhere", "no site"),
        ("bench latency nowhere", "no site"),
        ("bench scale --workers 1,none", "no list of numbers"),
        ("bench scale --workers 3 --partitions 3", "too few for 3 workers and one more"),
        (f"alarms {SITE} --bootstrap 127.0.0.1:port", "no address"),
        (f"record {SITE} -o nowhere/run.mcap --for soon", "no time"),
        ("docs rules nowhere", "no site"),
        ("test nowhere", "no scenarios"),
        ("import nowhere.csv --map nowhere.yaml -o nowhere.mcap", ""),
        ("import nowhere.csv --guess --map nowhere.yaml", "--guess writes a map"),
        ("import nowhere.csv --guess --from 2026-01-01", "--guess writes a map"),
        (f"import nowhere.csv --map nowhere.yaml -o nowhere.mcap --site {SITE}", "--site is of --guess"),
        ("run nothing", "unknown role 'nothing' (there are plant, opcua, "),
        (f"run ticker {SITE} --option nothing", "KEY=VALUE"),
        ("recording strip nowhere.mcap -o nowhere-else.mcap", "can't be read"),
        ("replay", "Missing argument"),
        ("replay run.mcap --sped 2", "No such option"),
        ("bench latency --commands none", "Invalid value"),
        ("nonsense", "No such command"),
    ],
)
def test_a_wrong_call_is_one_object(capfd: pytest.CaptureFixture[str], arguments: str, what: str) -> None:
    code = run_app([*arguments.split(), "--json"])
    out, err = capfd.readouterr()
    said = json.loads(out)
    assert out.count("\n") == 1
    assert (code, said["exit_code"]) == (2, 2)
    assert what in said["error"]
    assert what in err
    assert run_app(arguments.split()) == 2
    assert capfd.readouterr().out == ""


def test_without_a_command_its_help_is_all(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_app([]) == 2
    out, err = capfd.readouterr()
    assert "Usage" in out + err
    assert "headrace:" not in err


def test_the_version_is_that_of_the_package(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_app(["--version"]) == 0
    assert capfd.readouterr().out == f"{version('headrace')}\n"


def test_findings_keep_their_place(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_app(["replay", "nowhere.mcap", "--json"]) == 2
    (finding,) = json.loads(capfd.readouterr().out)["findings"]
    assert (finding["file"], finding["line"], finding["severity"]) == ("nowhere.mcap", 0, "error")


@pytest.mark.parametrize("arguments", [["alarms", SITE], ["record", SITE, "-o", "{tmp}/unused.mcap"]])
def test_what_cannot_be_reached_is_one_object(
    capfd: pytest.CaptureFixture[str],
    unused_port: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
) -> None:
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", f"127.0.0.1:{unused_port}")
    assert run_app([*(word.format(tmp=tmp_path) for word in arguments), "--json"]) == 3
    out, err = capfd.readouterr()
    said = json.loads(out)
    assert said["exit_code"] == 3
    assert said["error"].startswith(f"no broker answers at 127.0.0.1:{unused_port}")
    assert said["error"] in err


def test_a_signal_before_a_command_has_begun_is_an_interruption() -> None:
    """The command is one that does nothing: what it imports takes its time, too."""
    program = (
        "import time\nfrom gateways.cli import main\n"
        "def app(words, standalone_mode):\n    print('begun', flush=True)\n    time.sleep(60)\n"
        "main.app = app\nmain.main()\n"
    )
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            process.send_signal(number)
            assert process.wait(60) == 130
