"""Faust as the carrier of `events`. The only module that imports faust.

Rules that this module obeys (decision 0040 says what was measured):
- Records come through a Faust agent, as bytes, and are handed on in batches: whatever Faust has ready.
- Faust acknowledges nothing. Its bookkeeping commits past what was not acknowledged when the order is not that of
  the offsets, so the one who knows what is covered commits, through `commit`.
- An exception must not leave the agent: Faust would restart it at the next record. It is handed to `failure`, and
  the agent takes no further record.
- Where reading starts is ours: `perform_seek` runs last in a rebalance, and puts a partition where its state is.
- Who has which partition is ours too (`sharing`): Faust's assignor moves up to twice as many as have to move.
- No tables, no leader topic, no web server, no file: Faust keeps nothing of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import faust
from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor
from faust.auth import Credentials, OAuthCredentials, SASLCredentials, SSLCredentials
from faust.tables import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from rules.errors import InvariantError, UnreachableError
from streams.bus.contiguous import FetchWait, Holes
from streams.bus.kafka_batches import tolerate_header_names
from streams.bus.kafka_producer import FAILURES
from streams.bus.kafka_security import client_options
from streams.bus.kafka_static_member import say_name
from streams.record import Record, headers_of
from streams.settings import BrokerSettings
from streams.worker.sharing import shared_out

for _module in ("faust.tables.sets", "faust.topics", "faust.worker"):
    importlib.import_module(_module)  # Faust would do so when an app is made, and a log waits for that

BATCH_RECORDS: Final = 1000
"""A longer backlog is worked off in several steps, so that status and snapshots get their turn."""
GATHER_S: Final = 0.002
BEHIND_RECORDS: Final = 100
CATCH_UP_GATHER_S: Final = 0.02
"""Where so many records wait already, this costs no latency: a step of many takes hardly longer than one of few."""
REST_S: Final = 0.02
LOGGERS: Final = (
    "faust.transport.consumer",
    "faust.transport.drivers.aiokafka",
    "faust.transport.conductor",
    "faust.tables.recovery",
    "faust.app.base",
    "mode.threads",
    "mode.services",
    __name__,
)
"""Those that repeat themselves while a broker is away, and this module's, in whose name Faust says what stops."""


@dataclass(frozen=True, slots=True)
class Membership:
    """How the worker belongs to its group. `instance`: static membership, None for a member of no fixed name.

    `fetch_wait_ms`: how long a fetch may wait at the broker for the first record. `hides_records`: the broker may
    show a record before the one in front of it (`streams.bus.contiguous`).
    """

    group: str
    instance: str | None
    session_timeout_s: float
    fetch_wait_ms: int
    hides_records: bool = False


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the carrier asks of its owner. `positions`: the next offset that is wanted of each partition owned."""

    assigned: Callable[[Collection[int]], Awaitable[None]]
    revoked: Callable[[], Awaitable[None]]
    records: Callable[[Sequence[Record]], Awaitable[None]]
    positions: Callable[[], Mapping[int, int]]
    failure: Callable[[BaseException], None]


class _ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # as below
    """Faust gives every fetch 1.5 s; a broker that looks again after half of the wait makes that the latency."""

    membership: Membership
    fetch_wait: FetchWait
    holes: Holes
    wanted: dict[TP, int]
    """The next offset of each partition, set at every rebalance and by what was fetched since."""

    async def on_start(self) -> None:
        await super().on_start()
        if self.membership.instance is not None:
            say_name(self._consumer._coordinator, self.membership.instance, self._fenced)

    def _fenced(self) -> None:
        error = InvariantError(
            f"two workers have one name: another process is '{self.membership.instance}' in the group now; "
            "give each --name"
        )
        self.parent_loop.call_soon_threadsafe(self.consumer.callbacks.failure, error)

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = self.membership.fetch_wait_ms
        return consumer

    async def _fetch_records(self, consumer: Any, active_partitions: Any, *given: Any, **named: Any) -> Any:
        if not self.membership.hides_records:
            return await super()._fetch_records(consumer, active_partitions, *given, **named)
        # a fetch costs that broker as much as its log is long, and there is one for every call of this
        await asyncio.sleep(REST_S)
        fetched = await super()._fetch_records(consumer, active_partitions, *given, **named)
        for place, wanted in self.wanted.items():
            if place in active_partitions:
                end = consumer.highwater(place)
                self.fetch_wait.note(place, place not in fetched and end is not None and end > wanted)
        consumer._fetcher._fetch_max_wait_ms = self.fetch_wait.ms
        return {place: self._without_hole(consumer, place, batch) for place, batch in fetched.items()}

    def _without_hole(self, consumer: Any, place: TP, batch: list[Any]) -> Sequence[Any]:
        wanted = self.wanted.get(place, batch[0].offset if batch else 0)
        kept = self.holes.follow(place, batch, wanted)
        wanted = kept[-1].offset + 1 if kept else wanted
        self.wanted[place] = wanted
        if len(kept) < len(batch) and place in consumer.assignment():
            consumer.seek(place, wanted)
        return kept


class _Consumer(driver.Consumer):  # type: ignore[misc]  # Faust ships no types that mypy can follow
    """Seeks to where the state is, instead of to the committed offsets."""

    callbacks: Callbacks

    def _new_consumer_thread(self) -> _ConsumerThread:
        thread = _ConsumerThread(self, loop=self.loop, beacon=self.beacon)
        thread.wanted = {}
        thread.fetch_wait = FetchWait(thread.membership.fetch_wait_ms)
        thread.holes = Holes()
        return thread

    async def perform_seek(self) -> None:
        await super().perform_seek()
        wanted = self.callbacks.positions()
        self._thread.wanted = {
            place: wanted[place.partition] for place in self.assignment() if place.partition in wanted
        }
        for place in self.assignment():
            if place.partition in wanted:
                # Both: with `_committed_offset` behind, Faust would see a gap; `seek` sets what it reads next.
                self._committed_offset[place] = wanted[place.partition]
                await self.seek(place, wanted[place.partition])

    async def _seek(self, partition: TP, offset: int) -> None:
        """In the consumer's own thread: Faust seeks from this one, under the hands of aiokafka's fetcher (KeyError)."""
        await self._thread.call_thread(self._thread.seek, partition, offset)

    async def commit_covered(self, place: TP, offset: int) -> None:
        await self._commit({place: offset})


class _Transport(driver.Transport):  # type: ignore[misc]  # as above
    Consumer = _Consumer


class _Assignor(PartitionAssignor):  # type: ignore[misc]  # as above
    """Leads a group whose members all read one topic."""

    def _perform_assignment(self, cluster: Any, member_metadata: Mapping[str, Any]) -> Any:
        said = {member: self._get_client_metadata(given) for member, given in member_metadata.items()}
        self._update_member_urls(said)
        (topic,) = {topic for given in member_metadata.values() for topic in given.subscription}
        held = {member: one.assignment.actives.get(topic, ()) for member, one in said.items()}
        shares = shared_out(held, len(cluster.partitions_for_topic(topic) or ()))
        assignments = {
            member: ClientAssignment(actives={topic: mine}, standbys={}) for member, mine in shares.items()
        }
        return self._protocol_assignments(assignments, {}, {}, {topic: 0})


class _NoTables(TableManager):  # type: ignore[misc]  # as above
    """Faust's own waits a second for tables to be made, before it joins the group."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class _App(faust.App):  # type: ignore[misc]  # as above
    def _new_transport(self) -> _Transport:
        return _Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """They would hold tables."""


class FaustInput:
    """One topic, carried by one agent of one Faust app."""

    def __init__(
        self, topic: str, broker: BrokerSettings, membership: Membership, callbacks: Callbacks
    ) -> None:
        tolerate_header_names()
        self._topic = topic
        self._callbacks = callbacks
        self._closed = False
        session_s = membership.session_timeout_s
        self._app = _App(
            membership.group,
            broker=[f"kafka://{address.strip()}" for address in broker.bootstrap.split(",")],
            broker_credentials=_credentials(client_options(broker)),
            store="memory://",
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            consumer_auto_offset_reset="earliest",
            consumer_group_instance_id=membership.instance,
            PartitionAssignor=_Assignor,
            TableManager=_NoTables,
            # An assignment has to name its member's address; a static member may come back on another host.
            canonical_url="http://headrace",
            broker_session_timeout=session_s,
            # The answer to a heartbeat says that the group shares anew: who joins waits for everybody's next one.
            broker_heartbeat_interval=max(session_s / 30, 0.2),
            broker_rebalance_timeout=max(session_s, 10.0),
            broker_request_timeout=max(session_s, 20.0),
            # Nothing is held back in Faust's own sense: it must not wait for acknowledgements that never come.
            stream_wait_empty=False,
            # Its livelock detector looks for commits; ours (the watchdog) looks for progress.
            broker_commit_livelock_soft_timeout=1e9,
            stream_processing_timeout=1e9,
        )
        self._bootstrap = broker.bootstrap
        _Consumer.callbacks = callbacks
        _ConsumerThread.membership = membership
        self._app.on_partitions_revoked.connect(self._revoked)
        self._app.on_rebalance_complete.connect(self._assigned)
        source = self._app.topic(
            topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )
        self._app.agent(source, name="events")(self._carry)

    async def start(self) -> None:
        """Join the group; returns before partitions are assigned. UnreachableError: the broker has gone meanwhile."""
        try:
            await self._app.start()
        except FAILURES as error:
            raise UnreachableError(
                f"no broker answers at {self._bootstrap} ({type(error).__name__})"
            ) from None

    def close(self) -> None:
        """Hand on no further record."""
        self._closed = True

    async def stop(self, patience_s: float = 5.0) -> None:
        """Leave. What takes longer than `patience_s` is left to the end of the process."""
        self.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._app.stop(), patience_s)

    @property
    def crashed(self) -> bool:
        """Whether a service of Faust's own has crashed."""
        return bool(self._app.crashed)

    def lag(self) -> int:
        """Records that are in the log, as far as the last fetches say, and not yet worked off."""
        total = 0
        for partition, position in self._callbacks.positions().items():
            end = self._app.consumer.highwater(TP(self._topic, partition))
            total += max(0, end - position) if end is not None else 0
        return total

    async def commit(self, partition: int, offset: int) -> None:
        """Move the group's offset. One that a rebalance has taken away is left to its next owner."""
        place = TP(self._topic, partition)
        if place in self._app.consumer.assignment():
            await self._app.consumer.commit_covered(place, offset)

    async def _carry(self, stream: Any) -> None:
        ready = stream.channel.queue
        batch: list[Record] = []
        async for event in stream.noack().events():
            if self._closed:
                continue
            batch.append(_record(event.message))
            if ready.empty() and len(batch) == 1:
                # Faust brings records one by one; what was fetched together comes within this time.
                await asyncio.sleep(CATCH_UP_GATHER_S if self.lag() > BEHIND_RECORDS else GATHER_S)
            if ready.empty() or len(batch) >= BATCH_RECORDS:
                taken, batch = batch, []
                await self._guarded(self._callbacks.records(taken))

    async def _revoked(self, app: Any, revoked: Any, **_: Any) -> None:
        await self._guarded(self._callbacks.revoked())

    async def _assigned(self, app: Any, **_: Any) -> None:
        """Awaited by Faust before `perform_seek`, while the partitions are paused."""
        mine = {place.partition for place in app.consumer.assignment() if place.topic == self._topic}
        await self._guarded(self._callbacks.assigned(mine))

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:
            self._closed = True
            self._callbacks.failure(error)


def _credentials(options: Mapping[str, Any]) -> Credentials | None:
    """What `client_options` says, in Faust's own form; None where connections are plain, without a login."""
    tls = options.get("ssl_context")
    if "sasl_oauth_token_provider" in options:
        return OAuthCredentials(oauth_cb=options["sasl_oauth_token_provider"], ssl_context=tls)
    if "sasl_mechanism" in options:
        return SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=tls,
        )
    return None if tls is None else SSLCredentials(tls)


def _record(message: Any) -> Record:
    return Record(
        message.topic,
        message.partition,
        message.offset,
        int(message.timestamp * 1000),
        message.key,
        message.value,
        headers_of(message.headers or ()),
    )
