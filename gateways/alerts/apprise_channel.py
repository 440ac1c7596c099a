"""Mail, chat, SMS and everything else that apprise speaks: a URL names service and receiver, and mostly holds secrets.

Rules: what apprise logs is kept from our log, as addresses with secrets are in it; its last words on a failure are
passed on without them. A call can't be interrupted: it runs in a thread of its own, which keeps its place among the
`parallel` ones until it returns, and holds up nobody at the end of the process. Redirects are not followed: who gets
alarms is said in the file.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Final
from zoneinfo import ZoneInfo

import apprise

from gateways.alerts.delivery import DeliveryError, without_secrets
from gateways.alerts.model import Channel
from gateways.alerts.notification import Notification, text, title

_KINDS: Final = {"urgent": apprise.NotifyType.FAILURE, "high": apprise.NotifyType.WARNING}
"""How a service shows it: by the first alarm's severity."""


class _LastWords(logging.Handler):
    """The last thing that apprise said in each thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.of_thread = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        self.of_thread.text = record.getMessage()


_words: Final = _LastWords()


def _quiet() -> None:
    for name in ("apprise", "urllib3", "requests"):
        logger = logging.getLogger(name)
        logger.propagate = False
        if _words not in logger.handlers:
            logger.addHandler(_words)


class AppriseChannel:
    """One receiver of one service."""

    def __init__(self, channel: Channel, zone: ZoneInfo) -> None:
        """ValueError: apprise knows no such service, or the address is incomplete."""
        _quiet()
        self._channel = channel
        self._zone = zone
        self._places = asyncio.Semaphore(channel.parallel)
        # the service itself, whose words come from the thread that calls it
        asset = apprise.AppriseAsset(http_redirects=False)
        service = apprise.Apprise.instantiate(channel.url.text, asset=asset)
        if service is None:
            raise ValueError("apprise knows no such service, or its address is incomplete")
        self._service = service

    async def send(self, notification: Notification) -> None:
        """As `Deliverer`."""
        data = notification.data
        if notification.instead_of:
            data["instead_of"] = notification.instead_of
        alarms = data["alarms"]
        severity = alarms[0]["alarm"]["body"]["severity"] if alarms else ""
        kind = _KINDS.get(severity, apprise.NotifyType.INFO)
        try:
            async with asyncio.timeout(self._channel.timeout_s):
                await self._places.acquire()
        except TimeoutError:
            raise DeliveryError(f"{self._channel.parallel} calls of the service hang") from None
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        def tell(why: str) -> None:
            self._places.release()
            if not answer.done():
                answer.set_result(why)

        def call() -> None:
            _words.of_thread.text = ""
            try:
                is_taken = bool(
                    self._service.notify(title=title(data), body=text(data, self._zone), notify_type=kind)
                )
                why = "" if is_taken else (_words.of_thread.text or "the service did not take it")
            except Exception as error:  # whatever a plugin raises is a notification that was not taken
                why = f"{type(error).__name__}: {error}"
            try:
                loop.call_soon_threadsafe(tell, why)
            except RuntimeError:
                return  # the process ends

        threading.Thread(target=call, name=f"apprise-{self._channel.name}", daemon=True).start()
        try:
            async with asyncio.timeout(self._channel.timeout_s):
                why = await answer
        except TimeoutError:
            raise DeliveryError(f"the service did not answer within {self._channel.timeout_s:g} s") from None
        if why:
            raise DeliveryError(without_secrets(why, self._channel))

    async def close(self) -> None:
        """As `Deliverer`."""
