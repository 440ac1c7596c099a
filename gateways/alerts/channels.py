"""From a channel of the file to what delivers over it."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping
from pathlib import Path

from gateways.alerts.alertmanager import Alertmanager
from gateways.alerts.delivery import Deliverer
from gateways.alerts.file_channel import FileChannel
from gateways.alerts.model import Channel, Subscriptions
from gateways.alerts.webhook import Webhook
from rules.errors import ConfigurationError
from rules.findings import Finding


def open_channels(
    subscriptions: Subscriptions, site: str, run_dir: Path, clock: Callable[[], int]
) -> dict[str, Deliverer]:
    """By name. ConfigurationError: an address or a key is of no use; which, without its text."""
    opened, findings = dict[str, Deliverer](), list[Finding]()
    for name, channel in subscriptions.channels.items():
        try:
            opened[name] = _open(channel, subscriptions, site, run_dir, clock)
        except (ValueError, binascii.Error) as error:
            findings.append(
                Finding(f"channel {name}", 0, 0, str(error), "its text is not shown: it holds secrets")
            )
    if findings:
        raise ConfigurationError(findings)
    return opened


def _open(
    channel: Channel, subscriptions: Subscriptions, site: str, run_dir: Path, clock: Callable[[], int]
) -> Deliverer:
    if channel.kind == "webhook":
        return Webhook(channel, clock)
    if channel.kind == "alertmanager":
        return Alertmanager(channel, clock, site)
    if channel.kind == "file":
        return FileChannel(channel, run_dir)
    from gateways.alerts.apprise_channel import AppriseChannel  # a third of a second, for those who use it

    return AppriseChannel(channel, subscriptions.zone)


def alertmanagers(opened: Mapping[str, Deliverer]) -> dict[str, Alertmanager]:
    """Those that want to hear again and again of what stands."""
    return {name: one for name, one in opened.items() if isinstance(one, Alertmanager)}
