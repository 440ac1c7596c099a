"""What a channel does, and how it fails."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol
from urllib.parse import unquote, urlsplit

from gateways.alerts.model import Channel, Secret
from gateways.alerts.notification import Notification

_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_WORD = re.compile(r"[^/:@?&=#]{4,}")


class DeliveryError(Exception):
    """It was not taken. `is_final`: this one never will be, whatever the channel does with others.

    `after_s`: the receiver asks to be left alone for so long.
    """

    def __init__(self, text: str, is_final: bool = False, after_s: float = 0.0) -> None:
        self.is_final = is_final
        self.after_s = after_s
        super().__init__(text)


class Deliverer(Protocol):
    """Takes notifications somewhere. Several may be on their way at once."""

    async def send(self, notification: Notification) -> None:
        """Return when the receiver has it. DeliveryError: it has not, or nobody knows."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def without_secrets(text: str, channel: Channel) -> str:
    """A library's words without the channel's URL, its parts, and any other URL."""
    for word in sorted(_secret_words(channel), key=len, reverse=True):
        text = text.replace(word, "***")
    return _URL.sub("***", text)[:200]


def _secret_words(channel: Channel) -> Iterable[str]:
    for secret in (channel.url, channel.secret):
        if isinstance(secret, Secret) and secret.text:
            text = secret.text.strip()
            yield text
            rest = text.partition("://")[2] or text
            for form in (rest, unquote(rest)):
                yield from _WORD.findall(form)


def host_of(channel: Channel) -> str:
    """The host and port of an address, which are no secret."""
    url = urlsplit(channel.url.text)
    return f"{url.hostname}:{url.port}" if url.port else str(url.hostname)
