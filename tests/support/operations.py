"""The commands that docs/operations.md gives, run on a folder in place of the machine's root."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.support.deployment import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()


def commands(heading: str, *begins: str) -> list[str]:
    """Those of a section that begin with one of the words, as they stand there, without what is said of them."""
    section = PAGE.split(f"\n{heading}\n", 1)[1]
    section = re.split(r"(?m)^##", section, maxsplit=1)[0]
    lines = [re.split(r"\s{2,}", line.strip())[0] for line in section.splitlines() if line.startswith("    ")]
    return [line for line in lines if line.startswith(begins)]


def run_on(machine: Path, command: str, where: Path) -> subprocess.CompletedProcess[str]:
    """One of them, with `machine` as the root of the file system, started in the folder `where`."""
    words = command.replace("-C / ", f"-C {machine} ").replace(" /var/", f" {machine}/var/")
    return subprocess.run(["bash", "-c", words], cwd=where, capture_output=True, text=True, check=False)
