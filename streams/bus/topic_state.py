"""Topics as a broker has them, beside how they should be (`streams.topics`): what differs, and what to do about it.

Rules that this module obeys: it asks nothing and changes nothing. `headrace topics check` says what it finds, `apply`
heals what Kafka can heal without touching a record; the number of partitions is never among that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.settings import BrokerSettings
from streams.topics import Topic

REPLICATION: Final = 3
MISSING: Final = "missing"


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic of a broker. `config`: every setting that it says; `own`: those that stand at the topic itself."""

    partitions: int
    replication: int
    config: Mapping[str, str]
    own: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting of a topic that is not as it should be. `heals`: `headrace topics apply` can make it so."""

    topic: str
    setting: str
    found: str
    wanted: str
    heals: bool
    advice: str


@dataclass(frozen=True, slots=True)
class Copies:
    """Of every partition: how many there are, and how many must have a record before it counts as written."""

    replication: int
    min_insync: int


def copies(broker: BrokerSettings, brokers: int) -> Copies:
    """What the settings say, or what fits a cluster of so many brokers. ConfigurationError: it can't be written to."""
    replication = broker.replication or (REPLICATION if brokers > 1 else 1)
    min_insync = broker.min_insync_replicas or max(1, replication - 1)
    if min_insync > replication:
        text = (
            f"broker.min_insync_replicas is {min_insync} of {replication} replicas: nothing could be written"
        )
        raise ConfigurationError([Finding("settings", 0, 0, text, f"at most {replication}")])
    return Copies(replication, min_insync)


def wanted_config(topic: Topic, min_insync: int) -> dict[str, str]:
    """The settings at the topic, as Kafka calls them. What Kafka's own defaults may be is not relied on."""
    config = {
        "cleanup.policy": topic.cleanup,
        "compression.type": "producer",
        "max.message.bytes": str(topic.max_message_bytes),
        "min.insync.replicas": str(min_insync),
        "unclean.leader.election.enable": "false",
    }
    if topic.cleanup == "delete":
        config["retention.ms"] = str(topic.retention_ms)
    return {**config, **topic.config}


def differences(
    topics: Sequence[Topic], partitions: int, wanted: Copies, found: Mapping[str, TopicState]
) -> list[Difference]:
    """Everything that is not as it should be, in the order of `topics`. `partitions`: of those that leave it open."""
    return [one for topic in topics for one in _of_topic(topic, partitions, wanted, found.get(topic.name))]


def _of_topic(
    topic: Topic, partitions: int, wanted: Copies, state: TopicState | None
) -> Iterator[Difference]:
    if state is None:
        yield Difference(
            topic.name, "topic", MISSING, "there", True, "`headrace topics apply` creates the topic"
        )
        return
    count = topic.partitions or partitions
    if state.partitions != count:
        yield Difference(
            topic.name,
            "partitions",
            str(state.partitions),
            str(count),
            False,
            _about_partitions(topic, state),
        )
    if state.replication != wanted.replication:
        advice = (
            "Kafka moves copies by a reassignment: kafka-reassign-partitions.sh, or set broker.replication"
        )
        yield Difference(
            topic.name, "replication", str(state.replication), str(wanted.replication), False, advice
        )
    for setting, value in wanted_config(topic, wanted.min_insync).items():
        has = state.config.get(setting, "not said")
        if has != value:
            yield Difference(topic.name, setting, has, value, True, "`headrace topics apply` sets it")


def _about_partitions(topic: Topic, state: TopicState) -> str:
    if topic.partitions is None:
        return (
            "no number of partitions is ever changed: units would move, and lose the order of their records; "
            f"set broker.partitions to {state.partitions}, or begin a fresh log"
        )
    return "no number of partitions is ever changed: begin a fresh log, whose topics `headrace topics apply` creates"
