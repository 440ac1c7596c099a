"""A role's process: a spare (what its supervisor does with it: `up/test_processes.py`); a run folder that is none."""

import io
from pathlib import Path

import pytest

from gateways.cli import run_role as module
from gateways.cli.run_role import run_role
from rules.errors import ConfigurationError


def test_a_spare_that_is_never_needed_reads_no_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run_role("ticker", tmp_path / "nowhere", "ticker", ["spare=on"]) == 0


def test_a_spare_that_is_needed_goes_on_as_the_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("go\n"))
    with pytest.raises(ConfigurationError, match="no folder"):
        run_role("ticker", tmp_path / "nowhere", "ticker", ["spare=on"])


def test_a_run_folder_that_can_t_be_made_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    run_dir = tmp_path / "file" / "run"
    monkeypatch.setenv("HEADRACE_RUN_DIR", str(run_dir))

    async def works_there(*_: object) -> None:
        run_dir.mkdir(parents=True)

    monkeypatch.setattr(module, "_run", works_there)
    with pytest.raises(ConfigurationError) as caught:
        run_role("ticker", tmp_path, "ticker", [])
    (finding,) = caught.value.findings
    assert (finding.file, finding.message) == (str(run_dir), "can't be written: Not a directory")
    assert "HEADRACE_RUN_DIR" in finding.hint
