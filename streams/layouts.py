"""Where things lie in an Arrow record batch of one row: what is learned of one message, and tells how to read the next.

Rules: a batch without nulls and compression has its columns at places that depend on its metadata alone; what has
either is not learned, and stays Arrow's to read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, TypeVar

import pyarrow as pa

Layout = TypeVar("Layout")
_MASKS: Final = (0, 2)
"""Which of a column's buffers say what is null: its own first one, and the first one of what a list holds."""
_METADATA_BYTES_MAX: Final = 10_000
"""Of a message's head: Arrow writes some 1,000 without metadata of the sender's own, and thousands are kept."""
_IN_A_LIST: Final = 4
"""A list has as many buffers at least."""


def head_of(value: bytes) -> bytes:
    """A message's mark, the length of its metadata, the metadata: what says where all else is (Arrow's IPC format)."""
    return value[: 8 + int.from_bytes(value[4:8], "little")]


def places_of(value: bytes, body: pa.Buffer, batch: Any) -> list[int] | None:
    """Where each buffer of the columns begins in `value`, whose buffer is `body`; None where that can't be learned."""
    if len(head_of(value)) > _METADATA_BYTES_MAX:
        return None
    places: list[int] = []
    for column in batch.columns:
        buffers = column.buffers()
        masks = _MASKS if len(buffers) >= _IN_A_LIST else _MASKS[:1]
        for number, buffer in enumerate(buffers):
            if number in masks:
                if buffer is not None:
                    return None
                continue
            place = -1 if buffer is None else buffer.address - body.address
            if buffer is None or not buffer.size or not 0 <= place <= len(value) - buffer.size:
                return None  # empty, or decompressed: not in these bytes
            places.append(place)
    return places


def numbers_at(places: list[tuple[int, str]]) -> struct.Struct | None:
    """All of these numbers at once; None where they don't lie one behind the other, as Arrow writes them."""
    text, end = "<", 0
    for at, kind in places:
        if at < end:
            return None
        text += f"{at - end}x{kind}"
        end = at + struct.calcsize(f"<{kind}")
    return struct.Struct(text)


def remember(
    learned: dict[int, list[Layout]],
    size: int,
    layout: Layout,
    is_same: Callable[[Layout], bool],
    limit: int,
) -> None:
    """Add the layout of messages of this size in the place of those that are the same; at `limit` all begin anew."""
    if sum(map(len, learned.values())) >= limit:
        learned.clear()
    learned[size] = [*(one for one in learned.get(size, ()) if not is_same(one)), layout]
