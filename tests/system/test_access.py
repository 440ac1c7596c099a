"""A running plant gets users: who signs acts, who does not is refused; its recording replays to the same bytes."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.system.test_activate import ROOT, broker_of, start

pytestmark = pytest.mark.system


class Site:
    """The small site with users, and its broker."""

    def __init__(self, folder: Path) -> None:
        for name in ("narvik", "narvik-small"):
            shutil.copytree(ROOT / "examples" / name, folder / name)
        self.folder, self.dir = folder, folder / "narvik-small"
        self.broker = ""

    def says(self, *words: str, code: int = 0) -> list[dict[str, Any]]:
        child = start(*words, "--json", HOME=str(self.folder))
        said, wrong = child.communicate(timeout=300)
        assert child.returncode == code, said + wrong
        return [json.loads(line) for line in said.splitlines()]

    def acts(self, *words: str, code: int = 0) -> list[dict[str, Any]]:
        return self.says(*words, "--site", str(self.dir), "--bootstrap", self.broker, code=code)

    def standing(self, rule: str) -> str:
        """The first alarm of a rule, once there is one."""
        until = time.monotonic() + 240
        while time.monotonic() < until:
            for one in self.says("alarms", str(self.dir), "--bootstrap", self.broker):
                if (one["rule"], one["state"]) == (rule, "unacknowledged"):
                    return f"{one['unit']}:{one['rule']}:{one['asset']}"
        raise AssertionError("no alarm")


def test_a_running_plant_gets_users(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    site = Site(tmp_path)
    site.says("users", "init", str(site.dir), "--name", "ada")
    edge = str(tmp_path / "scada.pem")
    site.says("users", "key", "-o", edge)
    speaks = ("--role", "engineer", "--speaks-for", "all", "--public-key", f"{edge}.pub")
    site.says("users", "add", "scada", *speaks, "--site", str(site.dir))
    (site.dir / "headrace.yaml").write_text(f"access: {{keys: {{scada: {edge}}}}}\n")
    other, recording = str(tmp_path / "vic.pem"), tmp_path / "run.mcap"
    site.says("users", "key", "-o", other)
    up = start(
        "up", str(site.dir), "--free-ports", "--for", "30min", "--fault", "pump_trip@5s",
        "--record", str(recording), "--json", HEADRACE_RUN_DIR=str(tmp_path / "run"),
    )  # fmt: skip
    request.addfinalizer(up.kill)  # where this test has failed, it still runs
    site.broker = broker_of(tmp_path / "run")
    began_s = time.monotonic()
    alarm = site.standing("pump-tripped")
    [open_still] = site.acts("comment", alarm, "--text", "nobody signs", "--key", other, "--by", "vic")
    assert open_still["kind"] == "alarm-commented"
    [applied] = site.says("users", "apply", str(site.dir), "--bootstrap", site.broker)
    assert {one["first"] for one in applied["units"].values()} == {True}
    [stranger] = site.acts("ack", alarm, "--key", other, "--by", "vic", code=1)
    assert stranger["reason"] == "its signer is not on the access list"
    [forged] = site.acts("ack", alarm, "--key", other, "--by", "ada", code=1)
    assert forged["reason"] == "its signature is of no key of 'ada', or it was altered"
    rules = ("activate", str(site.dir), "--bootstrap", site.broker)
    [refused] = site.says(*rules, "--key", other, "--by", "ada", code=1)
    assert {(one["kind"], one["reason"]) for one in refused["units"].values()} == {
        ("activation-refused", forged["reason"])
    }
    [activated] = site.says(*rules)
    assert {(one["kind"], one["signer"]) for one in activated["units"].values()} == {("activation", "ada")}
    [acknowledged] = site.acts("ack", alarm)
    assert acknowledged["kind"] == "alarm-acknowledged"
    site.says(
        "users", "add", "vic", "--role", "viewer", "--public-key", f"{other}.pub", "--site", str(site.dir)
    )
    [again] = site.says("users", "apply", str(site.dir), "--bootstrap", site.broker)
    assert {one["users"] for one in again["units"].values()} == {3}
    [viewer] = site.acts("comment", alarm, "--text", "me too", "--key", other, code=1)
    assert viewer["reason"] == "'vic' may not do that: no comment for role viewer"
    [unsent] = site.says(*rules, "--key", other, code=2)
    assert "'vic' may not do that: no activate-rules for role viewer" in unsent["error"]
    late_s = (time.monotonic() - began_s) * 3 / 4
    up.send_signal(signal.SIGINT)
    said, words = up.communicate(timeout=300)
    assert up.returncode == 0, words[-4000:]
    summary = json.loads(said)
    assert (summary["lost"], summary["duplicates"], summary["broken_ids"]) == (0, 0, 0)

    [replayed] = site.says("replay", str(recording))
    assert replayed["verification"]["differences"] == 0
    part = str(tmp_path / "part.mcap")
    site.says("recording", "cut", str(recording), "--from", f"{late_s:.0f}", "-o", part)
    [replayed] = site.says("replay", part)  # from a snapshot, which holds the list
    assert replayed["verification"]["differences"] == 0
    [verified] = site.says("journal", "verify", str(recording))
    assert verified["findings"] == []
