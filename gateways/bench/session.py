"""A `headrace up` inside a bench: the same system, watched until enough was seen."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gateways.up.command import UpRequest
from gateways.up.summary import summarize
from gateways.up.system import System
from rules.errors import UnreachableError
from streams.settings import load_settings
from streams.site_folder import load_site

log = logging.getLogger("headrace.bench")
_RULES_LINE = re.compile(r"^rules:.*$", re.MULTILINE)


@contextlib.contextmanager
def site_with_rules(site_dir: Path, rules: str) -> Iterator[Path]:
    """A copy of the site in a temporary folder, with `rules` (YAML text) in place of its own."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        copy = Path(folder)
        load_site(site_dir)  # what is wrong with it is said in its own words
        text, count = _RULES_LINE.subn("rules: [bench-rules]", (site_dir / "site.yaml").read_text())
        if count != 1:
            raise UnreachableError(
                f"{site_dir / 'site.yaml'} has {count} lines 'rules: […]', the bench needs one"
            )
        (copy / "site.yaml").write_text(text)
        (copy / "bench-rules").mkdir()
        (copy / "bench-rules" / "bench.yaml").write_text(rules)
        yield copy


async def watch_until(
    request: UpRequest, enough: Callable[[System], bool], limit_s: float, run_dir: Path
) -> dict[str, Any]:
    """Run the whole system until `enough` says so or `limit_s` is over; its summary."""
    settings = load_settings(request.site / "headrace.yaml", run_dir=run_dir)
    system = System(request, load_site(request.site), settings, run_dir, time.monotonic())
    try:
        await system.start()
        watching = asyncio.create_task(system.watch())
        while not enough(system) and time.monotonic() - system.started < limit_s and not watching.done():
            await asyncio.sleep(0.25)
        if watching.done():
            watching.result()
        await system.end()
        watching.cancel()
    finally:
        await system.end_processes()
    return summarize(system.observer, system.cost())


def quiet_logging() -> None:
    """Words to stderr, only the ones that matter."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("headrace").setLevel(logging.INFO)
