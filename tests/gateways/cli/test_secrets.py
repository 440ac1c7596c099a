"""No command that reads the settings shows a secret, whatever goes wrong."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from gateways.cli.main import run_app

SECRET = "correct-horse-battery"
SITE = "examples/narvik"
COMMANDS = (
    f"topics check {SITE}",
    f"topics apply {SITE} --dry-run",
    "topics acl",
    f"alarms {SITE}",
    f"ack x:y:z --site {SITE}",
    f"activate {SITE}",
    f"subscriptions status {SITE}",
    f"users list {SITE}",
    f"journal verify {SITE}",
    f"doctor {SITE}",
    f"record {SITE} -o {{tmp}}/unused.mcap --for 1s",
    f"run recorder {SITE}",
    f"check {SITE}",
)


@pytest.mark.parametrize(
    ("protocol", "as_json"), [("SASL_PLAINTEXT", False), ("SASL_SSL", True), ("nonsense", True)]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_secret_is_shown(
    command: str,
    protocol: str,
    as_json: bool,
    tmp_path: Path,
    unused_port: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", f"127.0.0.1:{unused_port}")
    monkeypatch.setenv("HEADRACE_BROKER__SECURITY_PROTOCOL", protocol)
    monkeypatch.setenv("HEADRACE_BROKER__USERNAME", "headrace-worker")
    monkeypatch.setenv("HEADRACE_BROKER__PASSWORD", SECRET)
    monkeypatch.setenv("HEADRACE_RUN_DIR", str(tmp_path))
    caplog.set_level(logging.DEBUG)
    words = command.format(tmp=tmp_path).split()
    code = run_app([*words, *(["--json"] if as_json else [])])
    output = "".join(capfd.readouterr()) + caplog.text
    assert code in {0, 1, 2, 3}
    assert SECRET not in output
    if (
        protocol == "nonsense"
        and words[:2] != ["topics", "acl"]
        and words[0] not in {"users", "check", "subscriptions"}
    ):
        assert "security_protocol" in output
