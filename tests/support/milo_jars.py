"""Eclipse Milo's jars, by Maven, once into .cache/milo; a test that needs them is skipped where they can't be had."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).with_name("milo")
CACHE = HERE.parents[2] / ".cache" / "milo"


def milo_command(request: pytest.FixtureRequest) -> list[str]:
    """How ScadaClient.java is run, but for its arguments."""
    reason = next((f"{tool} is not installed" for tool in ("java", "mvn") if shutil.which(tool) is None), "")
    ready = CACHE / "complete"
    if not reason and not ready.exists():
        command = [
            "mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies",
            "-DincludeScope=runtime", f"-DoutputDirectory={CACHE}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = f"Maven could not fetch the jars: {done.stdout[-500:]}"
        else:
            ready.touch()
    if reason:
        request.config.get_terminal_writer().line(f"\nEclipse Milo skipped: {reason}")
        pytest.skip(reason)
    return [
        "java",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        f"{CACHE}/*",
        str(HERE / "ScadaClient.java"),
    ]
