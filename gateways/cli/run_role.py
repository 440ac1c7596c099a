"""`headrace run ROLE`: one role as a process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from gateways import collector
from gateways.observability.logs import log_to_stderr
from gateways.observability.watchdog import watched
from gateways.roles import ROLES
from gateways.with_parent import end_with_parent
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.site.model import Site
from streams.role import RoleContext, report_status
from streams.run_folder import working_in
from streams.settings import Settings, load_settings

log = logging.getLogger(__name__)

_PARTS: Final = ("gateways.observability.server", "streams.bus.kafka", "streams.site_folder")
"""What every role needs besides its own module."""


def with_endpoints(site: Site, options: Mapping[str, str]) -> Site:
    """The site with the endpoints that options `endpoint.SOURCE` give instead of the site file's."""
    sources = dict(site.sources)
    for key, value in options.items():
        if key.startswith("endpoint."):
            name = key.removeprefix("endpoint.")
            if name not in sources:
                raise ConfigurationError(
                    [Finding("--option", 0, 0, f"unknown source '{name}'", nearest(name, sources))]
                )
            sources[name] = dataclasses.replace(sources[name], endpoint=value)
    return dataclasses.replace(site, sources=MappingProxyType(sources))


def parse_options(options: list[str]) -> dict[str, str]:
    """`KEY=VALUE` words as a dictionary; ConfigurationError for every other word."""
    wrong = [option for option in options if "=" not in option]
    if wrong:
        raise ConfigurationError(
            [Finding("--option", 0, 0, f"{option!r} is not KEY=VALUE") for option in wrong]
        )
    return dict(option.split("=", 1) for option in options)


def run_role(
    role: str,
    site_dir: Path,
    name: str,
    options: list[str],
    as_json: bool = False,
    log_format: Literal["text", "json"] | None = None,
) -> int:
    """Run a role until it is told to stop; the exit code of the process.

    `as_json`: its status as lines on stdout. `log_format`: in place of that of the settings.

    What ends it is raised: ConfigurationError, UnreachableError or another HeadraceError.
    """
    if role not in ROLES:
        raise ConfigurationError([Finding("run", 0, 0, f"unknown role '{role}'", _roles(role))])
    given = parse_options(options)
    if parent := given.pop("parent_pid", ""):
        end_with_parent(int(parent))
    collector.run_seldom()
    if given.pop("spare", "") and not _is_needed(role):
        return 0
    settings = load_settings(site_dir / "headrace.yaml")
    log_to_stderr(name, role, log_format or settings.log.format)
    if listen := given.pop("http", ""):
        settings.http.listen = listen
    # the first import of a role's module: before the loop, so that its cost shows in no latency
    module = importlib.import_module(ROLES[role])
    with working_in(settings.run_dir):
        asyncio.run(_run(role, module.run, site_dir, settings, name, given, _print_line if as_json else None))
    return 0


def _roles(role: str) -> str:
    return nearest(role, ROLES) or f"there are {', '.join(ROLES)}"


def _is_needed(role: str) -> bool:
    """What a spare does: import what the role needs, and nothing else, until its supervisor says that it is wanted."""
    for module in (*_PARTS, ROLES[role]):
        importlib.import_module(module)
    return bool(sys.stdin.readline())


def _print_line(status: bytes) -> None:
    print(status.decode(), flush=True)


async def _run(
    kind: str,
    role: Callable[[RoleContext], Awaitable[None]],
    site_dir: Path,
    settings: Settings,
    name: str,
    options: dict[str, str],
    show: Callable[[bytes], None] | None,
) -> None:
    from streams.bus.kafka import KafkaBus
    from streams.site_folder import load_site

    site = with_endpoints(load_site(site_dir), options)
    collector.keep_all()
    stop = asyncio.Event()
    bus = KafkaBus(settings.broker, of_role=True)
    context = RoleContext(name, site, site_dir, settings, bus, stop, options, kind=kind)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, context.hold)
    loop.add_signal_handler(signal.SIGUSR2, context.release)
    status = asyncio.create_task(report_status(context, show=show), name="status")
    # before the role has ended only where it can't work here: a publisher, which spools, would not end
    status.add_done_callback(lambda _: stop.set())
    try:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(watched(context))
            if settings.http.listen:  # aiohttp takes longer to import than the rest of most roles
                from gateways.observability.server import serving

                await stack.enter_async_context(serving(context))
            await role(context)
    finally:
        stop.set()
        context.ended.set()
        try:
            await status
        finally:
            await bus.close()
    log.info("stopped")
