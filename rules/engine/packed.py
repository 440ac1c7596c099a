"""A JSON object and arrays as bytes and back: what a snapshot and the tables of rules are made of.

Rules: equal contents give equal bytes; nothing is unpickled; what is read is checked before it is believed.

Layout: a magic word of 8 bytes, CRC-32 of all that follows (4 bytes, little-endian as everything), length of the header
(4 bytes), the header (orjson, sorted keys, spaces up to a multiple of 8), then the arrays one after another, as the
header's `arrays` lists them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from rules.errors import HeadraceError

Arrays = dict[str, NDArray[Any]]
_FRAMING: Final = struct.Struct("<II")
_WORD: Final = 8
_DTYPES: Final = {"int8", "int16", "int64", "float64"}


class PackedError(HeadraceError):
    """These bytes are not what they should be."""


def pack(magic: bytes, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Both as bytes."""
    listed = [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()]
    head = orjson.dumps({**header, "arrays": listed}, option=orjson.OPT_SORT_KEYS)
    head += b" " * (-len(head) % _WORD)
    body = b"".join([head, *(np.ascontiguousarray(array).tobytes() for array in arrays.values())])
    return magic + _FRAMING.pack(zlib.crc32(body, len(head)), len(head)) + body


def unpack(magic: bytes, data: bytes | bytearray, what: str) -> tuple[dict[str, Any], Arrays]:
    """(header, arrays), which are views of `data`. Raises PackedError, which calls it `what`."""
    start = len(magic) + _FRAMING.size
    if len(data) < start or data[: len(magic)] != magic:
        raise PackedError(f"no {what} of this version of Headrace")
    checksum, length = _FRAMING.unpack_from(data, len(magic))
    body = memoryview(data)[start:]
    if length > len(body) or zlib.crc32(body, length) != checksum:
        raise PackedError(f"a damaged {what}: its checksum does not match")
    header: dict[str, Any] = orjson.loads(body[:length])
    return header, dict(_arrays(body[length:], header["arrays"], what))


def _arrays(
    body: memoryview, listed: Iterable[tuple[str, str, list[int]]], what: str
) -> Iterable[tuple[str, NDArray[Any]]]:
    offset = 0
    for name, dtype, shape in listed:
        if dtype not in _DTYPES:
            raise PackedError(f"a {what} with an array of {dtype}")
        array = np.frombuffer(body, dtype, count=int(np.prod(shape)), offset=offset).reshape(shape)
        offset += array.nbytes
        yield name, array
