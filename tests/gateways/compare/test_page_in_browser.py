"""The page in a real browser, as a desk and a phone show it, where Chromium and Node.js are at hand."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gateways.compare.sweep_page import sweep_page
from tests.gateways.compare.test_page import full
from tests.gateways.compare.test_sweep_page import sweep
from tests.gateways.reports.test_alarm_page import report
from tests.support.node import node_environment

BROWSER = Path(__file__).parents[2] / "support" / "browser"
pytestmark = pytest.mark.node


@pytest.mark.parametrize(
    "made", [full, lambda: sweep_page(sweep()), report], ids=["comparison", "sweep", "alarms"]
)
def test_nothing_sticks_out_and_nothing_is_fetched(
    request: pytest.FixtureRequest, tmp_path: Path, made: Callable[[], str]
) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        request.config.get_terminal_writer().line(
            "\nthe page in a browser skipped: Chromium is not installed"
        )
        pytest.skip("Chromium is not installed")
    environment = node_environment(request, BROWSER)
    (tmp_path / "page.html").write_text(made(), encoding="utf-8")
    call = ["node", BROWSER / "look.cjs", chromium, tmp_path / "page.html", tmp_path]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=True, timeout=300)
    views = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(view["view"], view["scheme"]) for view in views] == [
        (1280, "light"), (1280, "dark"), (375, "light"), (375, "dark"),
    ]  # fmt: skip
    for view in views:
        assert (view["width"], view["out"], view["askew"]) == (view["view"], [], [])
        assert (view["fetched"], view["complaints"]) == (1, [])
        assert view["bars"] != "rgb(0, 0, 0)"  # what a style that doesn't reach the drawing leaves
    assert {view["ground"] for view in views if view["scheme"] == "light"} == {"rgb(255, 255, 255)"}
    assert "rgb(255, 255, 255)" not in {view["ground"] for view in views if view["scheme"] == "dark"}
    assert all((tmp_path / f"{view['view']}-{view['scheme']}.png").stat().st_size for view in views)
