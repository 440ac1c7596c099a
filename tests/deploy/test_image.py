"""The Dockerfile, as far as it can be read without an engine, and what goes into the image."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.deployment import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
FINAL = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def runtime_lock() -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "runtime_lock.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def test_what_is_copied_is_there_and_reaches_the_engine() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", DOCKERFILE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatchcase(source, pattern) for pattern in let_in), source
    assert lines[1] == "*"  # nothing else does: no secrets, no run folder


def test_it_runs_as_a_user_of_no_rights_with_a_health_check() -> None:
    assert re.search(r"(?m)^USER 10001:10001$", FINAL)
    assert FINAL.index("USER ") < FINAL.index("ENTRYPOINT")
    assert "HEALTHCHECK" in FINAL


def test_packages_come_by_hash_and_from_whatever_index_the_machine_has() -> None:
    for line in re.findall(r"pip .*?install(?:[^\n]*\\\n)*[^\n]*", DOCKERFILE):
        assert "--require-hashes" in line or "--no-index" in line, line
    assert "://" not in DOCKERFILE


def test_kernels_are_compiled_for_any_processor_and_found_again() -> None:
    build = DOCKERFILE[: DOCKERFILE.rindex("\nFROM ")]
    assert "NUMBA_CPU_NAME=generic" in build
    assert "NUMBA_CPU_NAME=generic" in FINAL
    start = (ROOT / "tools" / "container_start.sh").read_text()
    assert "NUMBA_CACHE_DIR=/opt/headrace/kernels" in build
    assert "/opt/headrace/kernels/." in start


def test_the_image_has_what_runs_and_not_what_develops(runtime_lock: str) -> None:
    found = {canonicalize_name(name) for name in re.findall(r"(?m)^([\w.-]+)==", runtime_lock)}
    assert names(PROJECT["project"]["dependencies"]) <= found
    # what needs a development tool all the same has it as a dependency of its own
    assert not found & {"mypy", "ruff", "pytest", "hypothesis", "polars", "hatchling", "import-linter"}
    assert runtime_lock.count("--hash=") > len(found)
