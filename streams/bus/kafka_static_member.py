"""A static member says its name in heartbeats and commits too, so that it hears when another has taken its place.

aiokafka names a member in JoinGroup and SyncGroup alone. One whose place another process of its name has taken would
hear that nobody knows it (UNKNOWN_MEMBER_ID), join again without the number that it had, and take the place back, from
one that may just be about to begin. Kafka has FENCED_INSTANCE_ID for that (KIP-345), for who says a name in heartbeats
and commits as well. Decision 0136.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetCommitResponse_v3
from aiokafka.protocol.group import HeartbeatRequest, HeartbeatResponse_v1, SyncGroupRequest
from aiokafka.protocol.types import Array, Int32, Int64, Schema, String

FENCED_INSTANCE_ID: Final = 82
_NO_LEADER_EPOCH: Final = -1


class _Heartbeat(RequestStruct):  # type: ignore[misc]  # aiokafka has no types of its own
    """The first version that has room for a name; its answer is that of version 1."""

    API_KEY = 12
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatResponse_v1
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class _Commit(RequestStruct):  # type: ignore[misc]  # as above
    """The first version that has room for a name; its answer is that of version 3."""

    API_KEY = 8
    API_VERSION = 7
    RESPONSE_TYPE = OffsetCommitResponse_v3
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


class _InOneVersion:
    """A request as a connection of aiokafka's takes it, which asks for the form that its broker knows."""

    def __init__(self, struct: Any) -> None:
        self._struct = struct

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Any:
        lowest, highest = versions.get(self._struct.API_KEY, (0, 0))
        if not lowest <= self._struct.API_VERSION <= highest:
            raise IncompatibleBrokerVersion("static members need a broker of Kafka 2.3 or later")
        return self._struct


def _named(request: Any, name: str) -> Any:
    """The request with the name of who sends it, where it has none and its member a number.

    Without that a member is about to join anew, and the broker would take its own old number for another's.
    """
    if isinstance(request, HeartbeatRequest) and request._member_id:
        return _InOneVersion(_Heartbeat(request._group, request._generation_id, request._member_id, name))
    if isinstance(request, OffsetCommitRequest) and request._consumer_id:
        topics = [
            (topic, [(number, offset, _NO_LEADER_EPOCH, metadata) for number, offset, metadata in partitions])
            for topic, partitions in request._topics
        ]
        generation = request._consumer_group_generation_id
        return _InOneVersion(_Commit(request._consumer_group, generation, request._consumer_id, name, topics))
    return request


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
        response = await send(_named(request, name))
        is_own = isinstance(request, SyncGroupRequest) and not request._member_id
        if FENCED_INSTANCE_ID in _error_codes(response) and not is_own:
            is_fenced = True
            fenced()
            raise lost  # aiokafka does not know that answer: Faust would crash with it, in pages of traceback
        return response

    coordinator._send_req = send_named


def _error_codes(response: Any) -> Iterator[int]:
    if isinstance(response, OffsetCommitResponse_v3):
        yield from (code for _, partitions in response.topics for _, code in partitions)
    else:
        yield getattr(response, "error_code", 0)
