"""Prometheus' XOR chunk: times as differences of differences, values as the bits in which they differ.

Source: Pelkonen et al., "Gorilla: A Fast, Scalable, In-Memory Time Series Database" (VLDB 2015), with Prometheus' own
lengths (tsdb/docs/format/chunks.md): 2 bytes number of samples; then time (varint ms) and value; then the first
difference (uvarint) and value; then per sample a prefix 0, 10, 110, 1110, 1111 for 0, 14, 17, 20 or 64 bits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

_WIDTHS: Final = (0, 14, 17, 20, 64)


class _Bits:
    """The bits of a chunk, most significant first. Raises ValueError beyond the end."""

    def __init__(self, data: bytes, place: int) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * (len(data) - place)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("the chunk ends within a sample")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(8)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise ValueError("a number of the chunk has no end")


def read_xor(data: bytes) -> Iterator[tuple[int, float]]:
    """(ms since 1970, value) of each sample. Raises ValueError where the chunk breaks off."""
    if len(data) < 2:
        raise ValueError("the chunk is empty")
    samples, bits = int.from_bytes(data[:2], "big"), _Bits(data, 2)
    time_ms = delta = value = leading = trailing = 0
    for number in range(samples):
        if number == 0:
            zigzag = bits.varint()
            time_ms, value = (zigzag >> 1) ^ -(zigzag & 1), bits.take(64)
        else:
            delta = bits.varint() if number == 1 else delta + _difference(bits)
            time_ms += delta
            if bits.take(1):
                if bits.take(1):
                    leading, width = bits.take(5), bits.take(6)
                    trailing = 64 - leading - (width or 64)
                    if trailing < 0:
                        raise ValueError("a value of the chunk has more than 64 bits")
                value ^= bits.take(64 - leading - trailing) << trailing
        yield time_ms, struct.unpack(">d", value.to_bytes(8, "big"))[0]


def _difference(bits: _Bits) -> int:
    prefix = 0
    while prefix < 4 and bits.take(1):
        prefix += 1
    width = _WIDTHS[prefix]
    if not width:
        return 0
    number = bits.take(width)
    if width == 64:
        return number - (1 << 64) if number >> 63 else number
    # A Prometheus of its own: 1 << (width - 1) itself is positive.
    return number - (1 << width) if number > 1 << (width - 1) else number
