"""Role `alerts`: notifications of alarms, as `subscriptions.yaml` beside the site file wants them.

Options: `listen` (HOST:PORT in place of the file's, port 0 for any).
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateways.alerts.alerts import Alerts
from gateways.alerts.files import load_subscriptions
from gateways.alerts.model import Subscriptions
from gateways.alerts.outbox import Outbox
from gateways.alerts.store import FILE
from gateways.listen import address_of
from rules.errors import ConfigurationError, UnreachableError
from rules.findings import Finding
from streams.log_limit import limit_logs
from streams.loopback import is_loopback
from streams.role import RoleContext
from streams.topics import ALARMS

LOCK: Final = "alerts.lock"


async def run(context: RoleContext) -> None:
    """Work until `context.stop`.

    ConfigurationError: the file is wrong. UnreachableError: no topic `alarms`, an outbox that can't be written or at
    which another one works, a port that is taken.
    """
    limit_logs()
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    subscriptions = _listening(load_subscriptions(context.site_dir, context.site), context.options)
    if not await context.bus.partitions(ALARMS.name):
        raise UnreachableError(f"the broker has no topic '{ALARMS.name}': is the site running?")
    with _sole(context.settings.run_dir):
        outbox = Outbox(context.settings.run_dir / FILE)
        context.metrics["outbox"] = str(outbox.file.resolve())
        try:
            await Alerts(context, subscriptions, outbox).run()
        finally:
            outbox.close()


@contextlib.contextmanager
def _sole(run_dir: Path) -> Iterator[None]:
    """Two at one outbox would each send what waits there. UnreachableError: another one is at work.

    The lock ends with the process, however that ends.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnreachableError(
                f"another role works with the outbox in {run_dir}: one to a run folder"
            ) from None
        yield


def _listening(subscriptions: Subscriptions, options: dict[str, str]) -> Subscriptions:
    where = options.get("listen")
    if where is None or subscriptions.edge is None:
        return subscriptions
    found = address_of(where)
    if found is None:
        raise ConfigurationError([Finding("--option listen", 0, 0, f"'{where}' is no HOST:PORT")])
    host, port = found
    if subscriptions.edge.token is None and not is_loopback(host):
        text = f"{host} can be reached from elsewhere: a token is needed"
        raise ConfigurationError([Finding("--option listen", 0, 0, text, "serve: {token: {file: PATH}}")])
    edge = dataclasses.replace(subscriptions.edge, host=host, port=port)
    return dataclasses.replace(subscriptions, edge=edge)
