"""docker-compose.yml: sound for Compose, confined, and only the field's roles in the field's network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateways.roles import ROLES
from tests.support.deployment import ROOT, call

FILE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(FILE)["services"]
    return found


def ours(services: dict[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in services.items() if "command" in one}


@pytest.mark.deploy
def test_compose_takes_it() -> None:
    done = call("compose", FILE)
    assert done.returncode == 0, done.stderr
    assert "compose-broken" not in done.stdout


@pytest.mark.deploy
def test_a_key_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(FILE.read_text().replace("    healthcheck:\n", "    healthchek:\n", 1))
    done = call("compose", broken)
    assert done.returncode != 0
    assert "healthchek" in done.stderr + done.stdout


def test_every_role_is_a_service(services: dict[str, Any]) -> None:
    run = {one["command"][1] for one in ours(services).values() if one["command"][0] == "run"}
    assert run == set(ROLES)


def test_roles_run_without_rights_on_a_root_file_system_that_is_read_only(services: dict[str, Any]) -> None:
    for name, one in ours(services).items():
        assert one["read_only"] is True, name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name


def test_its_one_broker_keeps_one_copy_as_it_is_told(services: dict[str, Any]) -> None:
    """It is no broker at a loopback address: without a word no topic would be made."""
    assert services["kafka"]["environment"]["KAFKA_DEFAULT_REPLICATION_FACTOR"] == 1
    for name, one in ours(services).items():
        assert one["environment"]["HEADRACE_BROKER__REPLICATION"] == 1, name


def test_only_gateways_and_actuators_stand_in_the_field(services: dict[str, Any]) -> None:
    assert {name for name, one in services.items() if "field" in one.get("networks", [])} == {
        "opcua",
        "actuators",
    }
    networks = YAML(typ="safe").load(FILE)["networks"]
    assert networks["bus"] == {"internal": True}


def test_every_run_folder_is_a_volume_of_its_own(services: dict[str, Any]) -> None:
    folders: dict[str, list[str]] = {}
    for name, one in ours(services).items():
        for volume in one["volumes"]:
            if volume.endswith(":/var/lib/headrace"):
                folders.setdefault(volume.split(":")[0], []).append(name)
    shared = {volume: names for volume, names in folders.items() if len(names) > 1}
    assert shared.keys() == {"plant"}  # the simulated GPUs are a file that four processes share


def test_a_role_may_have_keys_and_settings_that_no_other_sees(services: dict[str, Any]) -> None:
    for name, one in ours(services).items():
        files = {Path(file["path"]).name: file["required"] for file in one["env_file"]}
        if one["command"][0] != "run" or "plant" in one.get("profiles", []):
            # a demonstration has no secrets; but who makes the topics, and who sends, has to agree on partitions
            assert files == {"headrace.env": False}, name
            continue
        assert files == {"headrace.env": False, f"{name}.env": False}, name
        assert f"${{HEADRACE_SECRETS:-./secrets}}/{name}:/run/secrets/headrace:ro" in one["volumes"], name


def test_edges_are_reached_on_this_machine_alone_until_somebody_says_otherwise(
    services: dict[str, Any],
) -> None:
    ports = {name: one["ports"] for name, one in ours(services).items() if "ports" in one}
    assert ports == {
        "scada": ["${HEADRACE_SCADA_ADDRESS:-127.0.0.1}:4850:4850"],
        "alerts": ["${HEADRACE_ALERTS_ADDRESS:-127.0.0.1}:8470:8470"],
    }


def test_files_that_it_mounts_are_there(services: dict[str, Any]) -> None:
    for name, one in services.items():
        for volume in one.get("volumes", []):
            if volume.startswith("./"):
                assert (ROOT / volume.split(":")[0]).is_file(), f"{name}: {volume}"


def test_prometheus_asks_every_role_where_it_listens(services: dict[str, Any]) -> None:
    (job,) = YAML(typ="safe").load(ROOT / "helm" / "monitoring" / "prometheus.yml")["scrape_configs"]
    asked = {(name, one["port"]) for one in job["dns_sd_configs"] for name in one["names"]}
    listening = set()
    for name, one in ours(services).items():
        if one["command"][0] == "run":
            host = one.get("network_mode", f"service:{name}").removeprefix("service:")
            listening.add((host, int(one["environment"]["HEADRACE_HTTP__LISTEN"].rpartition(":")[2])))
    assert asked == listening
