"""The chart of helm/headrace: sound for Kubernetes, and as strict as docs/deployment.md says."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gateways.roles import ROLES
from streams.rights import RIGHTS
from streams.settings import PREFIX, _unknown_environment
from tests.support.deployment import CHART, VALUES, call, conform, objects, rendered, template

pytestmark = pytest.mark.deploy
WORKLOADS = ("StatefulSet", "Deployment", "DaemonSet", "Job")
NAME = "north-headrace"


def pods(values: str, *more: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name of the workload, its pod's spec)."""
    for name, one in objects(values, *WORKLOADS, more=more).items():
        yield name, one["spec"]["template"]["spec"]


def changed(*more: str) -> set[str]:
    """Whose pods of one-site start anew when helm is given this in addition."""
    before = objects("one-site", *WORKLOADS)
    after = objects("one-site", *WORKLOADS, more=more)
    names = {
        name for name, one in after.items() if one["spec"]["template"] != before[name]["spec"]["template"]
    }
    return {name.rpartition(f"{NAME}-")[2] for name in names}


def containers(values: str, *more: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name of workload and container, container)."""
    for name, spec in pods(values, *more):
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
        (("--set", "roles.worker.spread=Never"), "spread"),
        (("--set", "scadaService.externalTrafficPolicy=Some"), "externalTrafficPolicy"),
        (
            ("--set", "roles.alerts.enabled=true,settings.HEADRACE_SPOOL__LIMIT_MB=4096"),
            "alerts: spool.limit_mb is 4096, and its disk has 1Gi",
        ),
        (
            ("--set", "roles.recorder.disk.size=400Mi"),
            "recorder: spool.limit_mb is 512, and its disk has 400Mi",
        ),
        (
            ("--set", "nvml.enabled=true,nvml.settings.HEADRACE_SPOOL__LIMIT_MB=1100"),
            "nvml: spool.limit_mb is 1100, and its disk has 1Gi",
        ),
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
        if container["name"] in ("topics", "operator"):
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


def test_a_setting_of_all_is_one_of_the_job_that_makes_topics_too() -> None:
    for name, container in containers("demo", "--set-string", "settings.HEADRACE_BROKER__PARTITIONS=12"):
        given = [one.get("value") for one in container["env"] if one["name"] == "HEADRACE_BROKER__PARTITIONS"]
        assert given == ["12"], name


def test_no_secret_stands_in_a_manifest() -> None:
    assert not objects("one-site", "Secret")
    for name, container in containers("one-site"):
        for one in container["env"]:
            assert not one["name"].endswith("__PASSWORD"), name


def test_a_role_sees_the_password_of_its_own_user_alone() -> None:
    for name, spec in pods("one-site"):
        roles = [container["name"] for container in spec["containers"]]
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
    assert gone["annotations"]["summary"] == "no {{ $labels.role }} says anything"
    assert objects("one-site", "ConfigMap")[f"ConfigMap/{NAME}-dashboard"]["data"][
        "headrace.json"
    ].startswith("{")


def test_a_rule_that_changes_starts_nobody_anew_who_acts_or_reads_the_plant() -> None:
    assert changed("--set", "site.files.rules/cooling\\.yaml=rules: [] ") == {"alerts", "operator"}
    assert changed("--set", "site.files.rules/gpu\\.yaml=rules: [] ") == {
        "alerts",
        "operator",
        "worker",
        "recorder",
        "scada",
    }


def test_a_site_file_that_changes_starts_all_anew() -> None:
    everybody = {name.rpartition(f"{NAME}-")[2] for name in objects("one-site", *WORKLOADS)}
    # the Job has the file itself, by a name that stays
    assert changed("--set", "site.files.site\\.yaml=name: north") == everybody - {"topics"}


def test_a_role_is_upgraded_by_itself_and_the_chart_starts_nothing_anew() -> None:
    assert changed("--set", "roles.recorder.image.tag=0.2.0") == {"recorder"}
    assert changed("--set", "nvml.image.tag=0.2.0,operator.image.tag=0.2.0,topics.image.tag=0.2.0") == {
        "nvml",
        "operator",
        "topics",
    }
    digest = f"sha256:{'a' * 64}"
    image = dict(pods("large", "--set", f"roles.worker.image.tag=0.2.0,image.digest={digest}"))[
        f"StatefulSet/{NAME}-worker"
    ]["containers"][0]["image"]
    assert image == "registry.example.net/headrace:0.2.0"
    for name, one in objects("one-site", *WORKLOADS).items():
        assert (
            not {"app.kubernetes.io/version", "helm.sh/chart"}
            & one["spec"]["template"]["metadata"]["labels"].keys()
        ), name


def test_topics_are_made_before_anything_else_and_need_nothing_of_the_release() -> None:
    hooks = {
        name: one
        for name, one in objects("one-site").items()
        if "helm.sh/hook" in one["metadata"].get("annotations", {})
    }
    assert hooks.keys() == {f"Job/{NAME}-topics", f"ConfigMap/{NAME}-topics-site"}
    for one in hooks.values():
        assert one["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert one["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation"
    assert int(hooks[f"ConfigMap/{NAME}-topics-site"]["metadata"]["annotations"]["helm.sh/hook-weight"]) < 0
    spec = hooks[f"Job/{NAME}-topics"]["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "default"
    configs = [one["configMap"] for one in spec["volumes"] if "configMap" in one]
    assert [one["name"] for one in configs] == [f"{NAME}-topics-site"]
    keys = hooks[f"ConfigMap/{NAME}-topics-site"]["data"].keys()
    assert {item["key"] for item in configs[0]["items"]} == keys == {"site.yaml"}


def test_people_have_a_pod_with_their_own_user_and_every_file_of_the_site() -> None:
    spec = dict(pods("one-site"))[f"Deployment/{NAME}-operator"]
    (container,) = spec["containers"]
    variables = {one["name"]: one.get("value") for one in container["env"]}
    assert variables["HEADRACE_BROKER__USERNAME"] == "headrace-operator"
    assert {"operator", "topics"} <= RIGHTS.keys()
    site = next(one for one in spec["volumes"] if one["name"] == "site")
    assert {item["path"] for item in site["configMap"]["items"]} == {"site.yaml", "rules/cooling.yaml"}
    assert "livenessProbe" not in container  # it only waits
    assert f"Deployment/{NAME}-operator" not in objects("one-site", more=("--set", "operator.enabled=false"))


def test_scada_clients_keep_their_addresses() -> None:
    def service(*more: str) -> Any:
        return objects("large", "Service", more=more)[f"Service/{NAME}-scada-opcua"]["spec"]

    assert service()["externalTrafficPolicy"] == "Local"
    assert (
        service("--set", "scadaService.externalTrafficPolicy=Cluster")["externalTrafficPolicy"] == "Cluster"
    )
    assert "externalTrafficPolicy" not in service("--set", "scadaService.type=ClusterIP")


def test_links_that_acknowledge_have_a_service() -> None:
    (port,) = objects("large", "Service")[f"Service/{NAME}-alerts-edge"]["spec"]["ports"]
    (container,) = dict(pods("large"))[f"StatefulSet/{NAME}-alerts"]["containers"]
    assert port["port"] == 8470
    assert {"name": port["targetPort"], "containerPort": 8470} in container["ports"]
    assert f"Service/{NAME}-alerts-edge" not in objects("demo")


def test_two_tickers_or_workers_do_not_go_with_one_host() -> None:
    for role in ("ticker", "worker"):
        (spread,) = dict(pods("one-site"))[f"StatefulSet/{NAME}-{role}"]["topologySpreadConstraints"]
        assert spread["topologyKey"] == "kubernetes.io/hostname"
        assert spread["whenUnsatisfiable"] == "DoNotSchedule"
        assert spread["nodeTaintsPolicy"] == "Honor"  # else a host that is lost keeps its pod from another
    assert not [name for name, spec in pods("demo") if "topologySpreadConstraints" in spec]


def test_what_the_notes_say_to_run_is_there(tmp_path: Path) -> None:
    # `helm install --dry-run` would show them, and asks a cluster
    chart = tmp_path / "headrace"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "NOTES.txt").rename(chart / "notes")
    (chart / "templates" / "notes.yaml").write_text(
        "kind: Notes\nmetadata: {name: notes}\ntext: {{ tpl (.Files.Get `notes`) . | toJson }}"
    )
    (notes,) = YAML(typ="safe").load_all(
        template("large", "--show-only", "templates/notes.yaml", chart=chart).stdout
    )
    said = re.findall(r"(?:exec|logs|status) (deploy|job)/(\S+)", notes["text"])
    assert len(said) == 5
    kinds = {"deploy": "Deployment", "job": "Job"}
    assert {f"{kinds[kind]}/{name}" for kind, name in said} <= objects("large", *WORKLOADS).keys()
    assert "another name (site.configMap.name)" in notes["text"]
    assert "WARNING" not in notes["text"]
