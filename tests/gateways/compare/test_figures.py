"""The figures of an alarm system beside their targets."""

from __future__ import annotations

import pytest

from gateways.compare.figures import measured
from streams.compare.kpis import PERIODS_NS, kpis


@pytest.mark.parametrize(("recorded_ns", "meets"), [(PERIODS_NS["day"] - 1, None), (PERIODS_NS["day"], True)])
def test_in_less_than_a_day_nobody_knows_whether_an_alarm_gets_stale(
    recorded_ns: int, meets: bool | None
) -> None:
    [stale] = [one for one in measured(kpis([], [(0, recorded_ns)])) if one.name.startswith("stale")]
    assert (stale.value, stale.meets) == ("0", meets)
