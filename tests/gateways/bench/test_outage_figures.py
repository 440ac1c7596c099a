"""What is made of the log of an outage: from 10 s to 20 s the broker is away, and the backlog takes 4 s."""

from __future__ import annotations

import pytest

from gateways.bench.outage import Moment, figures

SECOND_NS = 1_000_000_000
LEFT_NS, BACK_NS = 10 * SECOND_NS, 20 * SECOND_NS


def live(at_s: float, age_ms: int) -> Moment:
    ingest_ns = round(at_s * SECOND_NS)
    return Moment(ingest_ns + age_ms * 1_000_000, ingest_ns, "nvml", "row-a", round(at_s))


def late(sequence: int, ingest_s: float, appended_s: float, unit: str = "row-a") -> Moment:
    return Moment(round(appended_s * SECOND_NS), round(ingest_s * SECOND_NS), "nvml/backfill", unit, sequence)


MOMENTS = [
    *(live(at_s, 5) for at_s in range(1, 10)),
    *(late(number, 10 + number, 20 + number / 2) for number in range(1, 9)),
    *(live(at_s, 7) for at_s in (21, 22, 23)),
    live(30, 900),  # when all is over, it says nothing of the backlog
]


def test_the_backlog_and_live_data_beside_it() -> None:
    found = figures(MOMENTS, LEFT_NS, BACK_NS, is_drained=True)
    assert (found["backfill"], found["out_of_order"], found["drained_s"]) == (8, 0, 4.0)
    assert found["live_age_ms"]["before"] == {"p50": 5.0, "p99": 5.0, "count": 9}
    assert found["live_age_ms"]["beside_the_backlog"] == {"p50": 7.0, "p99": 7.0, "count": 3}


@pytest.mark.parametrize(
    "wrong",
    [late(10, 19, 24.5), late(9, 17.5, 24.5), late(8, 18, 24.5)],
    ids=["a sequence is left out", "an older one behind a younger one", "a sequence twice"],
)
def test_what_is_out_of_order(wrong: Moment) -> None:
    assert figures([*MOMENTS, wrong], LEFT_NS, BACK_NS, is_drained=True)["out_of_order"] == 1


def test_units_have_orders_of_their_own() -> None:
    other = [late(number, 12 + number, 24.0, "row-b") for number in (1, 2)]
    assert figures([*MOMENTS, *other], LEFT_NS, BACK_NS, is_drained=True)["out_of_order"] == 0


def test_a_backlog_that_did_not_end_has_no_time() -> None:
    assert figures(MOMENTS, LEFT_NS, BACK_NS, is_drained=False)["drained_s"] is None
