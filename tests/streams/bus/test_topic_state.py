"""What differs between topics as a broker has them and as they should be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rules.errors import ConfigurationError
from streams.bus.topic_state import Copies, TopicState, copies, differences, wanted_config
from streams.settings import BrokerSettings
from streams.topics import ALARMS, EVENTS, STATUS, TOPICS, Topic

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
    [one] = differences([ALARMS], 6, THREE, {"alarms": replace(as_wanted(ALARMS), replication=1)})
    assert (one.setting, one.found, one.wanted, one.heals) == ("replication", "1", "3", False)
    assert "kafka-reassign-partitions.sh" in one.advice


def test_a_compacted_topic_has_no_retention() -> None:
    assert "retention.ms" not in wanted_config(ALARMS, 2)
    assert wanted_config(ALARMS, 2)["cleanup.policy"] == "compact"


@pytest.mark.parametrize(
    ("given", "brokers", "wanted"),
    [
        ({}, 3, THREE),
        ({}, 2, THREE),  # which the broker refuses: better than a copy too few
        ({}, 1, Copies(1, 1)),
        ({"replication": 3}, 1, THREE),
        ({"replication": 2}, 3, Copies(2, 1)),
        ({"replication": 4, "min_insync_replicas": 2}, 5, Copies(4, 2)),
    ],
)
def test_copies_come_from_the_settings_and_fit_the_cluster(
    given: dict[str, int], brokers: int, wanted: Copies
) -> None:
    assert copies(BrokerSettings(**given), brokers) == wanted  # type: ignore[arg-type]


def test_more_in_sync_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="2 of 1 replicas: nothing could be written"):
        copies(BrokerSettings(min_insync_replicas=2), 1)
