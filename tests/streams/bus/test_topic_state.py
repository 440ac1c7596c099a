"""What differs between topics as a broker has them and as they should be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rules.errors import ConfigurationError
from streams.bus.topic_state import (
    Copies,
    PartitionCopies,
    TopicState,
    copies,
    differences,
    refuse_too_few,
    shortfalls,
    wanted_config,
)
from streams.settings import BrokerSettings
from streams.topics import ALARMS, CONSUMER_OFFSETS, EVENTS, STATUS, TOPICS, Topic

THREE = Copies(3, 2)


def as_wanted(topic: Topic, partitions: int = 6) -> TopicState:
    config = wanted_config(topic, THREE.min_insync)
    return TopicState(topic.partitions or partitions, 3, {**config, "segment.ms": "1"}, config)


FOUND = {topic.name: as_wanted(topic) for topic in TOPICS}


def test_what_is_as_it_should_be_is_no_difference() -> None:
    assert differences(TOPICS, 6, THREE, FOUND) == []


def test_a_missing_topic_is_one_difference() -> None:
    [one] = differences([EVENTS], 6, THREE, {})
    assert (one.topic, one.setting, one.found, one.heals) == ("events", "topic", "missing", True)


@pytest.mark.parametrize(("partitions", "wanted"), [(3, 6), (12, 6)])
def test_other_partitions_are_never_healed(partitions: int, wanted: int) -> None:
    [one] = differences([EVENTS], wanted, THREE, {"events": as_wanted(EVENTS, partitions)})
    assert (one.setting, one.found, one.wanted) == ("partitions", str(partitions), "6")
    assert not one.heals
    assert f"set broker.partitions to {partitions}" in one.advice


def test_a_topic_of_one_partition_has_no_setting_for_it() -> None:
    [one] = differences([STATUS], 6, THREE, {"status": replace(as_wanted(STATUS), partitions=6)})
    assert "broker.partitions" not in one.advice
    assert not one.heals


def test_each_setting_that_differs_is_named_with_both_values() -> None:
    state = as_wanted(EVENTS)
    config = {**state.config, "retention.ms": "1000", "compression.type": "gzip"}
    del config["unclean.leader.election.enable"]
    found = differences([EVENTS], 6, THREE, {"events": replace(state, config=config)})
    assert {(one.setting, one.found, one.wanted, one.heals) for one in found} == {
        ("retention.ms", "1000", "604800000", True),
        ("compression.type", "gzip", "producer", True),
        ("unclean.leader.election.enable", "not said", "false", True),
    }


def test_fewer_copies_need_a_reassignment() -> None:
    state = as_wanted(ALARMS)
    one_copy = replace(state, replication=1, config={**state.config, "min.insync.replicas": "1"})
    [one] = differences([ALARMS], 6, THREE, {"alarms": one_copy})
    assert (one.setting, one.found, one.wanted, one.heals) == ("replication", "1", "3", False)
    assert "kafka-reassign-partitions.sh" in one.advice


def test_a_compacted_topic_has_no_retention() -> None:
    assert "retention.ms" not in wanted_config(ALARMS, 2)
    assert wanted_config(ALARMS, 2)["cleanup.policy"] == "compact"


@pytest.mark.parametrize(
    ("copies_there", "says", "wanted"),
    [
        (1, "2", "1"),  # two of one: nothing could be written
        (3, "1", "2"),
        (2, "1", None),
    ],
)
def test_how_many_must_have_a_record_follows_the_copies_that_are_there(
    copies_there: int, says: str, wanted: str | None
) -> None:
    state = as_wanted(EVENTS)
    state = replace(state, replication=copies_there, config={**state.config, "min.insync.replicas": says})
    found = differences([EVENTS], 6, THREE, {"events": state})
    assert [one.wanted for one in found if one.setting == "min.insync.replicas"] == (
        [wanted] if wanted else []
    )


def test_copies_that_are_there_are_never_weakened_by_a_wish_for_fewer() -> None:
    found = differences([EVENTS], 6, Copies(1, 1), {"events": as_wanted(EVENTS)})
    assert [(one.setting, one.heals) for one in found] == [("replication", False)]


def in_sync(*numbers: int, copies: int = 3) -> list[PartitionCopies]:
    return [PartitionCopies(number, copies, have) for number, have in enumerate(numbers)]


def test_copies_that_lag_behind_are_said_of_each_topic() -> None:
    found = shortfalls({"events": in_sync(3, 2, 1), "alarms": in_sync(3, 3, 3)}, THREE)
    assert [(one.topic, one.setting, one.found, one.wanted, one.heals) for one in found] == [
        ("events", "in-sync replicas", "1 at the least, of partitions 1, 2", "all 3", False)
    ]


@pytest.mark.parametrize(("there", "is_said"), [(3, False), (1, True), (None, False)])
def test_the_group_s_positions_have_as_many_copies_as_topics(there: int | None, is_said: bool) -> None:
    """None: no worker has ever started, so the topic is not there yet."""
    kept = {} if there is None else {CONSUMER_OFFSETS: in_sync(there, there, copies=there)}
    found = shortfalls({"events": in_sync(3), **kept}, THREE)
    assert [(one.topic, one.setting, one.found, one.wanted) for one in found] == (
        [("__consumer_offsets", "replication", "1", "3")] if is_said else []
    )


HOSTS = ["kafka1", "kafka2", "kafka3"]


@pytest.mark.parametrize(
    ("given", "hosts", "wanted"),
    [
        ({}, HOSTS, THREE),
        ({}, HOSTS[:2], THREE),
        ({}, HOSTS[:1], THREE),  # two are away, or were never there: who knows
        ({}, ["127.0.0.1"], Copies(1, 1)),
        ({}, ["localhost"], Copies(1, 1)),
        ({}, ["127.0.0.1"] * 3, THREE),
        ({"replication": 3}, ["127.0.0.1"], THREE),
        ({"replication": 2}, HOSTS, Copies(2, 1)),
        ({"replication": 4, "min_insync_replicas": 2}, HOSTS, Copies(4, 2)),
    ],
)
def test_copies_come_from_the_settings_and_not_from_who_is_alive(
    given: dict[str, int], hosts: list[str], wanted: Copies
) -> None:
    assert copies(BrokerSettings(**given), hosts) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize("hosts", [["kafka1"], ["10.0.0.1", "10.0.0.2"], ["127.0.0.1", "127.0.0.1"]])
def test_a_new_topic_with_fewer_copies_than_three_has_to_be_said(hosts: list[str]) -> None:
    with pytest.raises(
        ConfigurationError, match=r"too few brokers are alive for 3 copies .* set broker.replication"
    ):
        refuse_too_few(BrokerSettings(), hosts)
    refuse_too_few(BrokerSettings(replication=1), hosts)


@pytest.mark.parametrize("hosts", [["127.0.0.1"], ["::1"], HOSTS])
def test_one_machine_and_three_brokers_need_no_word(hosts: list[str]) -> None:
    refuse_too_few(BrokerSettings(), hosts)


def test_more_in_sync_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="2 of 1 replicas: nothing could be written"):
        copies(BrokerSettings(min_insync_replicas=2), ["127.0.0.1"])
