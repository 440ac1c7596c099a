"""The chart of helm/headrace: sound for Kubernetes, and as strict as docs/deployment.md says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateways.roles import ROLES
from streams.settings import PREFIX, _unknown_environment
from tests.support.deployment import CHART, VALUES, call, conform, objects, rendered, template

pytestmark = pytest.mark.deploy
WORKLOADS = ("StatefulSet", "Deployment", "DaemonSet", "Job")
NAME = "north-headrace"


def pods(values: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name of the workload, its pod's spec)."""
    for name, one in objects(values, *WORKLOADS).items():
        yield name, one["spec"]["template"]["spec"]


def containers(values: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name of workload and container, container)."""
    for name, spec in pods(values):
        for container in spec["containers"]:
            yield f"{name}/{container['name']}", container


@pytest.mark.parametrize("values", VALUES)
def test_helm_and_kubeconform_find_nothing(values: str) -> None:
    linted = call("helm", "lint", "--strict", CHART, "--values", CHART / "ci" / f"{values}.yaml")
    assert linted.returncode == 0, linted.stdout + linted.stderr
    checked = conform(rendered(values))
    assert checked.returncode == 0, checked.stdout
    assert "Invalid: 0, Errors: 0" in checked.stdout


def test_a_broken_manifest_is_found(tmp_path: Path) -> None:
    chart = tmp_path / "headrace"
    shutil.copytree(CHART, chart)
    file = chart / "templates" / "roles.yaml"
    file.write_text(file.read_text().replace("podManagementPolicy:", "podManagmentPolicy:"))
    checked = conform(template("demo", chart=chart).stdout)
    assert checked.returncode == 1
    assert "additional properties 'podManagmentPolicy' not allowed" in checked.stdout


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--set", "roles.worker.replica=3"), "replica"),
        (("--set", "kafka.bootstrap=kafka"), "kafka"),
        (("--set", "http.tokenSecret.name="), "http"),
        (("--set", "networkPolicies.kafka.to=null"), "networkPolicies"),
        (("--set", "kafka.securityProtocol=SASL_SSL"), "passwordSecret"),
        (("--set", "site.configMap.name=other"), "exactly one of files, configMap.name and imageFolder"),
        (("--set", "site.imageFolder="), "exactly one of files, configMap.name and imageFolder"),
        (("--set", "roles.worker.settings.lower=1"), "lower"),
    ],
)
def test_wrong_values_are_refused_in_words(more: tuple[str, ...], words: str) -> None:
    done = template("demo", *more)
    assert done.returncode != 0
    assert words in done.stderr


@pytest.mark.parametrize("values", VALUES)
def test_every_container_is_as_confined_as_kubernetes_can(values: str) -> None:
    for name, spec in pods(values):
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        # else a service called headrace becomes HEADRACE_… variables, which no process of ours starts with
        assert spec["enableServiceLinks"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
    for name, container in containers(values):
        context = container["securityContext"]
        assert context == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
        assert container["resources"]["limits"].keys() == {"memory"}, name


@pytest.mark.parametrize("values", VALUES)
def test_every_role_is_asked_whether_it_lives_and_works(values: str) -> None:
    for name, container in containers(values):
        if container["name"] == "topics":
            continue
        assert container["args"][0] == "run", name
        assert container["args"][1] in ROLES, name
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez", name
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz", name
        port = container["readinessProbe"]["httpGet"]["port"]
        listen = {one["name"]: one.get("value") for one in container["env"]}["HEADRACE_HTTP__LISTEN"]
        assert listen == f"0.0.0.0:{port}", name


@pytest.mark.parametrize("values", VALUES)
def test_every_setting_is_one_that_a_process_knows(values: str) -> None:
    for name, container in containers(values):
        given = {one["name"]: "" for one in container["env"] if one["name"].startswith(PREFIX)}
        assert not _unknown_environment(given), name


def test_no_secret_stands_in_a_manifest() -> None:
    assert not objects("one-site", "Secret")
    for name, container in containers("one-site"):
        for one in container["env"]:
            assert not one["name"].endswith("__PASSWORD"), name


def test_a_role_sees_the_password_of_its_own_user_alone() -> None:
    for name, spec in pods("one-site"):
        roles = [c["args"][1] if c["args"][0] == "run" else "topics" for c in spec["containers"]]
        passwords = [
            one for one in spec["volumes"] if one.get("secret", {}).get("secretName") == "headrace-kafka"
        ]
        assert [one["secret"]["items"][0]["key"] for one in passwords] == roles, name


def test_what_must_outlive_a_pod_is_on_a_disk_and_what_must_not_is_none() -> None:
    disks = {
        name: [
            claim["spec"]["resources"]["requests"]["storage"]
            for claim in one["spec"].get("volumeClaimTemplates", [])
        ]
        for name, one in objects("one-site", "StatefulSet").items()
    }
    with_disk = {name.removeprefix(f"StatefulSet/{NAME}-") for name, sizes in disks.items() if sizes}
    assert with_disk == {"opcua", "actuators", "scada", "recorder", "alerts"}
    for name, spec in pods("one-site"):
        runs = [one for one in spec["volumes"] if one["name"] == "run"]
        assert len(runs) == (0 if disks.get(name) else 1), name


def test_a_worker_is_known_by_the_name_of_its_pod() -> None:
    worker = objects("large", "StatefulSet")[f"StatefulSet/{NAME}-worker"]
    assert worker["spec"]["replicas"] == 6
    args = worker["spec"]["template"]["spec"]["containers"][0]["args"]
    assert args[args.index("--name") + 1] == "$(POD_NAME)"
    assert (
        objects("large", "PodDisruptionBudget")[f"PodDisruptionBudget/{NAME}-worker"]["spec"][
            "maxUnavailable"
        ]
        == 1
    )


def test_files_of_the_site_lie_where_the_site_file_looks_for_them() -> None:
    data = objects("one-site", "ConfigMap")[f"ConfigMap/{NAME}-site"]["data"]
    volume = next(
        one
        for one in dict(pods("one-site"))[f"StatefulSet/{NAME}-worker"]["volumes"]
        if one["name"] == "site"
    )
    paths = {item["path"]: data[item["key"]] for item in volume["configMap"]["items"]}
    assert paths.keys() == {"site.yaml", "rules/cooling.yaml"}
    assert paths["site.yaml"].startswith("name: north")


def test_only_actuators_reach_devices_and_only_gateways_their_sources() -> None:
    devices, sources = "10.20.8.0/24", "10.20.0.0/16"
    reached = dict[str, set[str]]()
    for one in objects("large", "NetworkPolicy").values():
        component = one["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component", "every role")
        for rule in one["spec"].get("egress", []):
            assert rule.get("to"), "without peers a rule lets everything out"
            for peer in rule["to"]:
                if "ipBlock" in peer:
                    reached.setdefault(peer["ipBlock"]["cidr"], set()).add(component)
    assert reached[devices] == {"actuators"}
    assert reached[sources] == {"opcua"}
    assert reached["10.10.0.0/24"] == {"every role"}
    assert reached["10.40.0.5/32"] == {"alerts"}


def test_a_conduit_that_nobody_named_is_not_there() -> None:
    policies = objects("demo", "NetworkPolicy")
    assert policies.keys() == {f"NetworkPolicy/{NAME}-deny", f"NetworkPolicy/{NAME}-bus"}
    deny = policies[f"NetworkPolicy/{NAME}-deny"]["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not {"egress", "ingress"} & deny.keys()
    assert "ingress" not in policies[f"NetworkPolicy/{NAME}-bus"]["spec"]


def test_gpus_are_read_on_each_host_under_its_nodes_name() -> None:
    spec = dict(pods("one-site"))[f"DaemonSet/{NAME}-nvml"]
    assert spec["runtimeClassName"] == "nvidia"
    (container,) = spec["containers"]
    assert "source=nvml-$(NODE_NAME)" in container["args"]
    names = [one["name"] for one in container["env"]]
    assert {"NODE_NAME", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"} <= set(names)
    assert "nvidia.com/gpu" not in str(container["resources"])  # reading takes no GPU away from its users


def test_the_simulated_plant_stands_in_for_the_field() -> None:
    names = objects("demo", *WORKLOADS)
    assert not {f"StatefulSet/{NAME}-opcua", f"StatefulSet/{NAME}-actuators"} & names.keys()
    plant = dict(pods("demo"))[f"Deployment/{NAME}-plant"]
    assert [one["name"] for one in plant["containers"]] == ["plant", "opcua", "nvml", "actuators"]
    ports = [one["readinessProbe"]["httpGet"]["port"] for one in plant["containers"]]
    assert len(set(ports)) == 4  # they share one address


def test_monitoring_is_only_there_when_it_is_asked_for_and_shows_the_token() -> None:
    kinds = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
    assert not objects("demo", *kinds)
    found = objects("one-site", *kinds)
    (endpoint,) = found[f"ServiceMonitor/{NAME}"]["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == {"name": "headrace-http", "key": "token"}
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "headrace"}]
    (group,) = found[f"PrometheusRule/{NAME}"]["spec"]["groups"]
    (gone,) = [rule for rule in group["rules"] if rule["alert"] == "HeadraceRoleGone"]
    named = ("actuators", "alerts", "nvml", "opcua", "recorder", "scada")
    assert gone["expr"].split(" or ") == [f'absent(headrace_info{{role="{name}"}})' for name in named]
    assert gone["annotations"] == {"summary": "no {{ $labels.role }} says anything"}
    assert objects("one-site", "ConfigMap")[f"ConfigMap/{NAME}-dashboard"]["data"][
        "headrace.json"
    ].startswith("{")
