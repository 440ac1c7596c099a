"""A static member says its name in heartbeats and commits too, so that it hears when another has taken its place.

aiokafka names a member in JoinGroup and SyncGroup alone. One whose place another process of its name has taken would
hear that nobody knows it (UNKNOWN_MEMBER_ID), join again without the number that it had, and take the place back, from
one that may just be about to begin. Kafka has FENCED_INSTANCE_ID for that (KIP-345), for who says a name in heartbeats
and commits as well. Decision 0136.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetCommitResponse_v3
from aiokafka.protocol.group import HeartbeatRequest, HeartbeatResponse_v1, SyncGroupRequest
from aiokafka.protocol.types import Array, Int32, Int64, Schema, String

FENCED_INSTANCE_ID: Final = 82


class _HeartbeatResponse(Response):  # type: ignore[misc]  # aiokafka has no types of its own
    API_KEY = 12
    API_VERSION = 3
    SCHEMA = HeartbeatResponse_v1.SCHEMA


class _HeartbeatStruct(RequestStruct):  # type: ignore[misc]  # as above
    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = _HeartbeatResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class _NamedHeartbeat(Request[_HeartbeatStruct]):  # type: ignore[misc]  # as above
    API_KEY = 12

    def __init__(self, unnamed: Any, name: str) -> None:
        self._unnamed = unnamed
        self._name = name

    def build(self, request_struct_class: type[_HeartbeatStruct]) -> _HeartbeatStruct:
        said = self._unnamed
        return request_struct_class(said._group, said._generation_id, said._member_id, self._name)


class _CommitResponse(Response):  # type: ignore[misc]  # as above
    API_KEY = 8
    API_VERSION = 7
    SCHEMA = OffsetCommitResponse_v3.SCHEMA


class _CommitStruct(RequestStruct):  # type: ignore[misc]  # as above
    API_KEY = 8
    API_VERSION = 7
    RESPONSE_TYPE = _CommitResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
        (
            "topics",
            Array(
                ("topic", String("utf-8")),
                (
                    "partitions",
                    Array(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", String("utf-8")),
                    ),
                ),
            ),
        ),
    )


_NO_LEADER_EPOCH: Final = -1


class _NamedCommit(Request[_CommitStruct]):  # type: ignore[misc]  # as above
    API_KEY = 8

    def __init__(self, unnamed: Any, name: str) -> None:
        self._unnamed = unnamed
        self._name = name

    def build(self, request_struct_class: type[_CommitStruct]) -> _CommitStruct:
        said = self._unnamed
        topics = [
            (topic, [(number, offset, _NO_LEADER_EPOCH, metadata) for number, offset, metadata in partitions])
            for topic, partitions in said._topics
        ]
        return request_struct_class(
            said._consumer_group, said._consumer_group_generation_id, said._consumer_id, self._name, topics
        )


def say_name(coordinator: Any, name: str, fenced: Callable[[], None]) -> None:
    """Let this coordinator of aiokafka's name its member in heartbeats and commits.

    `fenced` is called, in the coordinator's thread, when the broker says that another process has the name now. After
    that nothing is said any more: whoever joins last has the name, and that must not be who was just told to end.
    """
    send = coordinator._send_req
    is_fenced = False

    async def send_named(request: Any) -> Any:
        nonlocal is_fenced
        lost = KafkaError(f"another process is '{name}' in the group now")
        if is_fenced:
            raise lost
        # Without its number a member is about to join anew, and the broker would take its own old one for another's.
        if isinstance(request, HeartbeatRequest) and request._member_id:
            request = _NamedHeartbeat(request, name)
        elif isinstance(request, OffsetCommitRequest) and request._consumer_id:
            request = _NamedCommit(request, name)
        response = await send(request)
        is_own = isinstance(request, SyncGroupRequest) and not request._member_id
        if FENCED_INSTANCE_ID in _error_codes(response) and not is_own:
            is_fenced = True
            fenced()
            raise lost  # aiokafka does not know that answer: Faust would crash with it, in pages of traceback
        return response

    coordinator._send_req = send_named


def _error_codes(response: Any) -> Iterator[int]:
    if isinstance(response, _CommitResponse):
        yield from (code for _, partitions in response.topics for _, code in partitions)
    else:
        yield getattr(response, "error_code", 0)
