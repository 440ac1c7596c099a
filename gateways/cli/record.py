"""`headrace record`: the recorder in the foreground, on a running site, until Ctrl-C or for a while."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

import orjson

from gateways.cli.durations import duration_s
from streams.bus.kafka import KafkaBus
from streams.log_limit import silence_logs
from streams.output_file import is_file_name
from streams.recorder.recorder import record as run_recorder
from streams.role import RoleContext
from streams.settings import load_settings
from streams.site_folder import load_site


def record(site_dir: Path, output: Path, duration: str | None, as_json: bool) -> int:
    """Record; 0, or 1 when what was in the log at the stop is not all recorded."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    silence_logs()
    seconds = None if duration is None else duration_s(duration, "--for")
    metrics = asyncio.run(_record(site_dir, output, seconds))
    if as_json:
        sys.stdout.write(orjson.dumps(metrics, option=orjson.OPT_SORT_KEYS).decode() + "\n")
    return 1 if metrics.get("undrained") or metrics.get("disk_full") else 0


async def _record(site_dir: Path, output: Path, seconds: float | None) -> dict[str, object]:
    settings = load_settings(site_dir / "headrace.yaml")
    bus = KafkaBus(settings.broker)
    stop = asyncio.Event()
    options = {"file" if is_file_name(output) else "folder": str(output)}
    context = RoleContext("record", load_site(site_dir), site_dir, settings, bus, stop, options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    try:
        await run_recorder(context)
    finally:
        await bus.close()
    return context.metrics
