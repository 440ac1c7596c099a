"""Lengths in a message that cost its sender no bytes (decision 0121)."""

from __future__ import annotations

import struct

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua import UaError
from asyncua.ua.ua_binary import variant_from_binary, variant_to_binary

from gateways.opcua import stack
from tests.gateways.opcua.wrong_lengths import WITHOUT_BYTES, header_with

KINDS = ua.VariantType


@pytest.mark.parametrize("name", WITHOUT_BYTES)
def test_what_costs_no_bytes_is_no_message(name: str) -> None:
    with pytest.raises(UaError, match=r"a length of -4 bytes|an array of 5000000 Null|dimensions"):
        header_with(WITHOUT_BYTES[name])


@pytest.mark.parametrize(
    "value",
    [
        ua.Variant([1.0, 2.0], KINDS.Double),
        ua.Variant([], KINDS.Double),
        ua.Variant(None, KINDS.String, is_array=True),
        ua.Variant([[1, 2, 3], [4, 5, 6]], KINDS.Int32),
        ua.Variant([], KINDS.Int32, Dimensions=[0], is_array=True),
        ua.Variant([], KINDS.Int32, Dimensions=[0, 3], is_array=True),
        ua.Variant([b"", b"x", None], KINDS.ByteString),
        ua.Variant([], KINDS.Null, is_array=True),
        ua.Variant(),
    ],
    ids=str,
)
def test_what_is_there_is_read(value: ua.Variant) -> None:
    read = variant_from_binary(Buffer(variant_to_binary(value)))
    assert (read.Value, read.VariantType, read.Dimensions) == (
        value.Value,
        value.VariantType,
        value.Dimensions,
    )


def test_fewer_elements_than_there_are_is_what_some_servers_say_of_any_length() -> None:
    said = b"\xc6" + struct.pack("<iii", 2, 7, 8) + struct.pack("<ii", 1, 0)
    assert variant_from_binary(Buffer(said)).Value == [7, 8]


def test_who_needs_the_stack_gets_asyncua_s_own() -> None:
    assert (stack.Client.__module__, stack.Server.__module__) == (
        "asyncua.client.client",
        "asyncua.server.server",
    )
