"""A producer on Kafka's protocol. `kafka` says which rules it keeps and why."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, UnknownError, UnsupportedVersionError

from rules.errors import UnreachableError
from streams.bus.bus import MAX_MESSAGE_BYTES, refuse_oversized
from streams.record import Message

if TYPE_CHECKING:
    from streams.bus.kafka import KafkaBus

logger = logging.getLogger(__name__)

LINGER_MS = 0
BATCH_BYTES = 262_144
NEVER_MS = 3_600_000
FAILURES = (KafkaError, TimeoutError, OSError)


class KafkaProducer:
    """Keeps order: when one message fails, so do all behind it, and the next send starts a new connection."""

    def __init__(self, bus: KafkaBus, client_id: str) -> None:
        self._bus = bus
        self._client_id = client_id
        self._inner: aiokafka.AIOKafkaProducer | None = None
        self._topics: dict[str, int] = {}
        self._pending: dict[asyncio.Future[int], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._failed: UnreachableError | None = None
        self._abandoned: set[asyncio.Task[None]] = set()
        self._connecting = asyncio.Lock()

    async def connect(self) -> aiokafka.AIOKafkaProducer:
        """The connection; a new one after a failure. UnreachableError. ConfigurationError: other partitions."""
        async with self._connecting:
            if self._inner is None:
                try:
                    self._inner = await self._connected()
                except FAILURES as error:
                    raise await self._bus.refused(error) from None
            return self._inner

    async def send(self, message: Message) -> Awaitable[int]:
        """Queue one message; see `streams.bus.bus.Producer`. Waits while aiokafka's batches are full."""
        refuse_oversized(message)
        inner = await self.connect()
        await self._check_partition(message)
        try:
            async with asyncio.timeout(self._bus.settings.request_timeout_s):
                sent = await inner.send(
                    message.topic,
                    message.value,
                    message.key,
                    message.partition,
                    headers=list(message.headers),
                )
        except FAILURES as error:
            self._fail(inner, error)
            raise self._bus.unreachable(error) from None
        acknowledgement: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pending[acknowledgement] = asyncio.get_running_loop().time()
        sent.add_done_callback(partial(self._settle, inner, acknowledgement))
        if inner is not self._inner:  # It failed while this message waited for room.
            self._refuse(acknowledgement, self._bus.unreachable())
        self._watch()
        return acknowledgement

    async def flush(self) -> None:
        """Wait for every acknowledgement; raises UnreachableError when one failed since the last flush."""
        while self._pending:
            await asyncio.wait(list(self._pending))
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    async def close(self) -> None:
        """Flush what can be flushed, then let go."""
        with contextlib.suppress(UnreachableError):
            await self.flush()
        if self._timer is not None:
            self._timer.cancel()
        inner, self._inner = self._inner, None
        if inner is not None:
            await stop_client(inner)
        if self._abandoned:
            await asyncio.wait(self._abandoned)

    async def _connected(self) -> aiokafka.AIOKafkaProducer:
        bus = self._bus
        await bus.refuse_other_partitions()
        if bus.idempotent is not False:
            try:
                inner = self._made(idempotent=True)
                await bus.start(inner)
            except (UnknownError, UnsupportedVersionError, IncompatibleBrokerVersion):
                if bus.idempotent:
                    raise  # it has taken one before: this is a failure, and not how the broker is
                logger.info("the broker at %s takes no idempotent producers", bus.settings.bootstrap)
                bus.idempotent = False
            else:
                bus.idempotent = True
                return inner
        inner = self._made(idempotent=False)
        await bus.start(inner)
        return inner

    def _made(self, *, idempotent: bool) -> aiokafka.AIOKafkaProducer:
        return aiokafka.AIOKafkaProducer(
            **self._bus.client_options(),
            client_id=self._client_id,
            acks="all",
            compression_type="lz4",
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES,
            max_request_size=2 * MAX_MESSAGE_BYTES,
            request_timeout_ms=NEVER_MS,
            enable_idempotence=idempotent,
        )

    async def _check_partition(self, message: Message) -> None:
        if message.partition >= self._topics.get(message.topic, 0):
            self._topics[message.topic] = count = await self._bus.partitions(message.topic)
            if message.partition >= count:
                raise UnreachableError(f"topic '{message.topic}' has no partition {message.partition}")

    def _settle(
        self,
        inner: aiokafka.AIOKafkaProducer,
        acknowledgement: asyncio.Future[int],
        sent: asyncio.Future[Any],
    ) -> None:
        error = None if sent.cancelled() else sent.exception()
        if error is None and not sent.cancelled():
            self._pending.pop(acknowledgement, None)
            if not acknowledgement.done():
                acknowledgement.set_result(sent.result().offset)
        elif not acknowledgement.done():
            self._fail(inner, error)

    def _watch(self) -> None:
        """One timer, for the oldest message."""
        if self._timer is None and self._pending:
            limit = next(iter(self._pending.values())) + self._bus.settings.request_timeout_s
            self._timer = asyncio.get_running_loop().call_at(limit, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        oldest = next(iter(self._pending.values()), now)
        if self._inner is not None and now - oldest >= self._bus.settings.request_timeout_s:
            self._fail(self._inner, TimeoutError())
        self._watch()

    def _fail(self, inner: aiokafka.AIOKafkaProducer, error: BaseException | None) -> None:
        """Everything that waits fails at once; the connection goes, so that none of it is sent later."""
        if inner is not self._inner:
            return
        self._inner = None
        failure = self._failed = self._bus.unreachable(error)
        for acknowledgement in list(self._pending):
            self._refuse(acknowledgement, failure)
        task = asyncio.create_task(_abandon(inner))
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)

    def _refuse(self, acknowledgement: asyncio.Future[int], error: UnreachableError) -> None:
        self._pending.pop(acknowledgement, None)
        if not acknowledgement.done():
            acknowledgement.set_exception(error)
            acknowledgement.exception()  # Seen: whoever counts on flush() alone leaves no warning behind.


async def stop_client(client: Any) -> None:
    """Stop an aiokafka client whatever its state; what it says then helps nobody.

    In a task of its own: a consumer whose fetch waits before it tries again ends its own stop() with the
    CancelledError of that fetch, connections open; here that would look as if we were cancelled.
    """
    stopping = asyncio.ensure_future(
        client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop()
    )
    await asyncio.wait([stopping])
    with contextlib.suppress(*FAILURES):
        if stopping.cancelled():
            await (client.client if isinstance(client, aiokafka.AIOKafkaProducer) else client._client).close()
        else:
            stopping.result()


async def _abandon(inner: aiokafka.AIOKafkaProducer) -> None:
    """Drop a producer with what it holds. Its own stop() would go on trying to send, for an hour."""
    await inner.client.close()
    sender = inner._sender.sender_task
    while sender is not None and not sender.done():
        sender.cancel()
        await asyncio.wait([sender], timeout=0.05)
    inner._closed = True  # All that stop() would do is done, but for waiting.
