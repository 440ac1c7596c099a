"""The words of the kernel: operations and their columns, phases and transitions, sizes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

(
    NUMBER, LANE_NUMBER, POINT, LANE_POINT,
    ADD, SUB, MUL, DIV, NEG, ABS, LEAST, MOST,
    LT, LE, GT, GE, EQ, NE,
    LT_NUMBER, LE_NUMBER, GT_NUMBER, GE_NUMBER, EQ_NUMBER, NE_NUMBER,
    AND, OR, LACKS,
    RATE, DELTA, AVG, TWA, MIN, MAX, STDDEV, INTEGRAL, COUNT, EWMA, CUSUM, SINCE,
    RATE_ANEW, DELTA_ANEW, AVG_ANEW, TWA_ANEW, MIN_ANEW, MAX_ANEW, STDDEV_ANEW, INTEGRAL_ANEW, COUNT_ANEW,
    QUIET, STEP, NO_DATA,
    TRUTH, KEEP, OVER, OVER_GPUS, OVER_PARTS, TELL,
    BOUNDS, RULED_OUT,
) = range(59)  # fmt: skip
"""Operations. Columns of `Code.ops`: the operation, D (where to), A, B, C, E, F, G (what they mean, each says)."""
OP, D, A, B, C, E, F, G = range(8)

Numbers = NDArray[np.float64]
Truths = NDArray[np.bool_]
Times = NDArray[np.int64]

NORMAL, RAISING, ACTIVE, CLEARING = range(4)
"""Phases of a condition: not true; true, on-delay running; in alarm; false again, off-delay running."""
ON, OFF = range(2)
DELAY, TOLD = 1, 2
"""Bits of `held`, while a condition is unknown: its delay stands still; it is in alarm, and being unknown was said."""

RAISED, CLEARED, UNKNOWN, KNOWN, FACT = range(5)
CONDITION, TRANSITION, AT, BY_DEADLINE, SAMPLE = range(5)
"""Columns of `Events.what`."""

USABLE, UNCERTAIN, LATE = range(3)
"""What became of a sample's time."""

OUT_OF_ORDER, NOT_GOOD, LATE_COUNT, CORRECTED = range(4)
"""Entries of the counts that a kernel adds to, in samples (a GPU's sample is 24 readings)."""

NEVER = 1 << 62
START_GRACE_NS = 30_000_000_000
"""What was never seen has as much longer from the first tick on: a gateway of thousands of points starts slowly."""
FIELDS = 24
LANES_TOGETHER = 128
"""GPUs at a time."""
CELLS = 776
"""Cells at a time, of a GPU and a sample each. Not a power of two: rows would then share the same few cache sets."""
PANES = 16
KEPT = PANES + 1
"""Panes of a window, the one being filled included."""
BACK = 2 * PANES + 1
"""Panes of which `rate` and `delta` keep the last sample."""
LOW, HIGH, LACKING = range(3)
"""Columns of `Work.bounds`: the smallest and the largest known number, and 0 where all are known."""
INFINITE = 0x7FF0000000000000
"""The bits of infinity: finite positive numbers have less."""
MAGNITUDE = 0x7FFFFFFFFFFFFFFF
"""All bits of a number but its sign."""
ALWAYS = -1
"""The bit of a sample that every function takes."""

SUM, MEAN, LOWEST, HIGHEST, COVERAGE, HOW_MANY = range(6)
"""What OVER makes of the numbers that are known, or how many are; of truths, 1 and 0, SUM is how many are true."""
