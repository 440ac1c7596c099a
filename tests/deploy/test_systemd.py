"""examples/systemd: units that systemd takes, with command lines, settings and secrets that Headrace has."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from pydantic import BaseModel

from gateways.cli.main import app
from gateways.roles import ROLES
from streams.settings import PREFIX, Settings, _unknown_environment, load_settings
from tests.support.deployment import ROOT

FOLDER = ROOT / "examples" / "systemd"
UNIT = FOLDER / "headrace@.service"
DROP_INS = sorted(FOLDER.glob("*.service.d/*.conf"))
IN_PLANTS = sorted(ROLES.keys() - {"plant"})  # that one is the demonstration's
CREDENTIALS = "/run/credentials/unit"
NO_SECRETS = {
    "run_dir", "broker.ca_file", "broker.certificate_file", "commands.trusted", "recorder.folder", "scada.pki",
}  # fmt: skip
"""Files and folders whose text anybody may know, or that a role makes itself."""
RENEWED = {"broker.token_file"}
"""Read at each connection: a credential is a copy, made when the unit starts."""


class Line(NamedTuple):
    section: str
    key: str
    value: str


def lines(file: Path) -> Iterator[Line]:
    section = ""
    for line in file.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            yield Line(section, key, value)


def values(file: Path, key: str) -> list[str]:
    return [line.value for line in lines(file) if line.key == key]


def of_role(text: str, role: str) -> str:
    """As systemd fills a unit in, on the host gpu-17.example.org."""
    for letter, word in {"i": role, "d": CREDENTIALS, "H": "gpu-17.example.org", "l": "gpu-17"}.items():
        text = text.replace(f"%{letter}", word)
    return text


def drop_ins(role: str) -> list[Path]:
    return [
        file for file in DROP_INS if file.parent.name in ("headrace@.service.d", f"headrace@{role}.service.d")
    ]


def variables(file: Path, role: str = "", with_proposed: bool = True) -> dict[str, str]:
    """Those of an env file, or of `Environment=`; `with_proposed`: what is commented out as well."""
    if file.suffix != ".env":
        words = [word for value in values(file, "Environment") for word in shlex.split(of_role(value, role))]
    else:
        found = re.findall(
            r"(?m)^#?([A-Z_]+=.*)$" if with_proposed else r"(?m)^([A-Z_]+=.*)$", file.read_text()
        )
        words = [word for line in found for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words)


def secrets(model: type[BaseModel] = Settings, before: str = "") -> Iterator[str]:
    """The settings that name a file, but for those that are no secret."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from secrets(field.annotation, f"{before}{name}.")
        elif "Path" in str(field.annotation) and f"{before}{name}" not in NO_SECRETS | RENEWED:
            yield f"{before}{name}"


def test_every_role_has_a_user_an_env_file_and_a_port_of_its_own() -> None:
    users = re.findall(r"(?m)^u headrace-(\w+) -:headrace ", (FOLDER / "sysusers.conf").read_text())
    assert sorted(users) == IN_PLANTS
    assert {file.stem for file in FOLDER.glob("*.env")} == {"headrace", *IN_PLANTS}
    assert values(UNIT, "User") == ["headrace-%i"]
    ports = {}
    for role in IN_PLANTS:
        said = variables(FOLDER / f"{role}.env", with_proposed=False)
        (state,) = values(UNIT, "StateDirectory")
        assert said["HEADRACE_RUN_DIR"] == f"/var/lib/{of_role(state, role)}"
        ports[role] = said["HEADRACE_HTTP__LISTEN"]
    assert len(set(ports.values())) == len(IN_PLANTS)
    assert f"http://{ports['worker']}/readyz" in (ROOT / "docs" / "operations.md").read_text()


@pytest.mark.parametrize("role", IN_PLANTS)
def test_the_command_line_takes_the_unit_s_words(role: str) -> None:
    words = [of_role(value, role) for file in (UNIT, *drop_ins(role)) for value in values(file, "ExecStart")]
    group: Any = typer.main.get_command(app)
    for one in filter(None, words):
        program, called, *rest = shlex.split(one)
        assert (program, called) == ("/opt/headrace/bin/headrace", "run")
        given: Mapping[str, Any] = group.commands["run"].make_context("run", rest).params
        assert (given["role"], given["name"]) == (role, f"{role}-gpu-17.example.org")
        assert list(given["option"]) == (["source=nvml-gpu-17"] if "--option" in one else [])


@pytest.mark.parametrize("role", IN_PLANTS)
@pytest.mark.parametrize("with_proposed", [False, True])
def test_the_settings_are_some_that_there_are(
    role: str, with_proposed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = variables(FOLDER / "headrace.env", with_proposed=with_proposed)
    found |= variables(FOLDER / f"{role}.env", with_proposed=with_proposed)
    for file in (UNIT, *(drop_ins(role) if with_proposed else ())):
        found |= variables(file, role)
    assert not _unknown_environment(found)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.run_dir == Path(f"/var/lib/headrace/{role}")
    if with_proposed:
        assert settings.broker.username == f"headrace-{role}"


@pytest.mark.parametrize("setting", list(secrets()))
def test_every_secret_comes_as_a_credential(setting: str) -> None:
    variable = f"{PREFIX}{setting.replace('.', '__')}".upper()
    found = [file for file in DROP_INS if variable in variables(file, "worker")]
    assert found, f"no drop-in sets {variable}"
    for file in found:
        loaded = dict(value.split(":", 1) for value in values(file, "LoadCredential"))
        said = variables(file, "worker")[variable]
        assert set(re.findall(f"{CREDENTIALS}/([\\w-]+)", said)) <= loaded.keys()
        assert CREDENTIALS in said
        assert all(path.startswith("/etc/headrace/secrets/") for path in loaded.values())


def test_a_role_that_ends_is_started_again_for_ever_and_one_that_hangs_is_ended() -> None:
    said = {(line.section, line.key): line.value for line in lines(UNIT)}
    assert said["Unit", "StartLimitIntervalSec"] == "0"
    assert said["Service", "Restart"] == "always"
    assert (said["Service", "Type"], said["Service", "WatchdogSec"]) == ("notify", "60")


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze: units are not verified"
)
@pytest.mark.parametrize("broken", [False, True])
def test_systemd_takes_units_and_drop_ins(tmp_path: Path, broken: bool) -> None:
    folder = tmp_path / "units"
    shutil.copytree(FOLDER, folder)
    for file in (folder / "headrace@.service", *folder.glob("*.service.d/*.conf")):
        file.write_text(file.read_text().replace("/opt/headrace/bin/headrace", "/bin/true"))
    if broken:
        file = folder / "headrace@scada.service.d" / "access-key.conf"
        file.write_text(file.read_text().replace("LoadCredential=", "LoadCredentials="))
    units = [folder / f"headrace@{role}.service" for role in IN_PLANTS]
    for unit in units:
        shutil.copy(folder / "headrace@.service", unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    of_ours = [line for line in done.stderr.splitlines() if str(folder) in line or "headrace" in line]
    assert bool(of_ours) == broken, done.stderr


@pytest.mark.skipif(
    shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers: users are not made"
)
def test_systemd_makes_the_users(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", FOLDER / "sysusers.conf"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    groups = dict(line.split(":")[::2] for line in (tmp_path / "etc" / "group").read_text().splitlines())
    made = {}
    for line in (tmp_path / "etc" / "passwd").read_text().splitlines():
        name, _, _, group, *_ = line.split(":")
        made[name] = group
    assert made == {f"headrace-{role}": groups["headrace"] for role in IN_PLANTS}
