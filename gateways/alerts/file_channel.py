"""A file to which notifications are appended as JSON lines: for a first look, for tests, and for log shippers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateways.alerts.delivery import DeliveryError
from gateways.alerts.model import Channel
from gateways.alerts.notification import Notification


class FileChannel:
    """One file; its path is seen from the run folder."""

    def __init__(self, channel: Channel, run_dir: Path) -> None:
        self._file = run_dir / channel.url.text

    async def send(self, notification: Notification) -> None:
        """As `Deliverer`."""
        try:
            await asyncio.to_thread(self._append, notification.sent_body() + b"\n")
        except OSError as error:
            raise DeliveryError(f"{self._file.name}: {error.strerror}") from None

    async def close(self) -> None:
        """As `Deliverer`."""

    def _append(self, line: bytes) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.touch(mode=0o600)  # links in it acknowledge alarms; one that is there keeps its rights
        with self._file.open("ab") as file:
            file.write(line)
