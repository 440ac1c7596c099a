"""A webhook: the notification as JSON by POST, signed as Standard Webhooks says (standardwebhooks.com).

Rules: the headers are `webhook-id` (the notification's, the same at each attempt), `webhook-timestamp` (of this
attempt, in s) and `webhook-signature` (`v1,` and HMAC-SHA256 of `id.timestamp.body` in Base64); a receiver refuses
timestamps more than 5 min off and ids that it has taken. 2xx: taken. 400, 413, 422: this one is never taken. All else
is tried again, redirects included, which are not followed: who gets alarms is said in the file.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Final

import aiohttp

from gateways.alerts.delivery import DeliveryError, host_of
from gateways.alerts.model import Channel
from gateways.alerts.notification import Notification

PREFIX: Final = "whsec_"
"""How keys in Base64 begin; another secret is taken as it is."""
_FINAL: Final = (400, 413, 422)
_AFTER_MAX_S: Final = 300.0


def key_of(secret: str) -> bytes:
    """The key of a secret as it is written. ValueError: it begins as Base64, and is none."""
    if secret.startswith(PREFIX):
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    return secret.encode()


def signature(key: bytes, own_id: str, timestamp_s: int, body: bytes) -> str:
    """Of a body: the header `webhook-signature`."""
    signed = f"{own_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


class Webhook:
    """One receiver."""

    def __init__(self, channel: Channel, clock: Callable[[], int]) -> None:
        self._channel = channel
        self._clock = clock
        self._key = None if channel.secret is None else key_of(channel.secret.text)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, notification: Notification) -> None:
        """As `Deliverer`."""
        body = notification.sent_body()
        timestamp_s = self._clock() // 1_000_000_000
        headers = {
            "content-type": "application/json",
            "webhook-id": notification.id,
            "webhook-timestamp": str(timestamp_s),
        }
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, notification.id, timestamp_s, body)
        await self.post(self._channel.url.text, body, headers)

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        """POST a body. DeliveryError unless it is taken."""
        try:
            async with self._open().post(url, data=body, headers=headers, allow_redirects=False) as answer:
                status, after = answer.status, answer.headers.get("retry-after", "")
        except TimeoutError:
            raise DeliveryError(
                f"no answer from {host_of(self._channel)} within {self._channel.timeout_s:g} s"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DeliveryError(f"{host_of(self._channel)}: {_words(error)}") from None
        if not 200 <= status < 300:
            after_s = min(float(after), _AFTER_MAX_S) if after.isdecimal() else 0.0
            raise DeliveryError(f"{host_of(self._channel)} answers {status}", status in _FINAL, after_s)

    async def close(self) -> None:
        """As `Deliverer`."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._channel.timeout_s),
                connector=aiohttp.TCPConnector(limit=self._channel.parallel),
                headers={"user-agent": "headrace"},
            )
        return self._session


def _words(error: Exception) -> str:
    """What went wrong without addresses, in which there may be secrets."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"not reachable ({error.strerror or type(error.os_error).__name__})"
    return f"the connection broke ({type(error).__name__})"
