"""A `headrace up` inside a bench: the same system, watched until enough was seen."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateways.up.command import UpRequest
from gateways.up.summary import summarize
from gateways.up.system import System
from streams.settings import load_settings
from streams.site_folder import load_site

log = logging.getLogger("headrace.bench")


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
