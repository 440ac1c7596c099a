"""One plant server, for as long as the role runs: connect, carry readings, say when it has gone, come back.

- Without a connection every point is bad (`BadNoCommunication`); what was not seen is reported as a gap.
- The loop never ends silently: whatever a server sends, this source starts again and says why.
- The wait before a new attempt grows to five seconds, with jitter: gateways must not come back in step.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from asyncio import FIRST_COMPLETED
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asyncua import ua

from gateways.opcua.inventory import parse_address
from gateways.opcua.points import SourcePoints
from gateways.opcua.security import check_security, require_sound, secure
from gateways.opcua.session import ServerSession, SessionLostError
from gateways.opcua.stack import Client
from gateways.opcua.texts import explain
from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.quality import BAD_NO_COMMUNICATION, Quality
from rules.site.model import Site, Source
from streams.publisher.publisher import Publisher

REQUEST_TIMEOUT_S = 2.0
"""Connecting to a server that hangs must leave time to say within 3 s that it is gone."""
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 5.0
NAMED_AT_MOST = 20

_log = logging.getLogger(__name__)


def backoff_s(failures: int) -> float:
    """Seconds to wait after this many failed attempts in a row (at least 1): doubling, half of it random."""
    longest = min(FIRST_WAIT_S * 2.0 ** min(failures - 1, 16), LONGEST_WAIT_S)
    return random.uniform(longest / 2, longest)


def findings_of(site: Site, source: Source) -> list[Finding]:
    """Everything that is wrong with a source's endpoint, its security and the addresses of its points."""
    findings = check_security(source)
    for point in site.points.values():
        if point.source == source.id:
            try:
                parse_address(point)
            except ConfigurationError as error:
                findings.extend(error.findings)
    return findings


class SourceGateway:
    """The gateway of one source. `metrics()` is its part of the status record.

    Raises ConfigurationError when the source's endpoint, security or addresses are wrong.
    """

    def __init__(
        self,
        site: Site,
        source: Source,
        publisher: Publisher,
        run_dir: Path,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.table = SourcePoints(site, source, publisher, clock_ns)
        self._clock_ns = clock_ns
        self._source = source
        self._log = logging.LoggerAdapter(_log, {"source": source.id})
        self._run_dir = run_dir
        self._session: ServerSession | None = None
        self._state = "connecting"
        self._reason = ""
        self._connections = 0
        self._lost_ns = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._readings_before = 0
        self._asked_s = time.monotonic()
        require_sound(findings_of(site, source))
        self._addresses = {row: parse_address(point) for row, point in enumerate(self.table.points)}

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        started_ns = self._clock_ns()
        stopping = asyncio.create_task(stop.wait())
        carrying = asyncio.create_task(self.table.carry())
        failures = 0
        try:
            while not stop.is_set():
                attempt = asyncio.create_task(self._connection(started_ns))
                await asyncio.wait([attempt, stopping, carrying], return_when=FIRST_COMPLETED)
                if not attempt.done():
                    await _cancelled(attempt)
                    break
                failures = 1 if attempt.result() else failures + 1
                await asyncio.wait(
                    [stopping, carrying], timeout=backoff_s(failures), return_when=FIRST_COMPLETED
                )
                if carrying.done():
                    break
        finally:
            stopping.cancel()
            self.table.finish()
            await asyncio.gather(*self._closing)
            await carrying

    async def _connection(self, started_ns: int) -> bool:
        """One connection from beginning to end; True when it had carried readings."""
        client = Client(self._source.endpoint, timeout=REQUEST_TIMEOUT_S, watchdog_intervall=3600)
        client.session_timeout = 60_000
        carried = False
        try:
            await secure(client, self._source, self._run_dir)
            await client.connect()
            session = ServerSession(client, self.table, self._addresses, self._clock_ns)
            await session.start()
            self._came_back(session)
            carried = True
            await session.watch()
        except (SessionLostError, OSError, ua.UaError) as error:
            self._went(explain(error), carried, started_ns)
        except Exception as error:
            # A server's nonsense must not end the readings of the others; it is logged whole, and counted.
            self._log.exception("%s: unexpected failure", self._source.id)
            self.table.counts["unexpected_failures"] += 1
            self._went(f"{type(error).__name__}: {explain(error)}", carried, started_ns)
        finally:
            self._session = None
            # A hung server only costs the request's own time-out.
            closing = asyncio.create_task(client.leave(2 * REQUEST_TIMEOUT_S))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return carried

    def _came_back(self, session: ServerSession) -> None:
        now_ns = self._clock_ns()
        self._session = session
        self._state = "connected"
        if self._lost_ns:
            missed = self.table.expected(self._lost_ns, now_ns)
            self.table.report_gap("disconnected", self._lost_ns, now_ns, missed)
        self._connections += 1
        self._lost_ns = 0
        self._reason = ""
        self._log.info(
            "%s: connected to %s, %d points in %d subscriptions",
            self._source.id,
            self._source.endpoint,
            len(self.table) - len(session.lacking),
            len(session.subscriptions),
        )
        for row, status in sorted(session.lacking.items()):
            point = self.table.points[row]
            name = ua.status_codes.get_name_and_doc(status)[0]
            self._log.warning(
                "%s: the server lacks %s at %s (%s)", self._source.id, point.id, point.address, name
            )
        for difference in session.differences:
            self._log.warning("%s: %s", self._source.id, difference)

    def _went(self, reason: str, carried: bool, started_ns: int) -> None:
        """Every point is bad from here on: said once per loss, before anything else is tried."""
        if carried or self._state == "connecting":
            self._lost_ns = self._session.heard_ns if self._session is not None else started_ns
            self._state = "disconnected"
            self.table.declare_bad(range(len(self.table)), BAD_NO_COMMUNICATION)
            self._log.warning("%s: %s has gone: %s", self._source.id, self._source.endpoint, reason)
        elif reason != self._reason:
            self._log.warning("%s: %s still away: %s", self._source.id, self._source.endpoint, reason)
        self._reason = reason

    def metrics(self) -> dict[str, Any]:
        """For the status record; readings/s is since the last call."""
        counts = self.table.counts
        now_s = time.monotonic()
        per_s = (counts["readings"] - self._readings_before) / max(now_s - self._asked_s, 1e-3)
        self._readings_before, self._asked_s = counts["readings"], now_s
        session = self._session
        lacking = sorted(session.lacking) if session is not None else []
        age_s = self.table.oldest_age_s()
        return {
            "readings": 0,
            "gaps": 0,
            **counts,
            "state": self._state,
            "reason": self._reason,
            "endpoint": self._source.endpoint,
            "points": len(self.table),
            "points_bad": sum(quality >= Quality.BAD for quality in self.table.quality),
            "points_stale": self.table.stale(),
            "readings_per_s": round(per_s, 1),
            "missing_nodes": len(lacking),
            "missing_node_names": [self.table.points[row].id for row in lacking[:NAMED_AT_MOST]],
            "differences": session.differences[:NAMED_AT_MOST] if session is not None else [],
            "reconnects": max(self._connections - 1, 0),
            "subscriptions": len(session.subscriptions) if session is not None else 0,
            "oldest_data_age_s": round(age_s, 3) if age_s != float("inf") else None,
            "clock_skew_ms": session.skew_ms if session is not None else None,
            "server_state": session.server_state if session is not None else "",
        }


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
