"""What every role is handed, and how it says what it does.

A role works until `context.stop` is set and then returns; what it raises ends the process, and the supervisor (ours in
`headrace up`, systemd or Kubernetes in production) starts it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypedDict, TypeGuard

import orjson

from rules.errors import UnreachableError
from rules.site.model import Site
from streams.bus.bus import Bus, refuse_oversized
from streams.record import Message
from streams.settings import Settings
from streams.topics import STATUS

SCHEMA: Final = "status/1"

log = logging.getLogger(__name__)


class Holds(Protocol):
    """What can stop sending for a moment while it goes on accepting: a publisher."""

    def hold(self) -> None:
        """Keep what comes; send nothing."""
        ...

    def release(self) -> None:
        """Send again, in order."""
        ...


@dataclass(slots=True)
class RoleContext:
    """`name` is the instance (two tickers are `ticker` and `ticker-2`), `kind` its role (`ticker`; the name where it is
    left out); `site_dir` the folder of the site file.
    """

    name: str
    site: Site
    site_dir: Path
    settings: Settings
    bus: Bus
    stop: asyncio.Event
    options: dict[str, str] = field(default_factory=dict)
    clock: Callable[[], int] = time.time_ns
    """The wall clock in ns. Whoever measures how long something takes asks the event loop: `loop.time()`."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the role has returned: what its status says then is its last word."""

    state: str = "starting"
    metrics: dict[str, Any] = field(default_factory=dict)
    """Counters and gauges for the status record; the role changes them in place."""

    publishers: list[Holds] = field(default_factory=list)
    """A role adds its publishers, so that a roll of the embedded log can hold them (SIGUSR1, SIGUSR2)."""

    kind: str = ""

    def hold(self) -> None:
        """Hold every publisher of this process."""
        self.metrics["holding"] = True
        for publisher in self.publishers:
            publisher.hold()

    def release(self) -> None:
        """Let every publisher of this process send again."""
        self.metrics["holding"] = False
        for publisher in self.publishers:
            publisher.release()

    def ready(self) -> None:
        """Say that the role does its work from here on."""
        self.state = "ready"


class Status(TypedDict):
    """A role's word on itself. `role`: the instance, `kind`: its role; `metrics`: docs/observability.md."""

    schema: str
    role: str
    kind: str
    pid: int
    at_ns: int
    state: str
    metrics: Mapping[str, Any]


def as_status(value: bytes | None) -> Status | None:
    """The status that a record of the topic `status` holds; None where it holds none: anyone can write there.

    Whose it is, only `kind` says: `role`, the key of the record as well, is a name that is given freely.
    """
    try:
        found = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    return found if _is_status(found) else None


def _is_status(found: Any) -> TypeGuard[Status]:
    """Whether it has what is read of a status. `schema` and `pid` nobody needs: they may be missing."""
    return (
        isinstance(found, dict)
        and isinstance(found.get("metrics"), dict)
        and isinstance(found.get("at_ns"), int)
        and all(isinstance(found.get(key), str) for key in ("role", "kind", "state"))
    )


def status_body(context: RoleContext) -> Status:
    """As it is now."""
    return {
        "schema": SCHEMA,
        "role": context.name,
        "kind": context.kind or context.name,
        "pid": os.getpid(),
        "at_ns": context.clock(),
        "state": context.state,
        "metrics": context.metrics,
    }


def status_message(context: RoleContext) -> Message:
    """The same for the log: one compacted record per instance.

    Raises TypeError for what JSON can't carry, ValueError for what is larger than a broker takes.
    """
    message = Message(
        STATUS.name,
        0,
        context.name.encode(),
        orjson.dumps(
            status_body(context),
            option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY,
        ),
        (("schema", SCHEMA.encode()),),
    )
    refuse_oversized(message)
    return message


async def report_status(
    context: RoleContext, every_s: float = 1.0, show: Callable[[bytes], None] | None = None
) -> None:
    """Publish the status once a second, and a last time when the role has ended ('stopping').

    A broker that is away is no reason to end, nor is a status that can't be sent: then a short one says why, with how
    often that was (`status_unsayable`). `show` is handed each status as well, as JSON. ConfigurationError: the role
    can't work on this log.
    """
    producer = None
    while True:
        ended = context.ended.is_set()
        if ended:
            context.state = "stopping"
        try:
            message = status_message(context)
        except (TypeError, ValueError) as error:
            times = context.metrics["status_unsayable"] = context.metrics.get("status_unsayable", 0) + 1
            if times == 1:
                log.exception("the status can't be sent: a short one goes in its place")
            said = {"status_unsayable": times, "status_unsayable_why": str(error)}
            message = status_message(replace(context, metrics=said))
        if show is not None:
            show(message.value or b"")
        try:
            producer = producer or await context.bus.producer(f"{context.name}-status")
            if "broker_lacks" not in context.metrics:
                context.metrics["broker_lacks"] = await context.bus.lacks()
            await (await producer.send(message))
        except UnreachableError:
            context.metrics["status_unsent"] = context.metrics.get("status_unsent", 0) + 1
        if ended:
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(context.ended.wait(), every_s)
    if producer is not None:
        await producer.close()
