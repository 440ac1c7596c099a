"""What a static member says to its group names it, and what it hears of another in its place is passed on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, LeaveGroupRequest

from streams.bus.kafka_static_member import FENCED_INSTANCE_ID, say_name

APACHE_KAFKA_4 = {8: (2, 9), 12: (0, 4), 13: (0, 5)}
"""The versions that a broker offers, by the number of the request."""
HEARTBEAT = HeartbeatRequest("workers", 7, "worker-0-abc")
COMMIT = OffsetCommitRequest("workers", 7, "worker-0-abc", -1, [("events", [(2, 41, "")])])


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
        if struct.API_KEY == 8:
            return kind.decode(kind(0, [("events", [(1, 0), (2, self.code)])]).encode())
        return kind.decode(kind(0, self.code).encode())


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


@pytest.mark.parametrize("request_", [HEARTBEAT, COMMIT], ids=["heartbeat", "commit"])
async def test_who_has_lost_its_name_hears_so(request_: Any) -> None:
    group = Group()
    for group.code in (0, 25, 27):  # all is well, nobody knows it, the group shares anew
        await group._send_req(request_)
    assert group.fenced == 0
    group.code = FENCED_INSTANCE_ID
    await group._send_req(request_)
    assert group.fenced == 1


async def test_answers_without_a_code_are_handed_on() -> None:
    async def send(request: Any) -> Any:
        return SimpleNamespace(topics=[])

    coordinator = SimpleNamespace(_send_req=send)
    say_name(coordinator, "worker-0", lambda: pytest.fail("nobody took the name"))
    assert (await coordinator._send_req(LeaveGroupRequest("workers", "worker-0-abc"))).topics == []
