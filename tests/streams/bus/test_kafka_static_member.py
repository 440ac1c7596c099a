"""What a static member says to its group names it, and what it hears of another in its place is passed on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest

from streams.bus.kafka_static_member import FENCED_INSTANCE_ID, say_name

APACHE_KAFKA_4 = {8: (2, 9), 11: (2, 9), 12: (0, 4), 13: (0, 5), 14: (0, 5)}
"""The versions that a broker offers, by the number of the request."""
HEARTBEAT = HeartbeatRequest("workers", 7, "worker-0-abc")
COMMIT = OffsetCommitRequest("workers", 7, "worker-0-abc", -1, [("events", [(2, 41, "")])])
JOIN = JoinGroupRequest("workers", 6000, 6000, "worker-0-abc", "worker-0", "consumer", [])
SYNC = SyncGroupRequest("workers", 7, "worker-0-abc", "worker-0", [])


class Group:
    """aiokafka's coordinator: what is said to the broker, and what it answers with."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.fenced = 0
        self.code = 0
        say_name(self, "worker-0", self._note)

    def _note(self) -> None:
        self.fenced += 1

    async def _send_req(self, request: Any) -> Any:
        struct = request.prepare(APACHE_KAFKA_4)
        self.said.append(struct)
        kind = struct.RESPONSE_TYPE
        answers = {
            8: (0, [("events", [(1, 0), (2, self.code)])]),
            11: (0, self.code, 7, "faust", "worker-0-abc", "worker-0-abc", []),
            14: (0, self.code, b""),
        }
        return kind.decode(kind(*answers.get(struct.API_KEY, (0, self.code))).encode())


async def test_heartbeats_and_commits_carry_the_name() -> None:
    group = Group()
    await group._send_req(HEARTBEAT)
    await group._send_req(COMMIT)
    heartbeat, commit = group.said
    assert (heartbeat.API_VERSION, commit.API_VERSION) == (3, 7)  # the first that have room for it
    assert heartbeat.to_object() == {
        "group": "workers",
        "generation_id": 7,
        "member_id": "worker-0-abc",
        "group_instance_id": "worker-0",
    }
    place = {"partition": 2, "offset": 41, "leader_epoch": -1, "metadata": ""}
    assert commit.to_object()["group_instance_id"] == "worker-0"
    assert commit.to_object()["topics"] == [{"topic": "events", "partitions": [place]}]


async def test_a_broker_that_knows_no_such_members_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(APACHE_KAFKA_4, 12, (0, 2))
    with pytest.raises(IncompatibleBrokerVersion, match=r"Kafka 2\.3 or later"):
        await Group()._send_req(HEARTBEAT)


@pytest.mark.parametrize("request_", [HEARTBEAT, COMMIT, JOIN, SYNC], ids=lambda one: type(one).__name__)
async def test_who_has_lost_its_name_hears_so_once_and_says_nothing_more(request_: Any) -> None:
    group = Group()
    for group.code in (0, 25, 27):  # all is well, nobody knows it, the group shares anew
        await group._send_req(request_)
    assert group.fenced == 0
    group.code = FENCED_INSTANCE_ID
    for more in (request_, HEARTBEAT, COMMIT, JOIN, SYNC):
        with pytest.raises(KafkaError, match="another process is 'worker-0'"):
            await group._send_req(more)
        assert group.fenced == 1
    assert len(group.said) == 4


async def test_between_two_memberships_its_own_old_one_is_nobody_else() -> None:
    """aiokafka may still commit then, or end a join that it has given up."""
    group = Group()
    await group._send_req(HeartbeatRequest("workers", -1, ""))
    await group._send_req(OffsetCommitRequest("workers", -1, "", -1, [("events", [(2, 41, "")])]))
    assert [struct.API_VERSION for struct in group.said] == [1, 3]  # they have no room for a name
    group.code = FENCED_INSTANCE_ID
    await group._send_req(SyncGroupRequest("workers", -1, "", "worker-0", []))
    assert group.fenced == 0
    with pytest.raises(KafkaError, match="another process"):
        await group._send_req(JoinGroupRequest("workers", 6000, 6000, "", "worker-0", "consumer", []))
    assert group.fenced == 1  # two that began at the same moment


async def test_answers_without_a_code_are_handed_on() -> None:
    async def send(request: Any) -> Any:
        return SimpleNamespace(topics=[])

    coordinator = SimpleNamespace(_send_req=send)
    say_name(coordinator, "worker-0", lambda: pytest.fail("nobody took the name"))
    assert (await coordinator._send_req(LeaveGroupRequest("workers", "worker-0-abc"))).topics == []
