"""What grows in a long run: the slope of a role's memory is that of its longest-lived process, without its start."""

from gateways.bench.soak import by_quarter, slopes_mb_per_h, trips
from gateways.sim.faults import parse_faults
from gateways.up.observer import SeenCommand
from gateways.up.resources import MemorySample
from rules.engine.outputs import Command


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


def test_each_trip_ends_and_its_commands_come_before_the_run_ends() -> None:
    assert trips(300) == ()
    faults = parse_faults(",".join(trips(1000)))
    assert [(one.at_s, one.remove) for one in faults] == [
        (300, False), (308, True), (600, False), (608, True), (900, False), (908, True),
    ]  # fmt: skip


def test_latency_is_told_by_the_quarter_in_which_the_sample_was_taken() -> None:
    def seen(cause_s: int, latency_ms: int) -> SeenCommand:
        cause_ns = cause_s * 10**9
        command = Command("c", "row-a", "r", "R1", "P.Speed", 80.0, "%", cause_ns, cause_ns + 10**10, "")
        return SeenCommand(command, cause_ns + latency_ms * 10**6)

    quarters = by_quarter([seen(5, 100), seen(35, 300), seen(39, 300), seen(41, 700)], 0, 40.0)
    assert [(one["p50"], one["count"]) for one in quarters] == [(100, 1), (None, 0), (None, 0), (300, 3)]
