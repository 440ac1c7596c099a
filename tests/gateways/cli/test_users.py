"""`headrace users`: a file of users made step by step; and a running site that is open, and then is not."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from gateways.access.users import Users
from gateways.broker import EmbeddedBroker
from gateways.cli.doctor import checks_of
from gateways.cli.main import run_app
from tests.gateways.cli.test_alarm_actions import R1, R2, folder, headrace, running

__all__ = ["folder"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HEADRACE_KEY", raising=False)
    return tmp_path / "home"


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert run_app(["users", *words, "--json"]) == code
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_a_file_of_users_from_nothing(
    folder: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = ("--site", str(folder))
    [begun] = said(capsys, "init", str(folder), "--name", "ada")
    assert (begun["made"], begun["name"]) == (True, "ada")
    key = home / ".config" / "headrace" / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == stat.S_IMODE((folder / "users.yaml").stat().st_mode) == 0o600
    [edge] = said(capsys, "key", "-o", str(folder / "scada.pem"))
    said(
        capsys, "add", "scada", "--role", "operator", "--public-key", edge["public"], "--speaks-for", "all", *site
    )  # fmt: skip
    typed(monkeypatch, "correct horse battery\n")
    [eva] = said(
        capsys, "add", "eva", "--role", "operator", "--password", "--login", "eva@example.org", *site
    )
    assert eva["findings"] == []
    (folder / "users.yaml").write_text((folder / "users.yaml").read_text() + "# until spring\n")
    said(capsys, "add", "vic", "--role", "viewer", *site)
    assert "# until spring" in (folder / "users.yaml").read_text()
    listed = said(capsys, "list", str(folder))
    assert [(one["name"], one["role"], one["password"]) for one in listed] == [
        ("ada", "admin", False), ("scada", "operator", False), ("eva", "operator", True), ("vic", "viewer", False),
    ]  # fmt: skip
    assert listed[0]["keys"] == [begun["public_key"]]
    assert listed[1]["speaks_for"] == ["*"]
    assert Users(folder).authenticate("eva", "correct horse battery") is not None
    assert run_app(["users", "list", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert "argon2" not in out + err + json.dumps(listed)


def test_a_user_who_can_do_nothing_and_a_file_that_others_read_are_warned_of(
    folder: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = ("--site", str(folder))
    said(capsys, "init", str(folder), "--name", "ada")
    [vic] = said(capsys, "add", "vic", "--role", "operator", *site)
    assert [one["message"] for one in vic["findings"]] == [
        "nobody can act as 'vic', who has no key, password, certificate or login"
    ]
    (folder / "users.yaml").chmod(0o644)
    typed(monkeypatch, "correct horse battery\n")
    assert run_app(["users", "add", "eva", "--role", "operator", "--password", *site]) == 0
    assert "chmod 600" in capsys.readouterr().err
    assert run_app(["users", "list", str(folder)]) == 0
    assert "chmod 600" in capsys.readouterr().err
    assert [one.word for one in checks_of(folder) if one.name == "users"] == ["warning"]


def test_what_is_wrong_changes_no_file(
    folder: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = ("--site", str(folder))
    said(capsys, "init", str(folder), "--name", "ada")
    before = (folder / "users.yaml").read_bytes()
    for words, reason in [
        (["init", str(folder)], "is there already"),
        (["add", "ada", "--role", "viewer", *site], "there is a user 'ada' already"),
        (["add", "a:b", "--role", "viewer", *site], "'a:b' is no name"),
        (["add", "eva", "--role", "king", *site], "king"),
        (["add", "eva", "--role", "viewer", "--speaks-for", "nobody", *site], "there is no user 'nobody'"),
        (["add", "eva", "--role", "viewer", "--public-key", str(folder / "site.yaml"), *site], "no public"),
        (
            ["add", "eva", "--role", "viewer", "--certificate", str(folder / "site.yaml"), *site],
            "no certificate",
        ),
        (
            [
                "add",
                "eva",
                "--role",
                "viewer",
                *site,
                "--public-key",
                str(home / ".config/headrace/key.pem.pub"),
            ],
            "'ada''s as well",
        ),
    ]:
        assert reason in said(capsys, *words, code=2)[0]["error"]
    typed(monkeypatch, "short\n")
    [short] = said(capsys, "add", "eva", "--role", "viewer", "--password", *site, code=2)
    assert "12 to 1024 characters" in short["error"]
    assert (folder / "users.yaml").read_bytes() == before


def test_a_hash_is_printed_and_the_password_is_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "correct horse battery\n")
    [answer] = said(capsys, "hash-password")
    assert answer["password"].startswith("$argon2id$")
    assert "horse" not in json.dumps(answer)


async def test_a_site_is_open_until_its_users_rule(
    embedded_broker: EmbeddedBroker, folder: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "init", str(folder), "--name", "ada")
    said(capsys, "key", "-o", str(home / "vic.pem"))
    said(
        capsys, "add", "vic", "--role", "viewer", "--public-key", str(home / "vic.pem.pub"), "--site", str(folder)
    )  # fmt: skip
    site_text = (folder / "site.yaml").read_text()
    units = site_text.index("  hall:")
    (folder / "site.yaml").write_text(site_text[:units])  # one worker answers for one unit
    async with running(embedded_broker) as alarms:
        code, answers, _ = await headrace(folder, embedded_broker, "ack", R1, "--key", str(home / "vic.pem"))
        assert code == 2  # --by eva, and the key is vic's
        code, [applied], _ = await headrace(folder, embedded_broker, "users", "apply", str(folder), by=None)
        assert code == 0
        assert applied["units"]["row"]["first"] is True
        code, answers, _ = await headrace(folder, embedded_broker, "ack", R1, by="vic", key=home / "vic.pem")
        assert (code, answers[0]["reason"]) == (1, "'vic' may not do that: no acknowledge for role viewer")
        code, answers, _ = await headrace(folder, embedded_broker, "ack", R1, R2, by=None)
        assert (code, {one["kind"] for one in answers}) == (0, {"alarm-acknowledged"})
        assert alarms[-1].by == "ada"
        code, answers, _ = await headrace(
            folder, embedded_broker, "users", "apply", str(folder), by=None, key=home / "vic.pem"
        )
        assert (code, answers[0]["units"]["row"]["reason"]) == (1, "its signer is no admin")
