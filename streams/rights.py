"""What each role reads and writes of the log: the only table of that, from which the broker's access lists are made.

A test compares it with what roles do in the simulation, and on Apache Kafka each role runs with exactly these rights.
Rules that this module obeys: reading is also the right to ask where a topic ends; a role that acts reads the mark of a
replay, as without that right nobody knows whether there is one, and nothing is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from streams.topics import (
    ALARMS,
    COMMANDS,
    CONSUMER_OFFSETS,
    DEAD_LETTERS,
    EVENTS,
    JOURNAL,
    OWNERS,
    REPLAY_MARK,
    RULE_SETS,
    SNAPSHOTS,
    STATUS,
    TOPICS,
    Topic,
)

PREFIX: Final = "headrace-"
CLUSTER: Final = "kafka-cluster"
WORKER_GROUP: Final = "headrace-worker"


@dataclass(frozen=True, slots=True)
class Rights:
    """Of one role, at the log.

    `sees_topics`: it reads the configuration of topics, and how many copies there are; `keeps_topics`: it creates
    topics, and alters their configuration.
    """

    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()
    groups: tuple[str, ...] = ()
    sees_topics: bool = False
    keeps_topics: bool = False


_SOURCE: Final = Rights(writes=(EVENTS, STATUS))

RIGHTS: Final[Mapping[str, Rights]] = MappingProxyType(
    {
        "plant": _SOURCE,
        "opcua": _SOURCE,
        "nvml": _SOURCE,
        "ticker": _SOURCE,
        "worker": Rights(
            reads=(EVENTS, ALARMS, SNAPSHOTS, OWNERS, RULE_SETS, REPLAY_MARK),
            writes=(EVENTS, ALARMS, COMMANDS, JOURNAL, SNAPSHOTS, OWNERS, RULE_SETS, DEAD_LETTERS, STATUS),
            groups=(WORKER_GROUP,),
        ),
        "actuators": Rights(reads=(COMMANDS, STATUS, REPLAY_MARK), writes=(EVENTS, DEAD_LETTERS, STATUS)),
        "alerts": Rights(reads=(ALARMS, JOURNAL, STATUS, REPLAY_MARK), writes=(EVENTS, STATUS)),
        "scada": Rights(
            reads=(ALARMS, EVENTS, JOURNAL, STATUS, RULE_SETS, REPLAY_MARK), writes=(EVENTS, STATUS)
        ),
        "recorder": Rights(reads=TOPICS, writes=(EVENTS, SNAPSHOTS, STATUS)),
        # people's commands: activate, alarms, ack, users apply, journal verify, doctor, migrate --check, topics check
        "operator": Rights(reads=(*TOPICS, REPLAY_MARK), writes=(EVENTS, RULE_SETS), sees_topics=True),
        # headrace topics apply
        "topics": Rights(sees_topics=True, keeps_topics=True),
    }
)
"""By role: the one of `headrace run`, and two for commands."""


@dataclass(frozen=True, slots=True)
class Acl:
    """One principal is allowed operations on resources of one kind, as Kafka calls them."""

    principal: str
    kind: Literal["topic", "group", "cluster"]
    names: tuple[str, ...]
    operations: tuple[str, ...]


def acls(prefix: str = PREFIX) -> list[Acl]:
    """Everything that the broker has to allow; what is not here is refused. `prefix`: of every user's name.

    To write is also to be an idempotent producer, since Kafka 2.8: IdempotentWrite on the cluster is not needed.
    """
    return [acl for role, rights in RIGHTS.items() for acl in _of_role(f"User:{prefix}{role}", rights)]


def _of_role(principal: str, rights: Rights) -> Iterator[Acl]:
    if rights.reads:
        yield Acl(principal, "topic", _names(rights.reads), ("Read",))
    if rights.writes:
        yield Acl(principal, "topic", _names(rights.writes), ("Write",))
    if rights.groups:
        yield Acl(principal, "group", rights.groups, ("Read",))
    if rights.sees_topics:
        yield Acl(principal, "topic", _names(TOPICS), ("Describe", "DescribeConfigs"))
        yield Acl(principal, "topic", (CONSUMER_OFFSETS,), ("Describe",))
    if rights.keeps_topics:
        yield Acl(principal, "cluster", (CLUSTER,), ("Create",))
        yield Acl(principal, "topic", _names(TOPICS), ("AlterConfigs",))


def as_kafka_acls(acl: Acl) -> str:
    """The arguments of kafka-acls.sh that give it, behind --bootstrap-server and --command-config."""
    words = ["--add", f"--allow-principal {acl.principal}"]
    words += [f"--operation {operation}" for operation in acl.operations]
    words += ["--cluster"] if acl.kind == "cluster" else [f"--{acl.kind} {name}" for name in acl.names]
    return " ".join(words)


def _names(topics: tuple[Topic, ...]) -> tuple[str, ...]:
    return tuple(topic.name for topic in topics)
