"""Notifications with real processes: a broker, the role, a receiver that fails, and kill -9 in a flood."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.system, pytest.mark.night]


def test_everything_arrives_in_a_flood_with_failures_and_kills() -> None:
    size = ["--subscriptions", "120", "--racks", "40", "--seconds", "3", "--kills", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "gateways.cli.main", "bench", "alerts", "--json", *size],
        cwd=ROOT,
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    result = json.loads(done.stdout)
    steady, flood = result["steady"], result["flood"]
    assert (steady["lost"], steady["first_delivery_ms"]["count"]) == (0, steady["transitions"])
    assert steady["hanging_backlog"] > 0
    assert (flood["lost"], flood["unexpected"], flood["out_of_order"]) == (0, 0, 0)
    assert flood["delivered"] == flood["expected"] > 500
    # the receiver fails after it has taken one in ten: so some come twice, and are known by their ids
    assert flood["doubles"] > 0
    # it was at work each time that it was killed
    assert flood["kills"] == 3
    assert max(flood["delivered_at_kill"]) < flood["expected"]
