"""`headrace broker`: the embedded broker alone, an empty log in memory, until Ctrl-C.

Rules: it writes no record of its own, as a replay is taken only by a log that never had one (docs/replay-to-kafka.md).
So it is no role: a role says its status on the log.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

from gateways.broker import HOST, EmbeddedBroker
from rules.errors import ConfigurationError, UnreachableError
from rules.findings import Finding
from streams.log_limit import silence_logs
from streams.run_folder import working_in
from streams.settings import BOOTSTRAP_VARIABLE, BrokerSettings, load_settings

_LOOK_EVERY_S = 5.0
_HERE = (HOST, "localhost")


def run_broker(port: int | None, as_json: bool) -> int:
    """0 when it was told to stop; its address on stdout as soon as it answers.

    `port` None: that of the setting `broker.bootstrap`. ConfigurationError: a setting is wrong, or it names another
    machine or several brokers. UnreachableError: the port is taken, or the process ended by itself, and its log with
    it.
    """
    silence_logs()
    given: dict[str, Any] = {} if port is None else {"broker": {"bootstrap": f"{HOST}:{port}"}}
    settings = load_settings(**given)
    host, _, number = settings.broker.bootstrap.strip().rpartition(":")
    if host not in _HERE:
        raise ConfigurationError([_not_here(settings.broker.bootstrap)])
    said_by = BOOTSTRAP_VARIABLE if port is None else "--port"
    broker = EmbeddedBroker(int(number), settings.run_dir, settings.broker.partitions, said_by)
    with working_in(settings.run_dir):
        asyncio.run(_run(broker, settings.broker, as_json))
    return 0


def _not_here(bootstrap: str) -> Finding:
    message = (
        f"broker.bootstrap is '{bootstrap}', and the embedded broker serves this machine only, at one address"
    )
    return Finding("settings", 0, 0, message, f"{HOST}:PORT, or --port")


async def _run(broker: EmbeddedBroker, settings: BrokerSettings, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    await broker.start()
    try:
        if as_json:
            said = {"bootstrap": broker.bootstrap, "partitions": settings.partitions, "pid": broker.pid}
            print(json.dumps(said), flush=True)
        else:
            print(f"an empty log in memory at {broker.bootstrap}, until Ctrl-C", flush=True)
        await _until_ended(broker, stop, settings.embedded_limit_mb)
    finally:
        await broker.stop()


async def _until_ended(broker: EmbeddedBroker, stop: asyncio.Event, limit_mb: int) -> None:
    stopped, ended = asyncio.create_task(stop.wait()), asyncio.create_task(broker.wait())
    is_said = False
    while not stopped.done():
        await asyncio.wait((stopped, ended), timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        if ended.done() and not stopped.done():
            raise UnreachableError(
                f"the embedded broker ended with {ended.result()}, and its log, which was in its memory, is gone"
            )
        if not is_said and broker.resident_mb() > limit_mb:
            is_said = True
            print(
                f"the log has {limit_mb} MB in memory and goes on growing: nothing is ever deleted here",
                file=sys.stderr,
                flush=True,
            )
    ended.cancel()
