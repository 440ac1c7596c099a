"""Values of a few bytes that say that they are large, and a request's header that carries one."""

from __future__ import annotations

import struct
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_to_binary, struct_from_binary, struct_to_binary

ARRAY, MATRIX = 0x80, 0xC0
_EMPTY_MATRIX = bytes([MATRIX | 1]) + struct.pack("<iiii", 0, 2, 1, 1_000_000)

WITHOUT_BYTES = {
    "bytes that go back": bytes([ARRAY | 15]) + struct.pack("<iii", 5_000_000, -4, -4),
    "texts that go back": bytes([ARRAY | 12]) + struct.pack("<iii", 5_000_000, -4, -4),
    "nothing, often": bytes([ARRAY]) + struct.pack("<i", 5_000_000),
    "a matrix of nothing": _EMPTY_MATRIX,
    "twenty of them": bytes([ARRAY | 24]) + struct.pack("<i", 20) + 20 * _EMPTY_MATRIX,
}
"""By name, encoded variants: without bounds, each makes a list of a million elements or more."""


def additional_header(variant: bytes) -> bytes:
    """A request's header, encoded, whose additional header is a value: no server needs it, and each reads it."""
    plain = struct_to_binary(ua.RequestHeader())
    kind = nodeid_to_binary(ua.typeid_by_extension_objects[ua.LiteralOperand])
    assert plain.endswith(bytes(3))
    return bytes(plain[:-3] + kind + b"\1" + struct.pack("<i", len(variant)) + variant)


def header_with(variant: bytes) -> Any:
    """What is read of it."""
    return struct_from_binary(ua.RequestHeader, Buffer(additional_header(variant)))
