"""Values in OPC UA's binary encoding (OPC 10000-6, 5.2): what notifications are made of.

Rules: a `Field` is encoded when somebody has asked for it, and once for all who do; beside its bytes it keeps a plain
value, which filters compare. Plain values: a text for String and LocalizedText, ns since 1970 for DateTime.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from asyncua import ua
from asyncua.ua.ua_binary import nodeid_to_binary, variant_to_binary
from asyncua.ua.uatypes import EPOCH_AS_FILETIME

NULL: Final = b"\x00"
"""A variant without a value."""
LOCALE: Final = "en"

UINT32: Final = struct.Struct("<I")
INT32: Final = struct.Struct("<i")
_UINT16 = struct.Struct("<BH")
_UINT32 = struct.Struct("<BI")
_DOUBLE = struct.Struct("<Bd")
_INT64 = struct.Struct("<q")


class Field:
    """One field of an event: `value` for filters, `encoded` (a variant) for notifications."""

    __slots__ = ("_encode", "_encoded", "value")

    def __init__(self, value: Any, encode: Callable[[Any], bytes]) -> None:
        self.value = value
        self._encode = encode
        self._encoded: bytes | None = None

    @property
    def encoded(self) -> bytes:
        """The variant's bytes."""
        if self._encoded is None:
            self._encoded = NULL if self.value is None else self._encode(self.value)
        return self._encoded


def date_time(time_ns: int) -> bytes:
    """A DateTime: hundreds of ns since 1601."""
    return _INT64.pack(time_ns // 100 + EPOCH_AS_FILETIME)


def string(text: str) -> bytes:
    """A String, or a ByteString's form of it."""
    raw = text.encode()
    return INT32.pack(len(raw)) + raw


@lru_cache(maxsize=8192)
def node_id(node: Any) -> bytes:
    """A NodeId. Assets, points and types come again and again."""
    encoded: bytes = nodeid_to_binary(node)
    return encoded


@lru_cache(maxsize=1024)
def _localized_variant(text: str, locale: str) -> bytes:
    if not locale:
        return b"\x15\x02" + string(text)
    return b"\x15\x03" + string(locale) + string(text)


def _localized_state(text: str) -> bytes:
    return _localized_variant(text, LOCALE)


def _localized_free(text: str) -> bytes:
    """What people and rules write: in whichever language, and rarely twice."""
    return b"\x15\x02" + string(text)


def double_variant(value: float) -> bytes:
    """A Double."""
    return _DOUBLE.pack(11, value)


def uint32_variant(value: int) -> bytes:
    """A UInt32."""
    return _UINT32.pack(7, value)


def _node_id_variant(node: Any) -> bytes:
    return b"\x11" + node_id(node)


_TRUE: Final = Field(True, lambda _: b"\x01\x01")
_FALSE: Final = Field(False, lambda _: b"\x01\x00")


def boolean(value: bool) -> Field:
    """A Boolean."""
    return _TRUE if value else _FALSE


def uint16(value: int) -> Field:
    """A UInt16."""
    return Field(value, lambda number: _UINT16.pack(5, number))


def double(value: float | None) -> Field:
    """A Double, or null."""
    return Field(value, double_variant)


def text(value: str) -> Field:
    """A String."""
    return Field(value, lambda plain: b"\x0c" + string(plain))


@lru_cache(maxsize=256)
def state(name: str) -> Field:
    """A LocalizedText of this program: the name of a state."""
    return Field(name, _localized_state)


def words(value: str) -> Field:
    """A LocalizedText of a person or a rule."""
    return Field(value, _localized_free)


def moment(time_ns: int | None) -> Field:
    """A DateTime, or null."""
    return Field(time_ns, lambda at_ns: b"\x0d" + date_time(at_ns))


def status(code: int) -> Field:
    """A StatusCode."""
    return Field(code, lambda number: _UINT32.pack(19, number))


def byte_string(value: bytes) -> Field:
    """A ByteString."""
    return Field(value, lambda raw: b"\x0f" + INT32.pack(len(raw)) + raw)


@lru_cache(maxsize=8192)
def node(value: Any) -> Field:
    """A NodeId."""
    return Field(value, _node_id_variant)


UTC_FIELD: Final = Field(
    "UTC",
    lambda _: variant_to_binary(ua.Variant(ua.TimeZoneDataType(), ua.VariantType.ExtensionObject)),
)
"""LocalTime: all times are UTC."""


def is_left_out(extension: Any) -> bool:
    """Whether a client has sent nothing in the place of an extension object."""
    return extension is None or (
        isinstance(extension, ua.ExtensionObject) and extension.TypeId == ua.NodeId(ua.ObjectIds.Null)
    )


def data_value(variant: bytes, code: int, source_ns: int, server_ns: int) -> bytes:
    """A DataValue (OPC 10000-6, 5.2.2.17), without times of 0, a status that is good or a value that is bad."""
    is_bad = code >> 31
    mask = (not is_bad) | bool(code) << 1 | bool(source_ns) << 2 | bool(server_ns) << 3
    parts = [bytes((mask,))]
    if not is_bad:
        parts.append(variant)
    if code:
        parts.append(UINT32.pack(code))
    if source_ns:
        parts.append(date_time(source_ns))
    if server_ns:
        parts.append(date_time(server_ns))
    return b"".join(parts)
