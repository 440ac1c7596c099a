"""Quality of a reading: OPC UA's three severities, and 'not available' for what was never measured."""

from __future__ import annotations

from enum import IntEnum


class Quality(IntEnum):
    """Ordered from best to worst, so that the quality of a result is the maximum of its inputs'."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2
    MISSING = 3
    """The device has no such value (NVML 'not supported'); the number beside it is NaN, never 0."""


GOOD_STATUS = 0
BAD_STATUS = 0x80000000
"""OPC UA's plain Bad: no reason is known."""
BAD_NO_COMMUNICATION = 0x80310000
"""OPC UA status code for a point whose server is gone: quality bad, reason disconnected."""
BAD_NODE_ID_UNKNOWN = 0x80340000
"""OPC UA status code for a configured node that its server lacks."""
UNCERTAIN_CLOCK = 0x40920000
"""OPC UA 'UncertainSubNormal' family, used here for an event whose own clock can't be believed."""


def quality_of_status(status: int) -> Quality:
    """The severity bits (31-30) of an OPC UA status code: 00 good, 01 uncertain, 1x bad (part 4, 7.39)."""
    severity = status >> 30
    return Quality.GOOD if severity == 0 else Quality.UNCERTAIN if severity == 1 else Quality.BAD
