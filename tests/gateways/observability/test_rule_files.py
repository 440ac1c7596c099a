"""The rules of Prometheus and the dashboard of Grafana: every metric in them exists, and promtool agrees."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateways.observability.exposition import OWN
from gateways.observability.metric import Metric
from gateways.observability.table import TABLE

ROOT = Path(__file__).parents[3]
FILES = ROOT / "helm" / "headrace" / "files"
RULES = FILES / "prometheus-rules.yaml"
DASHBOARD = FILES / "grafana-dashboard.json"
TABLED: dict[str, Metric] = {one.full_name: one for table in TABLE.values() for one in table}
OF_THE_PROCESS = {
    "process_start_time_seconds", "process_open_fds", "process_max_fds", "process_resident_memory_bytes",
    "process_cpu_seconds_total",
}  # fmt: skip


def expressions() -> Iterator[str]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_metric_and_label_value_exists(expression: str) -> None:
    names = set(re.findall(r"\b(?:headrace|process)_[a-z0-9_]+", expression))
    assert names or "up{" in expression
    assert names <= TABLED.keys() | OWN.keys() | OF_THE_PROCESS
    for name, selector in re.findall(r"\b(headrace_[a-z0-9_]+)\{([^}]*)\}", expression):
        known = (
            set(TABLED[name].labels)
            if name in TABLED
            else {"role", "name", "stage", "reason", "unit", "source", "part"}
        )
        assert set(re.findall(r"(\w+)\s*[!=]", selector)) <= known | {"job", "instance"}


@pytest.mark.parametrize("mark", ["stage", "reason"])
def test_stages_and_reasons_in_rules_exist(mark: str) -> None:
    known = {getattr(one, mark) for one in TABLED.values()}
    assert set(re.findall(rf'{mark}!?="(\w+)"', RULES.read_text())) <= known


def promtool(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    if (found := shutil.which("promtool")) is None:
        pytest.skip("no promtool (package prometheus)")
    return subprocess.run(
        [found, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )


def test_promtool_takes_the_rules() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_fire_when_they_should() -> None:
    done = promtool("test", "rules", "prometheus-rules-test.yaml", folder=Path(__file__).parent)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("has_alertmanager", [False, True])
def test_promtool_takes_the_settings_of_compose(tmp_path: Path, has_alertmanager: bool) -> None:
    """As they are, and with the lines of an Alertmanager, which are a comment."""
    text = (ROOT / "helm" / "monitoring" / "prometheus.yml").read_text()
    if has_alertmanager:
        text = re.sub(r"^# (alerting:|  .*)$", r"\1", text, flags=re.MULTILINE)
        assert yaml.safe_load(text)["alerting"]["alertmanagers"]
    (tmp_path / "prometheus.yml").write_text(text)
    done = promtool("check", "config", "--syntax-only", "prometheus.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_documented() -> None:
    page = (ROOT / "docs" / "observability.md").read_text()
    groups: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    assert not [rule["alert"] for group in groups for rule in group["rules"] if rule["alert"] not in page]


def test_every_alert_names_a_section_that_is_there() -> None:
    groups: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert not [rule["alert"] for rule in rules if "runbook" not in rule["annotations"]]
    for rule in rules:
        page, _, section = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
        # as sites that show Markdown call them
        names = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert section in names, rule["alert"]


def test_every_stage_and_reason_is_documented_where_it_belongs() -> None:
    page = (ROOT / "docs" / "observability.md").read_text()
    _, lost, not_evaluated = re.split(r"### `headrace_(?:lost|not_evaluated)_total`", page)
    for part, words in (
        (lost, {one.stage for one in TABLED.values()}),
        (not_evaluated.partition("\n## ")[0], {one.reason for one in TABLED.values()}),
    ):
        assert set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)) == words - {""}


def test_panels_have_a_place_and_an_id_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
