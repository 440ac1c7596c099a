"""Role `alerts`: notifications of alarms, as `subscriptions.yaml` beside the site file wants them.

Options: `listen` (HOST:PORT in place of the file's, port 0 for any).
"""

from __future__ import annotations

import dataclasses
import logging

from gateways.alerts.alerts import Alerts
from gateways.alerts.files import load_subscriptions
from gateways.alerts.model import Subscriptions
from gateways.alerts.outbox import Outbox
from gateways.alerts.store import FILE
from rules.errors import ConfigurationError, UnreachableError
from rules.findings import Finding
from streams.log_limit import limit_logs
from streams.role import RoleContext
from streams.topics import ALARMS


async def run(context: RoleContext) -> None:
    """Work until `context.stop`.

    ConfigurationError: the file is wrong. UnreachableError: no topic `alarms`, an outbox that can't be written, a port
    that is taken.
    """
    limit_logs()
    logging.getLogger("aiohttp").setLevel(logging.WARNING)
    subscriptions = _listening(load_subscriptions(context.site_dir, context.site), context.options)
    if not await context.bus.partitions(ALARMS.name):
        raise UnreachableError(f"the broker has no topic '{ALARMS.name}': is the site running?")
    outbox = Outbox(context.settings.run_dir / FILE)
    context.metrics["outbox"] = str(outbox.file.resolve())
    try:
        await Alerts(context, subscriptions, outbox).run()
    finally:
        outbox.close()


def _listening(subscriptions: Subscriptions, options: dict[str, str]) -> Subscriptions:
    where = options.get("listen")
    if where is None or subscriptions.edge is None:
        return subscriptions
    host, _, port = where.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigurationError([Finding("--option listen", 0, 0, f"'{where}' is no HOST:PORT")])
    edge = dataclasses.replace(subscriptions.edge, host=host, port=int(port))
    return dataclasses.replace(subscriptions, edge=edge)
