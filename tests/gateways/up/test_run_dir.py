import os
from pathlib import Path

import pytest

from gateways.up.command import _run_dir
from rules.errors import ConfigurationError


def test_old_runs_go_but_not_those_that_go_on(tmp_path: Path) -> None:
    for number in range(8):
        old = tmp_path / f"up-2020010{number}T000000-000000"
        old.mkdir()
        (old / "up.pid").write_text(str(os.getpid() if number == 0 else 2**22 + 1))
    made = _run_dir(tmp_path)
    left = {folder.name[:11] for folder in tmp_path.iterdir() if folder != made}
    assert "up-20200100" in left
    assert "up-20200101" not in left
    assert "up-20200107" in left
    assert made.is_dir()


def test_a_run_folder_that_can_not_be_made_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"run_dir: error: no run folder can be made in .*file"):
        _run_dir(tmp_path / "file")
