"""The contract over the fake library through nvidia-ml-py, and the library as any other program meets it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateways.nvml import fake
from gateways.nvml.library import open_nvml
from gateways.nvml.simulated import SimulatedNvml
from gateways.nvml.state import ENVIRONMENT, NvmlState
from rules.errors import UnreachableError
from tests.gateways.nvml.hosts import GPUS

ROOT = Path(__file__).resolve().parents[3]
needs_compiler = pytest.mark.skipif(
    fake.compiler() is None, reason="no C compiler: the simulated face stands in, under the same contract"
)


def run_python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@needs_compiler
def test_the_contract_holds_through_nvidia_ml_py():
    contract = "tests/gateways/nvml/test_nvml_contract.py"
    ran = run_python("-m", "pytest", "-p", "no:cacheprovider", contract, NVML_CONTRACT_FACE="fake library")
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert "skipped" not in ran.stdout
    assert "no tests ran" not in ran.stdout


PLAIN = """
import pynvml
pynvml.nvmlInit()
handle = pynvml.nvmlDeviceGetHandleByIndex(1)
pynvml.nvmlDeviceSetPowerManagementLimit(handle, 900_000)
print(pynvml.nvmlDeviceGetCount(), pynvml.nvmlDeviceGetTemperature(handle, 0), pynvml.nvmlDeviceGetName(handle))
print(pynvml.nvmlDeviceGetMarginTemperature(handle), pynvml.nvmlDeviceGetPowerManagementLimit(handle))
print(pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle), pynvml.nvmlDeviceGetMemoryInfo(handle).free)
"""


@needs_compiler
def test_another_program_finds_the_library_by_its_path(tmp_path):
    state = NvmlState.create(tmp_path / "state", GPUS)
    state.field("temperature_c")[5] = 44
    library = fake.build(tmp_path)
    ran = run_python(
        "-c", PLAIN, LD_LIBRARY_PATH=str(library.parent), **{ENVIRONMENT: f"{tmp_path / 'state'}#4:4"}
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0] == "4 44 Headrace simulated GPU"
    assert lines[1] == "57 900000"
    assert lines[2] == f"[500000, 1600000] {288 << 30}"
    assert state.field("power_limit_mw")[5] == 900_000


@needs_compiler
def test_an_unchanged_library_is_built_once(tmp_path):
    built = fake.build(tmp_path)
    stamp = built.stat().st_mtime_ns
    assert fake.build(tmp_path) == built
    assert built.stat().st_mtime_ns == stamp


def test_without_a_compiler_the_simulated_face_stands_in(tmp_path, monkeypatch):
    monkeypatch.setattr(fake, "compiler", lambda: None)
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "state"))
    nvml = open_nvml(tmp_path, 4, 4)
    assert isinstance(nvml, SimulatedNvml)
    assert nvml.face == "simulated"
    assert os.environ[ENVIRONMENT].endswith("#4:4")


def test_a_compiler_that_fails_is_no_end(tmp_path, monkeypatch):
    monkeypatch.setattr(fake, "compiler", lambda: "/bin/false")
    assert fake.build(tmp_path) is None


def test_without_the_environment_only_a_driver_will_do(tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert open_nvml(tmp_path).face == "driver"


def test_a_machine_without_a_driver_says_what_to_do():
    script = (
        "from gateways.nvml.library import LibraryNvml\n"
        "try:\n    LibraryNvml(None).start()\nexcept Exception as e:\n    print(type(e).__name__, e)"
    )
    ran = run_python("-c", script, LD_LIBRARY_PATH="", **{ENVIRONMENT: ""})
    if "libnvidia-ml.so.1" not in ran.stdout:
        pytest.skip("this machine has an NVIDIA driver")
    assert ran.stdout.startswith("UnreachableError NVML: this machine has no libnvidia-ml.so.1: install")


def test_a_missing_or_foreign_state_file_is_unreachable(tmp_path):
    with pytest.raises(UnreachableError, match="plant creates it"):
        NvmlState.open(tmp_path / "none")
    (tmp_path / "foreign").write_bytes(b"x" * 4096)
    with pytest.raises(UnreachableError, match="no NVML state of version"):
        NvmlState.open(tmp_path / "foreign")
