"""The tools that check a deployment (`tests/support/deploy/install_tools.sh`), and what a chart becomes."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "headrace"
VALUES = ("demo", "one-site", "large")
KUBERNETES = "1.34.0"
"""The version whose schemas `install_tools.sh` lays down."""
NOT_KUBERNETES = "ServiceMonitor,PodMonitor,PrometheusRule"
"""Kinds of the Prometheus operator: Kubernetes has no schema of them. `test_monitoring_…` looks at them."""

Done = subprocess.CompletedProcess[str]


@functools.cache
def tools() -> Path:
    """The folder with helm, kubeconform, compose and schemas. Without Go the tests are skipped."""
    if shutil.which("go") is None:
        pytest.skip("no Go: helm, kubeconform and compose-go can't be built")
    script = ROOT / "tests" / "support" / "deploy" / "install_tools.sh"
    done = subprocess.run(
        ["sh", script],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHON": sys.executable},
    )
    return Path(done.stdout.strip())


def call(*words: str | Path, text: str | None = None) -> Done:
    """One of the tools, by name, and what it says."""
    return subprocess.run(
        [tools() / words[0], *words[1:]], input=text, capture_output=True, text=True, check=False, cwd=ROOT
    )


def template(values: str, *more: str, chart: Path = CHART) -> Done:
    """`helm template` with one of the value files."""
    return call(
        "helm",
        "template",
        "north",
        chart,
        "--kube-version",
        KUBERNETES,
        "--values",
        chart / "ci" / f"{values}.yaml",
        *more,
    )


@functools.cache
def rendered(values: str, *more: str) -> str:
    """The manifests of one of the value files, as text."""
    done = template(values, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def conform(manifests: str) -> Done:
    """What kubeconform says of them; unknown keys and kinds are errors."""
    where = f"{tools()}/schemas/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    return call(
        "kubeconform",
        "-strict",
        "-summary",
        "-skip",
        NOT_KUBERNETES,
        "-schema-location",
        where,
        text=manifests,
    )


def objects(values: str, *kinds: str, more: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """By `Kind/name`, those of the kinds, or all. `more`: options of helm."""
    found = {
        f"{one['kind']}/{one['metadata']['name']}": one
        for one in YAML(typ="safe").load_all(rendered(values, *more))
        if one is not None
    }
    return {name: one for name, one in found.items() if not kinds or one["kind"] in kinds}
