"""`headrace up`: start everything in order, watch it, end everything in order, say what happened.

Rules: sources end before the worker, the worker before the recorder, the broker last, so that a run's own
recording holds everything that the run did.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.live import Live

from gateways.alerts.files import has_subscriptions, load_subscriptions
from gateways.cli.durations import duration_s
from gateways.printable import printable_lines
from gateways.sim.constants import check_constants
from gateways.sim.effects import check_targets
from gateways.sim.faults import parse_faults
from gateways.up.schedule import check_reached, parse_kills
from gateways.up.summary import in_words, never_came, summarize
from gateways.up.system import System
from gateways.up.view import render
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.output_file import is_file_name, writable_file, writable_folder
from streams.run_folder import WRITABLE_HINT
from streams.settings import load_settings
from streams.site_folder import load_site, read_site_text

log = logging.getLogger("headrace.up")
_KEPT_RUNS = 5


@dataclass(frozen=True, slots=True)
class UpRequest:
    """What the command line asked for."""

    site: Path
    duration: str | None = None
    faults: tuple[str, ...] = ()
    kills: tuple[str, ...] = ()
    record: Path | None = None
    monitor_only: bool = False
    seed: int = 1
    plc: bool = True
    free_ports: bool = False
    bootstrap: str | None = None
    """A Kafka that is there already; None: the embedded broker."""

    crashes: tuple[str, ...] = ()
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By role, what its environment has beside the others'."""

    as_json: bool = False


def run_up(request: UpRequest) -> int:
    """Run it; the exit code is 0 when nothing was lost, doubled or broken.

    2 when a role refused its call, 3 when one never came up or no reading came.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s up %(levelname)s %(message)s"
    )
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    return asyncio.run(_run_up(request))


async def _run_up(request: UpRequest) -> int:
    started = time.monotonic()
    faults = parse_faults(",".join(request.faults))
    kills = parse_kills(request.kills)
    watched_s = None if request.duration is None else duration_s(request.duration, "--for")
    if watched_s is not None:
        check_reached(faults, kills, watched_s)
    given: dict[str, Any] = {"broker": {"bootstrap": request.bootstrap}} if request.bootstrap else {}
    settings = load_settings(request.site / "headrace.yaml", option="--bootstrap", **given)
    site = load_site(request.site)
    if findings := check_constants(site, *read_site_text(request.site)):
        raise ConfigurationError(findings)
    check_targets(site, faults)
    if has_subscriptions(request.site):
        load_subscriptions(request.site, site)
    if request.record is not None:
        (writable_file if is_file_name(request.record) else writable_folder)(request.record)
    run_dir = _run_dir(settings.run_dir)
    settings = settings.model_copy(update={"run_dir": run_dir})
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    system = System(request, site, settings, run_dir, started)
    try:
        await system.start()
        tasks = [asyncio.create_task(system.watch(), name="watch")]
        tasks += [asyncio.create_task(_kill_at(system, started + kill.at_s, kill.role)) for kill in kills]
        if watched_s is not None:
            tasks.append(asyncio.create_task(_stop_at(stop, started + watched_s)))
        await _show_until(stop, system, tasks[0], live=sys.stdout.isatty() and not request.as_json)
        for task in tasks[1:]:
            task.cancel()
        await system.end()
        tasks[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[0]
    finally:
        await system.end_processes()
    summary = summarize(system.observer, system.cost())
    if request.as_json:
        print(json.dumps(summary))
    else:
        print(in_words(summary))
        print(f"logs of the roles: {run_dir}")
    if system.processes.refused.done():
        print(printable_lines(f"headrace: {system.processes.refused.result()}"), file=sys.stderr)
        return 2
    is_over = watched_s is not None and time.monotonic() - started >= watched_s
    if missed := never_came(system.observer, system.cost().exits, is_over):
        print(f"headrace: {missed}: the roles' words are in {run_dir}", file=sys.stderr)
        return 3
    healthy = not (summary["lost"] or summary["duplicates"] or summary["broken_ids"])
    return 0 if healthy else 1


def _run_dir(parent: Path) -> Path:
    """A fresh folder for this run; the oldest ones go, unless they belong to a run that goes on."""
    try:
        return _fresh_run_dir(parent)
    except OSError as error:
        raise ConfigurationError(
            [
                Finding(
                    "run_dir", 0, 0, f"no run folder can be made in {parent}: {error.strerror}",
                    WRITABLE_HINT,
                )
            ]
        ) from None  # fmt: skip


def _fresh_run_dir(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    for old in sorted(parent.glob("up-*"))[: -(_KEPT_RUNS - 1)]:
        pid_file = old / "up.pid"
        if not pid_file.exists() or not psutil.pid_exists(int(pid_file.read_text())):
            shutil.rmtree(old, ignore_errors=True)
    run_dir = parent.resolve() / f"up-{time.strftime('%Y%m%dT%H%M%S')}-{time.time_ns() % 1_000_000:06d}"
    run_dir.mkdir()
    (run_dir / "up.pid").write_text(str(os.getpid()))
    return run_dir


async def _kill_at(system: System, at: float, role: str) -> None:
    await asyncio.sleep(max(0.0, at - time.monotonic()))
    log.warning("kill -9 %s, as asked", role)
    system.processes.kill(role)


async def _stop_at(stop: asyncio.Event, at: float) -> None:
    await asyncio.sleep(max(0.0, at - time.monotonic()))
    stop.set()


async def _show_until(stop: asyncio.Event, system: System, watch: asyncio.Task[None], live: bool) -> None:
    """The live view, or a line every few seconds, until it is time to stop, watching broke or a role was refused."""
    reasons: set[asyncio.Future[Any]] = {asyncio.create_task(stop.wait()), watch, system.processes.refused}
    console = Console(markup=False)
    seen, at = 0, time.monotonic()
    with Live(console=console, screen=True, auto_refresh=False) if live else contextlib.nullcontext() as view:
        while True:
            done, _ = await asyncio.wait(
                reasons, timeout=0.5 if live else 5.0, return_when=asyncio.FIRST_COMPLETED
            )
            if watch in done:
                watch.result()
            if done:  # no last look: what came since the one before is too little for a rate
                return
            observer = system.observer
            now = time.monotonic()
            rate = (observer.readings - seen) / max(now - at, 1e-9)
            seen, at = observer.readings, now
            if isinstance(view, Live):
                picture = render(
                    observer, system.resources, now - system.started, rate, system.processes.restarts
                )
                view.update(picture, refresh=True)
            else:
                log.info(
                    "%.0f readings/s, %d alarms active, %d commands, lost %d, duplicates %d, restarts %d",
                    rate,
                    len(observer.active),
                    len(observer.commands),
                    observer.tracker.lost,
                    observer.tracker.duplicates,
                    system.processes.restarts,
                )
