"""asyncua, with bounds on what it reads: its `Client` and `Server` are taken from here, nowhere else (ruff looks).

asyncua 2.1 believes what a message says of lengths. Three of them cost the sender nothing, and a request's header may
carry a value of any type, before anybody has logged in (docs/decisions/0121-lengths-that-cost-no-bytes.md):
- a text of a negative length goes back in the message, so that an array of some bytes never ends;
- an array of Null has elements without bytes;
- dimensions that are larger than their array are filled up, with a million elements for 8 bytes.
Here each of them is no message, on all connections of the process. So no element is shorter than a byte, and what a
message takes of memory is bounded by its length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from asyncua import Client, Server
from asyncua.common.utils import Buffer, NotEnoughData
from asyncua.ua import UaError, ua_binary

__all__ = ["Client", "Server"]

_read, _reshape = Buffer.read, ua_binary._reshape


def _read_forwards(buffer: Any, size: int) -> Any:
    if size < 0:
        raise NotEnoughData(f"a length of {size} bytes")
    return _read(buffer, size)


def _reshape_what_is_there(flat: list[Any], dimensions: list[int]) -> Any:
    # asyncua takes a 0 behind the first dimension for a 1
    said = math.prod([dimensions[0], *(one or 1 for one in dimensions[1:])]) if dimensions else 1
    if said > len(flat):  # OPC 10000-6, 5.2.2.16: Bad_DecodingError
        raise UaError(f"dimensions {dimensions[:10]} of an array of {len(flat)}")
    return _reshape(flat, dimensions)


class _Nulls:
    """In the place where asyncua looks for the fast way to read and write an array of a type."""

    @staticmethod
    def unpack_array(_data: Any, length: int) -> tuple[()]:
        if length > 0:
            raise UaError(f"an array of {length} Null, which is no type of an array")
        return ()

    @staticmethod
    def pack_array(array: Sequence[None] | None) -> Any:
        return ua_binary.Primitives.Int32.pack(-1 if array is None else len(array))


Buffer.read = _read_forwards
ua_binary._reshape = _reshape_what_is_there
ua_binary.Primitives1.Null = _Nulls
