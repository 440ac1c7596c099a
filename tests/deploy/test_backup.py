"""The backup of docs/operations.md: what it has to hold is in it, and comes back; who has only links is told."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.operations import commands, run_on

STATE = {
    "etc/headrace/site/site.yaml": "site",
    "var/lib/headrace/actuators/actuators.sqlite": "ledger",
    "var/lib/headrace/alerts/alerts.sqlite": "outbox",
    "var/lib/headrace/scada/scada-pki/own/key.pem": "key",
    "var/lib/headrace/opcua/certificates/opcua-gateway.key.pem": "key",
    "var/lib/kafka/data/events-0/0.log": "log",
    "var/lib/headrace/recorder/recordings/20261127T120015.123Z.mcap": "segment",
}
BACK_UP = ("tar ", "mkdir -p backup")


def machine_with_state(folder: Path) -> Path:
    for name, text in STATE.items():
        file = folder / "machine" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "machine"


def test_what_is_backed_up_comes_back_on_an_empty_machine(tmp_path: Path) -> None:
    machine = machine_with_state(tmp_path)
    backing_up = commands("## Back up", *BACK_UP) + commands("### The log", "tar ")
    assert len(backing_up) == 4
    for command in backing_up:
        done = run_on(machine, command, tmp_path)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(machine)
    machine.mkdir()
    restoring = commands("## Restore on an empty machine", "tar ", "mkdir ")
    assert len(restoring) == 3
    for command in restoring:
        done = run_on(machine, command, tmp_path)
        assert done.returncode == 0, done.stderr
    assert {name: (machine / name).read_text() for name in STATE} == STATE


def test_a_copy_of_links_is_found_out(tmp_path: Path) -> None:
    machine = machine_with_state(tmp_path)
    state = machine / "var" / "lib" / "headrace" / "actuators"
    elsewhere = machine / "var" / "lib" / "private"
    elsewhere.mkdir()
    state.rename(elsewhere / "actuators")
    state.symlink_to(elsewhere / "actuators")
    made, looked = commands("## Back up", "tar ")
    assert run_on(machine, made, tmp_path).returncode == 0
    assert run_on(machine, looked, tmp_path).returncode == 2
