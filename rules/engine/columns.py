"""What a record brings, as the kernel takes it: columns of one type each, and times that can be believed."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rules.engine.inputs import Frame
from rules.engine.kernel import codes
from rules.engine.kernel.codes import NEVER
from rules.engine.sources import SourceState, sane

I64: Final = np.dtype(np.int64)
F32: Final = np.dtype(np.float32)
F64: Final = np.dtype(np.float64)
U8: Final = np.dtype(np.uint8)
_SAMPLES: Final = 64
_USABLE: Final = np.full(_SAMPLES, codes.USABLE, np.int64)
"""What becomes of the times of most frames. No kernel writes to it."""


class Samples(NamedTuple):
    """Columns of readings as the kernel takes them; `rows` of points, -1 for one that is not ours."""

    rows: NDArray[np.int64]
    times_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    quality: NDArray[np.uint8]


def plain(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array as the kernel takes it; a view of a record's bytes may be unaligned."""
    flags = array.flags
    if array.dtype == dtype and flags.c_contiguous and flags.aligned:
        return array
    return np.require(array, dtype, ["C", "A"])


def frame_times(
    value: Frame, given_ns: list[int], source: SourceState, now_ns: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Corrected times of a frame's samples, and what became of each, as the kernel takes them.

    `given_ns`: its own times. The newest one is held against the clocks, the others move with it.
    """
    times_ns = given_ns
    first_ns, newest_ns = min(times_ns, default=0), max(times_ns, default=0)
    ingest_ns = sane(value.ingest_ns)
    if (
        max(now_ns - source.lateness_ns, 0) <= first_ns
        and ingest_ns - source.tolerance_ns
        <= newest_ns
        <= min(min(ingest_ns, now_ns) + source.tolerance_ns, NEVER)
        and len(given_ns) <= _SAMPLES
    ):
        return plain(value.time_ns, I64), _USABLE[: len(given_ns)]
    if first_ns < 0 or newest_ns > NEVER:
        times_ns = [sane(time_ns) for time_ns in times_ns]
        first_ns, newest_ns = sane(first_ns), sane(newest_ns)
    event_ns, believed = newest_ns, codes.USABLE
    if abs(newest_ns - ingest_ns) > source.tolerance_ns:
        event_ns, believed = ingest_ns, codes.UNCERTAIN
    if event_ns > now_ns + source.tolerance_ns:
        event_ns, believed = now_ns, codes.UNCERTAIN
    moved_ns = event_ns - newest_ns
    oldest_ns = now_ns - source.lateness_ns
    if moved_ns:
        times_ns = [time_ns + moved_ns for time_ns in times_ns]
    if first_ns + moved_ns >= oldest_ns:
        verdicts = [believed] * len(times_ns)
    else:
        verdicts = [codes.LATE if time_ns < oldest_ns else believed for time_ns in times_ns]
    same = plain(value.time_ns, I64) if times_ns is given_ns else np.array(times_ns, np.int64)
    return same, np.array(verdicts, np.int64)
