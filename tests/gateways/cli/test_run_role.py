"""A spare does nothing of its role until it is told so; what its supervisor does with it: `up/test_processes.py`."""

import io
from pathlib import Path

import pytest

from gateways.cli.run_role import run_role
from rules.errors import ConfigurationError


def test_a_spare_that_is_never_needed_reads_no_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run_role("ticker", tmp_path / "nowhere", "ticker", ["spare=on"]) == 0


def test_a_spare_that_is_needed_goes_on_as_the_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("go\n"))
    with pytest.raises(ConfigurationError, match="no folder"):
        run_role("ticker", tmp_path / "nowhere", "ticker", ["spare=on"])
