"""The bus on Kafka's protocol (Apache Kafka, or the embedded broker), through aiokafka.

Only this file and its neighbours `kafka_*` import aiokafka. Rules that they keep, and why:
- aiokafka never gives a batch up by itself (its own time-out is an hour); we do, for a whole producer at once.
  Its way, batch by batch, would let a later batch into the log after an earlier one had been given up.
- One request in flight per partition (aiokafka's habit), and nothing names a topic that may not exist: the
  embedded broker would create it, with a number of partitions of its own.
- Idempotent where the broker can be: Tansu fails InitProducerId. Repeats that follow are dropped by identity.
- A log that was rolled to a fresh one has a new cluster id; readers look for it and start at the earliest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError, for_code
from aiokafka.protocol.metadata import MetadataRequest

from rules.errors import ConfigurationError, UnreachableError
from rules.findings import Finding
from streams.bus.bus import Start
from streams.bus.contiguous import FetchWait, Holes
from streams.bus.kafka_batches import tolerate_header_names
from streams.bus.kafka_producer import FAILURES, KafkaProducer, stop_client
from streams.bus.kafka_security import NOT_ALLOWED, client_options, what_is_not_allowed, why_refused
from streams.bus.kafka_topics import KafkaTopics
from streams.log_limit import limit_logs
from streams.record import Record, TopicPartition, headers_of
from streams.settings import BOOTSTRAP_VARIABLE, BrokerSettings
from streams.topics import EVENTS, Topic

logger = logging.getLogger(__name__)

FETCH_BYTES = 4 * 1_048_576
CLUSTER_WATCH_S = 1.0
LOOK_AGAIN_S = 1.0
EMBEDDED_PREFIX = "headrace-"
"""How the cluster ids of embedded brokers begin."""
FETCH_WAIT_MS = 500
EMBEDDED_FETCH_WAIT_MS = 50
"""Kafka answers a waiting fetch when a record comes; Tansu looks again after about half of the wait."""
QUERY_FETCH_WAIT_MS = 10
QUERY_RETRY_MS = 10
"""After the first question about a topic, whose leaders aiokafka then learns: its own pause is 100 ms."""


class _Clients(NamedTuple):
    """What the bus itself asks with: topics and the cluster, and offsets."""

    admin: AIOKafkaAdminClient
    query: aiokafka.AIOKafkaConsumer


class KafkaBus:
    """A broker at `settings.bootstrap`. Nothing connects before it is needed.

    `said_by`: the option or variable by which a user says where the broker is. `of_role`: roles find a unit's partition
    by `settings.partitions`, so this bus makes no producer and no reader at a log that has others.
    """

    def __init__(
        self, settings: BrokerSettings, said_by: str = BOOTSTRAP_VARIABLE, *, of_role: bool = False
    ) -> None:
        limit_logs()
        tolerate_header_names()
        self.settings = settings
        self._said_by = said_by
        self._of_role = of_role
        self._had_right_partitions = False
        self.idempotent: bool | None = None
        """Whether the broker takes idempotent producers; None until one was tried."""
        self._client_options: dict[str, Any] | None = None
        self._cluster_id: str | None = None
        self._clients: _Clients | None = None
        self._lock = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None

    async def create_topics(self, topics: Sequence[Topic], partitions: int) -> None:
        """Create those that do not exist. ConfigurationError when one exists with other partitions."""
        await KafkaTopics(self).create(topics, partitions)

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has; 0 when it does not exist. UnreachableError: also where nobody may say."""
        return await self._count(topic, await self.described())

    async def lacks(self) -> Sequence[str]:
        """What the broker has not of what Headrace asks of one, in stable words. UnreachableError."""
        if self.idempotent is None:
            with contextlib.suppress(UnreachableError):  # who may write to no topic never hears
                await (await self.producer("idempotence")).close()
        lacks = [] if self.idempotent is not False else ["idempotent-producers"]
        if is_embedded(await self.cluster_id()):
            lacks += ["retention", "compaction"]  # it says back what it is told of both, and does neither
        return lacks if await KafkaTopics(self).can_alter() else [*lacks, "altered-configuration"]

    async def ends(self, topic: str) -> Mapping[TopicPartition, int]:
        """One past the last offset of each partition."""
        return await self._offsets([topic], "latest")

    async def producer(self, client_id: str) -> KafkaProducer:
        """A producer of its own connection. UnreachableError. ConfigurationError: see `refuse_other_partitions`."""
        producer = KafkaProducer(self, client_id)
        await producer.connect()
        return producer

    async def reader(
        self, topics: Sequence[str], start: Start | Mapping[TopicPartition, int] = "earliest"
    ) -> KafkaReader:
        """A reader over all partitions of `topics`, or those of `start` from those offsets.

        UnreachableError. ConfigurationError: see `refuse_other_partitions`.
        """
        await self.refuse_other_partitions()
        cluster_id = await self.cluster_id()
        positions = dict(start) if isinstance(start, Mapping) else await self._offsets(topics, start)
        consumer = aiokafka.AIOKafkaConsumer(
            **self.client_options(),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=EMBEDDED_FETCH_WAIT_MS if is_embedded(cluster_id) else FETCH_WAIT_MS,
            max_partition_fetch_bytes=FETCH_BYTES,
            request_timeout_ms=max(1000, round(self.settings.request_timeout_s * 1000)),
        )
        try:
            await self.start(consumer)
        except FAILURES as error:
            raise await self.refused(error) from None
        consumer.assign([aiokafka.TopicPartition(*partition) for partition in positions])
        for partition, offset in positions.items():
            consumer.seek(aiokafka.TopicPartition(*partition), offset)
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_cluster())
        return KafkaReader(self, consumer, positions, cluster_id)

    async def refuse_other_partitions(self) -> None:
        """ConfigurationError: the bus of a role, and the log has another number of partitions. UnreachableError.

        Before anything is sent or read: a unit's records in two partitions are no longer in one order. A log that once
        was right and has other partitions now is out of reach: no role ends, so gateways spool and actuators fall back.
        """
        if not self._of_role:
            return
        # one without a leader counts: it must not keep a role from the others, nor from other topics
        wanted, found = self.settings.partitions, await self._count(EVENTS.name, await self._listed())
        if found not in {0, wanted}:
            # a client that was faster may have made it, and the embedded broker's start is then made again
            await asyncio.sleep(LOOK_AGAIN_S)
            found = await self._count(EVENTS.name, await self._listed())
        if not found:
            raise self._no_topic(EVENTS.name)
        if found != wanted:
            text = f"broker.partitions is {wanted} here, and topic '{EVENTS.name}' has {found} partitions"
            hint = (
                f"HEADRACE_BROKER__PARTITIONS={found} in the environment of every role, or broker.partitions in "
                "headrace.yaml: docs/operations.md, Start"
            )
            if self._had_right_partitions:
                raise UnreachableError(f"{text}; when this process began it was right ({hint})")
            raise ConfigurationError([Finding(self.settings.bootstrap, 0, 0, text, hint)])
        self._had_right_partitions = True

    async def cluster_id(self) -> str:
        """The broker's word on which cluster it is: another one means a fresh log."""
        self._cluster_id = str(
            (await self.ask(lambda clients: clients.admin.describe_cluster()))["cluster_id"]
        )
        return self._cluster_id

    @property
    def last_cluster_id(self) -> str | None:
        """As last heard; a reader makes the bus ask once a second."""
        return self._cluster_id

    async def close(self) -> None:
        """Let go of the connections of the bus itself; producers and readers are closed by who has them."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        await self._let_go()

    # Inside.

    def client_options(self) -> dict[str, Any]:
        """Of every client. ConfigurationError: a file of TLS or SASL can't be used."""
        if self._client_options is None:
            self._client_options = client_options(self.settings)
        return self._client_options

    async def refused(self, error: BaseException) -> UnreachableError:
        """The message about a client that could not start: no broker, or one that does not let it in."""
        if isinstance(error, KafkaConnectionError):
            why = await why_refused(self.client_options(), self.settings.request_timeout_s)
            if why:
                return UnreachableError(f"no way in to the broker at {self.settings.bootstrap}: {why}")
        return self.unreachable(error)

    def unreachable(self, error: BaseException | None = None) -> UnreachableError:
        """The one message about a broker that does not answer, or does not allow what is asked."""
        if isinstance(error, NOT_ALLOWED):
            return self.not_allowed(what_is_not_allowed(error))
        why = f" ({type(error).__name__})" if error is not None else ""
        hint = f"start one, or say where it is ({self._said_by})"
        if self.settings.is_encrypted and isinstance(error, TimeoutError):
            # a broker without TLS may wait for more of what it takes for a long message
            hint += "; or is there one without TLS (broker.security_protocol)?"
        return UnreachableError(f"no broker answers at {self.settings.bootstrap}{why}: {hint}")

    def not_allowed(self, what: str) -> UnreachableError:
        """The one message about a right that is missing."""
        user = self.settings.username or "this client"
        return UnreachableError(
            f"the broker at {self.settings.bootstrap} does not allow {user} {what}: "
            "`headrace topics acl` lists what each role needs"
        )

    async def start(self, client: Any) -> None:
        """Start an aiokafka client in time, or leave nothing of it behind. KafkaError, TimeoutError."""
        try:
            async with asyncio.timeout(self.settings.request_timeout_s):
                await client.start()
        except BaseException:
            await stop_client(client)
            raise

    async def _watch_cluster(self) -> None:
        """Also the one who says that the broker has gone: a reader goes on trying without a word."""
        answers = True
        while True:
            await asyncio.sleep(CLUSTER_WATCH_S)
            try:
                await self.cluster_id()
            except UnreachableError as error:
                if answers:
                    logger.warning("%s; trying again", error)
                answers = False
            else:
                if not answers:
                    logger.warning("the broker at %s answers again", self.settings.bootstrap)
                answers = True

    async def ask(self, question: Callable[[_Clients], Awaitable[Any]]) -> Any:
        """Ask the broker; a failure drops the connections, so that the next question starts anew."""
        async with self._lock:
            try:
                if self._clients is None:
                    admin = AIOKafkaAdminClient(**self.client_options())
                    query = aiokafka.AIOKafkaConsumer(
                        **self.client_options(),
                        fetch_max_wait_ms=QUERY_FETCH_WAIT_MS,
                        retry_backoff_ms=QUERY_RETRY_MS,
                    )
                    self._clients = _Clients(admin, query)
                    await self.start(admin)
                    await self.start(query)
                async with asyncio.timeout(self.settings.request_timeout_s):
                    return await question(self._clients)
            except FAILURES as error:
                await self._let_go()
                raise await self.refused(error) from None

    async def _let_go(self) -> None:
        clients, self._clients = self._clients, None
        if clients is not None:
            await stop_client(clients.admin)
            await stop_client(clients.query)

    async def described(self) -> dict[str, Sequence[Any]]:
        """The partitions of every topic that is ready: Kafka answers a creation before its leaders are there."""
        return {
            name: partitions
            for name, partitions in (await self._listed()).items()
            if partitions and all(partition["leader"] >= 0 for partition in partitions)
        }

    async def _listed(self) -> dict[str, Sequence[Any]]:
        """The partitions of every topic. All are asked for, as naming one would create it on the embedded broker."""
        topics = await self.ask(lambda clients: clients.admin.describe_topics())
        return {topic["topic"]: topic["partitions"] for topic in topics}

    async def _count(self, topic: str, topics: Mapping[str, Sequence[Any]]) -> int:
        found = topics.get(topic, ())
        if not found and self.settings.security_protocol != "PLAINTEXT":
            await self._refuse_hidden(topic)
        return len(found)

    async def _refuse_hidden(self, topic: str) -> None:
        """Raise UnreachableError where the topic may exist, and this client has no right to know of it.

        That a log has no mark of a replay must not be what a missing right looks like.
        """
        request = MetadataRequest([topic], allow_auto_topic_creation=False)
        answer = await self.ask(lambda clients: clients.admin._send_request(request))
        if any(for_code(found["error_code"]) in NOT_ALLOWED for found in answer.to_object()["topics"]):
            raise self.not_allowed(f"to know of topic '{topic}'")

    def _no_topic(self, topic: str) -> UnreachableError:
        return UnreachableError(
            f"topic '{topic}' does not exist at {self.settings.bootstrap}, or may not be seen"
        )

    async def _offsets(self, topics: Sequence[str], start: Start) -> dict[TopicPartition, int]:
        described = await self.described()
        for topic in topics:
            if topic not in described:
                raise self._no_topic(topic)
        wanted = [
            aiokafka.TopicPartition(topic, number)
            for topic in topics
            for number in range(len(described[topic]))
        ]
        if start == "earliest":
            found = await self.ask(lambda clients: clients.query.beginning_offsets(wanted))
        elif is_embedded(self._cluster_id or await self.cluster_id()):
            found = await self.ask(lambda clients: _high_watermarks(clients.query, wanted))
        else:
            found = await self.ask(lambda clients: clients.query.end_offsets(wanted))
        return {TopicPartition(key.topic, key.partition): offset for key, offset in found.items()}


class KafkaReader:
    """Reads assigned partitions, without a group."""

    def __init__(
        self,
        bus: KafkaBus,
        consumer: aiokafka.AIOKafkaConsumer,
        positions: dict[TopicPartition, int],
        cluster_id: str,
    ) -> None:
        self._bus = bus
        self._consumer = consumer
        self._positions = positions
        self._cluster_id = cluster_id
        self._fetch_wait = FetchWait(EMBEDDED_FETCH_WAIT_MS)
        self._holes = Holes()

    async def read(self, timeout_s: float, limit: int = 500) -> Sequence[Record]:
        """The next records; waits up to `timeout_s` for the first one."""
        if self._bus.last_cluster_id not in {None, self._cluster_id}:
            self._cluster_id = str(self._bus.last_cluster_id)
            self._start_again(list(self._positions))
        try:
            batches = await self._consumer.getmany(timeout_ms=round(timeout_s * 1000), max_records=limit)
        except NOT_ALLOWED as error:
            raise self._bus.unreachable(error) from None
        except KafkaError as error:
            # aiokafka tries again by itself; what reaches us here concerns one partition and this call.
            logger.warning("reading from %s: %s", self._bus.settings.bootstrap, type(error).__name__)
            await asyncio.sleep(min(timeout_s, 0.1))
            return ()
        if not batches and is_embedded(self._cluster_id) and (beyond := self._beyond_the_log()):
            self._start_again(beyond)
        if not batches:
            await self._follow()
        if is_embedded(self._cluster_id):
            self._adapt_fetch_wait(batches)
            batches = {place: self._without_hole(place, batch) for place, batch in batches.items()}
        records = [
            Record(
                found.topic,
                found.partition,
                found.offset,
                found.timestamp,
                found.key,
                found.value,
                headers_of(found.headers),
            )
            for batch in batches.values()
            for found in batch
        ]
        for record in records:
            self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
        return records

    def positions(self) -> Mapping[TopicPartition, int]:
        """The offset of the next record of each partition."""
        return dict(self._positions)

    async def close(self) -> None:
        """Let go."""
        await stop_client(self._consumer)

    async def _follow(self) -> None:
        """Where nothing came, only the consumer knows whether retention has moved it on, up to the end perhaps."""
        for partition in self._positions:
            # while it looks for the earliest record, the next read asks again
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    place = aiokafka.TopicPartition(*partition)
                    self._positions[partition] = await self._consumer.position(place)

    def _without_hole(self, place: aiokafka.TopicPartition, batch: list[Any]) -> Sequence[Any]:
        position = self._positions.get(TopicPartition(place.topic, place.partition), 0)
        kept = self._holes.follow(place, batch, position)
        if len(kept) < len(batch):
            self._consumer.seek(place, kept[-1].offset + 1 if kept else position)
        return kept

    def _adapt_fetch_wait(self, batches: Mapping[Any, Any]) -> None:
        for partition, position in self._positions.items():
            place = aiokafka.TopicPartition(*partition)
            end = self._consumer.highwater(place)
            self._fetch_wait.note(partition, place not in batches and end is not None and end > position)
        self._consumer._fetcher._fetch_max_wait_ms = self._fetch_wait.ms

    def _beyond_the_log(self) -> list[TopicPartition]:
        """Partitions whose log ends before our position: Kafka would say OffsetOutOfRange, Tansu says nothing."""
        return [
            partition
            for partition, position in self._positions.items()
            if (end := self._consumer.highwater(aiokafka.TopicPartition(*partition))) is not None
            and end < position
        ]

    def _start_again(self, partitions: list[TopicPartition]) -> None:
        """Offsets of another log mean nothing here: what was already read of the fresh one is read once more."""
        logger.warning(
            "the log at %s is a fresh one: reading it from its start", self._bus.settings.bootstrap
        )
        for partition in partitions:
            self._positions[partition] = 0
            self._consumer.seek(aiokafka.TopicPartition(*partition), 0)


def is_embedded(cluster_id: str) -> bool:
    """Whether the cluster is an embedded broker of ours."""
    return cluster_id.startswith(EMBEDDED_PREFIX)


async def _high_watermarks(
    query: aiokafka.AIOKafkaConsumer, partitions: list[aiokafka.TopicPartition]
) -> dict[aiokafka.TopicPartition, int]:
    """As a fetch has them: Tansu's ListOffsets counts its last batch as one record, however many it has."""
    query.assign(partitions)
    for partition, offset in (await query.end_offsets(partitions)).items():
        query.seek(partition, max(0, offset - 1))
    try:
        while any(query.highwater(partition) is None for partition in partitions):
            await query.getmany(timeout_ms=QUERY_FETCH_WAIT_MS)
        return {partition: query.highwater(partition) for partition in partitions}
    finally:
        query.unsubscribe()
