"""Our bytes are those that asyncua reads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, variant_from_binary

from gateways.scada import encoding
from gateways.scada.encoding import Field, data_value, double_variant

AT_NS = 1_700_000_000_123_456_000
MOMENT = datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "kind", "value"),
    [
        (encoding.boolean(True), "Boolean", True),
        (encoding.boolean(False), "Boolean", False),
        (encoding.uint16(900), "UInt16", 900),
        (encoding.double(-1.5), "Double", -1.5),
        (encoding.double(None), "Null", None),
        (encoding.text("Grüße"), "String", "Grüße"),
        (encoding.state("Active"), "LocalizedText", ua.LocalizedText("Active", "en")),
        (encoding.words("65 °C"), "LocalizedText", ua.LocalizedText("65 °C")),
        (encoding.moment(AT_NS), "DateTime", MOMENT),
        (encoding.moment(None), "Null", None),
        (encoding.status(0x80340000), "StatusCode", ua.StatusCode(0x80340000)),
        (encoding.byte_string(b"\x00\x01"), "ByteString", b"\x00\x01"),
        (encoding.node(ua.NodeId("R01.Flow", 2)), "NodeId", ua.NodeId("R01.Flow", 2)),
        (encoding.node(ua.NodeId()), "NodeId", ua.NodeId()),
        (encoding.UTC_FIELD, "ExtensionObject", ua.TimeZoneDataType()),
    ],
)
def test_a_field(field: Field, kind: str, value: Any) -> None:
    read = variant_from_binary(Buffer(field.encoded))
    assert (read.VariantType.name, read.Value) == (kind, value)


@pytest.mark.parametrize(
    ("status", "source_ns", "server_ns"),
    [(0, AT_NS, AT_NS), (0, 0, 0), (0x40900000, AT_NS, 0), (0x80320000, 0, AT_NS)],
)
def test_a_data_value(status: int, source_ns: int, server_ns: int) -> None:
    read = struct_from_binary(
        ua.DataValue, Buffer(data_value(double_variant(7.25), status, source_ns, server_ns))
    )
    assert (None if read.Value is None else read.Value.Value) == (None if status >> 31 else 7.25)
    assert (0 if read.StatusCode is None else read.StatusCode.value) == status
    assert read.SourceTimestamp == (MOMENT if source_ns else None)
    assert read.ServerTimestamp == (MOMENT if server_ns else None)
