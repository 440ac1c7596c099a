"""The slope of a role's memory is that of its longest-lived process, without its start."""

from gateways.bench.soak import slopes_mb_per_h
from gateways.up.resources import MemorySample


def life(role: str, pid: int, begin_s: int, end_s: int, mb: float, mb_per_h: float) -> list[MemorySample]:
    return [
        MemorySample(at_s, role, pid, 500.0 - at_s, mb + mb_per_h * (at_s - begin_s) / 3600)
        for at_s in range(begin_s, end_s, 5)
    ]


def test_the_step_down_of_a_restart_is_no_slope() -> None:
    samples = life("worker", 1, 0, 300, 100.0, 400.0) + life("worker", 2, 300, 900, 80.0, 36.0)
    assert slopes_mb_per_h(samples) == {"worker": 36.0}


def test_the_start_is_no_slope_and_a_process_that_was_hardly_there_has_none() -> None:
    steep = life("opcua", 1, 0, 60, 10.0, 10_000.0)
    flat = [MemorySample(float(at_s), "opcua", 1, 200.0, 180.0) for at_s in range(60, 400, 5)]
    assert slopes_mb_per_h([*steep, *flat, *life("nvml", 2, 340, 400, 50.0, 9.0)]) == {"opcua": 0.0}
