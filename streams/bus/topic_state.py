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
from streams.loopback import is_loopback
from streams.settings import BrokerSettings
from streams.topics import CONSUMER_OFFSETS, Topic

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
class PartitionCopies:
    """A partition of a topic of a broker: how many copies there are, and how many of them have all of it."""

    number: int
    copies: int
    in_sync: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Something of a topic that is not as it should be. `heals`: `headrace topics apply` can make it so."""

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


def copies(broker: BrokerSettings, hosts: Sequence[str]) -> Copies:
    """What the settings say; else three, and one on one machine. ConfigurationError: it can't be written to.

    `hosts`: where the brokers that are alive say that they are. How many these are does not tell how many there should
    be; but a single one at a loopback address can't have others on other machines.
    """
    replication = broker.replication or (1 if is_one_machine(hosts) else REPLICATION)
    min_insync = broker.min_insync_replicas or _min_insync(replication)
    if min_insync > replication:
        text = (
            f"broker.min_insync_replicas is {min_insync} of {replication} replicas: nothing could be written"
        )
        raise ConfigurationError([Finding("settings", 0, 0, text, f"at most {replication}")])
    return Copies(replication, min_insync)


def is_one_machine(hosts: Sequence[str]) -> bool:
    """Whether the only broker is one that no other machine can reach."""
    return len(hosts) == 1 and is_loopback(hosts[0])


def refuse_too_few(broker: BrokerSettings, hosts: Sequence[str]) -> None:
    """ConfigurationError: a topic made now would have fewer copies than three, and nobody has said so."""
    if broker.replication is None and len(hosts) < REPLICATION and not is_one_machine(hosts):
        text = f"too few brokers are alive for {REPLICATION} copies of a new topic: {', '.join(hosts)}"
        hint = "start the others and try again, or set broker.replication to how many copies there shall be"
        raise ConfigurationError([Finding(broker.bootstrap, 0, 0, text, hint)])


def _min_insync(replication: int) -> int:
    """All copies but one: one broker may be away, and no record is acknowledged that one alone has."""
    return max(1, replication - 1)


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
            "Kafka moves copies by a reassignment: kafka-reassign-partitions.sh, then `headrace topics apply`; "
            "or set broker.replication"
        )
        yield Difference(
            topic.name, "replication", str(state.replication), str(wanted.replication), False, advice
        )
    # of copies that are there, not of those that are wished for: else nothing could be written, or one copy would do
    is_wanted = state.replication == wanted.replication
    min_insync = wanted.min_insync if is_wanted else _min_insync(state.replication)
    for setting, value in wanted_config(topic, min_insync).items():
        has = state.config.get(setting, "not said")
        if has != value:
            yield Difference(topic.name, setting, has, value, True, "`headrace topics apply` sets it")


def shortfalls(found: Mapping[str, Sequence[PartitionCopies]], wanted: Copies) -> list[Difference]:
    """Where a copy more is missing than settings tell: what lags behind, and where the group's place is kept.

    `found`: our topics that exist, and `CONSUMER_OFFSETS` where there is one. A broker that is being restarted is seen
    here as well, so `headrace topics apply` does not ask for it.
    """
    return [*_lagging(found), *_offsets_copies(found.get(CONSUMER_OFFSETS, ()), wanted)]


def _lagging(found: Mapping[str, Sequence[PartitionCopies]]) -> Iterator[Difference]:
    advice = "a broker is away, or behind: start it, look at its log and its disk; it fills up by itself"
    for topic, partitions in found.items():
        lagging = [one for one in partitions if one.in_sync < one.copies]
        if lagging:
            least = min(lagging, key=lambda one: one.in_sync)
            numbers = ", ".join(str(one.number) for one in sorted(lagging, key=lambda one: one.number))
            said = f"{least.in_sync} at the least, of partitions {numbers}"
            yield Difference(topic, "in-sync replicas", said, f"all {least.copies}", False, advice)


def _offsets_copies(partitions: Sequence[PartitionCopies], wanted: Copies) -> Iterator[Difference]:
    copies_there = min((one.copies for one in partitions), default=wanted.replication)
    if copies_there < wanted.replication:
        advice = (
            "while its only copy is away, workers stand still: kafka-reassign-partitions.sh; "
            "offsets.topic.replication.factor of the brokers counts only before the first worker starts"
        )
        yield Difference(
            CONSUMER_OFFSETS, "replication", str(copies_there), str(wanted.replication), False, advice
        )


def _about_partitions(topic: Topic, state: TopicState) -> str:
    if topic.partitions is None:
        return (
            "no number of partitions is ever changed: units would move, and lose the order of their records; "
            f"set broker.partitions to {state.partitions}, or begin a fresh log"
        )
    return "no number of partitions is ever changed: begin a fresh log, whose topics `headrace topics apply` creates"
