"""Topics on a broker: asked for, created, their settings altered. The only place that does so.

`headrace up`, a replay that makes its log, and `headrace topics apply` all create topics by `KafkaTopics.create`.
Topics are never deleted here, and never get other partitions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, for_code

from rules.errors import ConfigurationError, UnreachableError
from rules.findings import Finding
from streams.bus.kafka_security import NOT_ALLOWED
from streams.bus.topic_state import (
    Copies,
    Difference,
    PartitionCopies,
    TopicState,
    copies,
    differences,
    refuse_too_few,
    shortfalls,
    wanted_config,
)
from streams.topics import CONSUMER_OFFSETS, Topic

if TYPE_CHECKING:
    from streams.bus.kafka import KafkaBus

_TOPIC_EXISTS: Final = 36
_AT_THE_TOPIC: Final = 1
"""Where a setting comes from: the topic itself, rather than the broker's defaults."""
_LOOK_EVERY_S: Final = 0.05


class KafkaTopics:
    """The topics of the broker of `bus`."""

    def __init__(self, bus: KafkaBus) -> None:
        self._bus = bus

    async def copies(self) -> Copies:
        """How many copies there should be, in this cluster. ConfigurationError, UnreachableError."""
        return copies(self._bus.settings, await self.hosts())

    async def copies_of_new(self) -> Copies:
        """The same, of a topic that is made now. ConfigurationError: too few brokers are alive for it."""
        hosts = await self.hosts()
        refuse_too_few(self._bus.settings, hosts)
        return copies(self._bus.settings, hosts)

    async def hosts(self) -> list[str]:
        """Where each broker that is alive says that it is."""
        cluster = await self._bus.ask(lambda clients: clients.admin.describe_cluster())
        return [broker["host"] for broker in cluster["brokers"]]

    async def differences(self, topics: Sequence[Topic], partitions: int) -> list[Difference]:
        """Everything about `topics` that is not as it should be. UnreachableError."""
        return differences(topics, partitions, await self.copies(), await self.found(topics))

    async def shortfalls(self, topics: Sequence[Topic]) -> list[Difference]:
        """Copies that are missing or behind, of `topics` and of the positions of Kafka's groups. UnreachableError."""
        described = await self._bus.described()
        names = [name for name in (*(topic.name for topic in topics), CONSUMER_OFFSETS) if name in described]
        found = {
            name: [
                PartitionCopies(one["partition"], len(one["replicas"]), len(one["isr"]))
                for one in described[name]
            ]
            for name in names
        }
        return shortfalls(found, await self.copies())

    async def found(self, topics: Iterable[Topic]) -> dict[str, TopicState]:
        """Those of `topics` that exist."""
        described = await self._bus.described()
        names = [topic.name for topic in topics if topic.name in described]
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        config: dict[str, list[dict[str, Any]]] = {}
        answers = await self._bus.ask(lambda clients: clients.admin.describe_configs(resources))
        for resource in (resource for answer in answers for resource in answer.to_object()["resources"]):
            self._refuse(resource["error_code"], f"describe the configuration of {resource['resource_name']}")
            config[resource["resource_name"]] = resource["config_entries"]
        return {
            name: TopicState(
                len(described[name]),
                min(len(partition["replicas"]) for partition in described[name]),
                {entry["config_names"]: entry["config_value"] for entry in config[name]},
                {
                    entry["config_names"]: entry["config_value"]
                    for entry in config[name]
                    if entry["config_source"] == _AT_THE_TOPIC
                },
            )
            for name in names
        }

    async def create(self, topics: Sequence[Topic], partitions: int) -> None:
        """Create those that do not exist. UnreachableError.

        ConfigurationError: one exists with other partitions, or too few brokers are alive for three copies.
        """
        found: Mapping[str, Sequence[Any]] = await self._bus.described()
        missing = [topic for topic in topics if topic.name not in found]
        if missing:
            wanted = await self.copies_of_new()
            new = [
                NewTopic(
                    topic.name,
                    topic.partitions or partitions,
                    wanted.replication,
                    topic_configs=wanted_config(topic, wanted.min_insync),
                )
                for topic in missing
            ]
            response = await self._bus.ask(lambda clients: clients.admin.create_topics(new))
            for name, code, text in ((error[0], error[1], error[-1]) for error in response.topic_errors):
                if code != _TOPIC_EXISTS:
                    self._refuse(code, f"create topic '{name}'", text)
            found = await self._appeared({topic.name for topic in missing})
        wrong = [
            Finding(
                self._bus.settings.bootstrap, 0, 0, f"topic '{topic.name}' has {have} partitions, not {want}"
            )
            for topic in topics
            if (have := len(found.get(topic.name, ()))) != (want := topic.partitions or partitions)
        ]
        if wrong:
            raise ConfigurationError(wrong)

    async def apply(self, topics: Sequence[Topic], partitions: int) -> None:
        """Create what is missing, alter what may be altered; the rest stays. ConfigurationError, UnreachableError."""
        found = await self.differences(topics, partitions)
        missing = {one.topic for one in found if one.setting == "topic"}
        if missing:
            await self.create([topic for topic in topics if topic.name in missing], partitions)
        await self._alter([one for one in found if one.heals and one.topic not in missing])

    async def can_alter(self) -> bool:
        """Whether the broker alters the configuration of a topic: it is asked to alter that of none."""
        try:
            await self._altered([])
        except IncompatibleBrokerVersion:
            return False
        return True

    async def _alter(self, wanted: Sequence[Difference]) -> None:
        """The request says all that stands at a topic: what else stands there goes along."""
        if not wanted:
            return
        names = {one.topic for one in wanted}
        found = await self.found([Topic(name, "", "") for name in sorted(names)])
        resources = [
            ConfigResource(
                ConfigResourceType.TOPIC,
                name,
                {**state.own, **{one.setting: one.wanted for one in wanted if one.topic == name}},
            )
            for name, state in found.items()
        ]
        try:
            answers = await self._altered(resources)
        except IncompatibleBrokerVersion:
            return  # what differs stays different, and that is what is said
        for resource in (resource for answer in answers for resource in answer.to_object()["resources"]):
            self._refuse(
                resource["error_code"],
                f"alter the configuration of {resource['resource_name']}",
                resource["error_message"],
            )

    async def _altered(self, resources: Sequence[ConfigResource]) -> Any:
        async def asked(clients: Any) -> Any:
            try:
                return await clients.admin.alter_configs(resources)
            except IncompatibleBrokerVersion as error:
                return error

        answer = await self._bus.ask(asked)
        if isinstance(answer, IncompatibleBrokerVersion):
            raise answer
        return answer

    async def _appeared(self, names: set[str]) -> Mapping[str, Sequence[Any]]:
        limit_s = self._bus.settings.request_timeout_s
        for _ in range(round(limit_s / _LOOK_EVERY_S)):
            found = await self._bus.described()
            if names <= found.keys():
                return found
            await asyncio.sleep(_LOOK_EVERY_S)
        raise UnreachableError(f"topics have no leader yet: {', '.join(sorted(names - found.keys()))}")

    def _refuse(self, code: int, what: str, text: str | None = None) -> None:
        if not code:
            return
        error = for_code(code)
        if issubclass(error, NOT_ALLOWED):
            raise self._bus.not_allowed(f"to {what}")
        raise UnreachableError(f"the broker did not {what}: {text or error.__name__}")
