"""Records of `commands` that nobody can read, on their way to dead-letters.

Rules: each goes there once, although every start reads the log from its beginning: the ledger has a name for it.
Whoever can write to the log can write as many as it takes: so they are buried by the batch, behind what is believed,
and the log of the role says it seldom.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Mapping, Sequence

from gateways.actuators.ledger import CommandLedger
from rules.errors import UndecodableError, UnreachableError
from streams.bus.bus import Producer
from streams.dead_letter import dead_letter
from streams.log_limit import limited
from streams.record import Record
from streams.role import RoleContext

log_again: logging.Logger = limited(__name__)


class Burial:
    """Counts in the context's metrics: `undecodable`, and `dead_letters_unsent` once there are any."""

    def __init__(self, context: RoleContext, ledger: CommandLedger) -> None:
        self._context = context
        self._ledger = ledger
        self._producer: Producer | None = None
        self._sent: set[str] = set()
        """Names in dead-letters that the ledger did not take."""

        context.metrics.update(undecodable=0)

    async def bury(self, found: Sequence[tuple[Record, UndecodableError]]) -> None:
        """Those that are new, each with its reason. UnreachableError: the ledger."""
        named = {_name(record): (record, error) for record, error in found}
        known = await asyncio.to_thread(self._ledger.known, list(named))
        new = {name: said for name, said in named.items() if name not in known and name not in self._sent}
        if not (new or self._sent):
            return
        metrics = self._context.metrics
        metrics["undecodable"] += len(new)
        failure, sent = await self._send(new)
        if failure is not None:
            metrics["dead_letters_unsent"] = metrics.get("dead_letters_unsent", 0) + len(new) - len(sent)
            log_again.error("dead-letters: %s", failure)
        self._sent.update(sent)
        now_ns = self._context.clock()
        await asyncio.to_thread(self._ledger.mark, [(name, now_ns) for name in self._sent])
        self._sent.clear()

    async def close(self) -> None:
        """Let go of the broker."""
        if self._producer is not None:
            await self._producer.close()

    async def _send(
        self, new: Mapping[str, tuple[Record, UndecodableError]]
    ) -> tuple[UnreachableError | None, list[str]]:
        """Names of those that the broker has, and why it has not all."""
        failure: UnreachableError | None = None
        waiting: list[Awaitable[int]] = []
        try:
            if self._producer is None:
                self._producer = await self._context.bus.producer("actuators-dead-letters")
            for record, error in new.values():
                log_again.error("%s %d:%d: %s", record.topic, record.partition, record.offset, error)
                waiting.append(await self._producer.send(dead_letter(record, error)))
        except UnreachableError as error:
            failure = error  # what comes after it would wait for the same
        sent: list[str] = []
        for name, acknowledgement in zip(new, waiting, strict=False):
            try:
                await acknowledgement
            except UnreachableError as error:
                failure = error
            else:
                sent.append(name)
        return failure, sent


def _name(record: Record) -> str:
    return f"undecodable:{hashlib.sha256(record.value or b'').hexdigest()[:32]}"
