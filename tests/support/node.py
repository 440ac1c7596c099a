"""Programs for Node.js that check us from outside: their packages are installed once, or their tests skipped."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALL = Path(__file__).with_name("install_node_packages.sh")
CACHE = INSTALL.parents[2] / ".cache"


def node_environment(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """The environment for what lies in `folder`. Without node or npm: skipped, and said on the terminal."""
    reason, packages = "", ""
    if not (shutil.which("node") and shutil.which("npm")):
        reason = "Node.js or npm is not installed"
    else:
        CACHE.mkdir(exist_ok=True)
        with (CACHE / "node.lock").open("w") as lock:
            # several files of tests take the same packages: who comes second must not lay them down anew
            fcntl.flock(lock, fcntl.LOCK_EX)
            installed = subprocess.run([INSTALL, folder], capture_output=True, text=True, check=False)
        packages = installed.stdout.strip()
        if installed.returncode:
            reason = f"npm could not install {folder.name}: {installed.stderr.strip()[-300:]}"
    if reason:
        request.config.get_terminal_writer().line(f"\n{folder.name} skipped: {reason}")
        pytest.skip(reason)
    return os.environ | {"NODE_PATH": packages}
