"""The import contracts of pyproject.toml hold, and each of them breaks when an import that it forbids is planted."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
LAYERS = "rules <- streams <- gateways"
PURE = "rules/ is pure"
SIGNATURES = "signatures are the business of rules/access"
ONE_PLACE = "one place for Faust, one for aiokafka"
FACES = "a gateway talks to the log"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the three packages and their contracts."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("rules", "streams", "gateways"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def lint(tree: Path) -> tuple[int, list[str]]:
    """(exit code, names of the contracts that are broken)."""
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo"],
        cwd=tree, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert any(line.startswith("Contracts: ") for line in lines), done.stdout + done.stderr
    return done.returncode, [line.partition(" BROKEN")[0] for line in lines if " BROKEN" in line]


def test_the_contracts_hold(tree: Path) -> None:
    assert lint(tree) == (0, [])


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("rules/engine/engine.py", "from streams import topics", LAYERS),
        ("streams/ticker.py", "import gateways.broker", LAYERS),
        ("rules/engine/engine.py", "from time import time_ns", PURE),
        ("rules/site/parse.py", "def read():\n    import os", PURE),
        ("rules/engine/engine.py", "import cryptography.exceptions", SIGNATURES),
        ("gateways/opcua/gateway.py", "from aiokafka.errors import KafkaError", ONE_PLACE),
        ("streams/ticker.py", "import faust", ONE_PLACE),
        ("gateways/opcua/gateway.py", "from streams.worker import role", FACES),
    ],
)
def test_a_planted_import_breaks_its_contract(tree: Path, module: str, line: str, contract: str) -> None:
    path = tree / module
    path.write_text(f"{path.read_text()}\n{line}\n")
    code, broken = lint(tree)
    assert code == 1
    assert len(broken) == 1
    assert broken[0].startswith(contract)
