"""Each paragraph of the architecture's section on time, and of three values, with one rule and a few samples."""

from __future__ import annotations

import pytest

from rules.engine.engine import Engine
from rules.engine.inputs import Input
from rules.engine.outputs import Alarm, Command, Entry, Output
from rules.errors import InvariantError
from rules.quality import Quality
from tests.rules.engine.plant import MS, START, UNIT, S, flow, frame, program, site, tick

FLOW_LOW = """
  flow-low:
    for: Rack
    when: RackLiquidFlow < 0.7 * design_flow
    until: RackLiquidFlow > 0.8 * design_flow
    on_delay: 500 ms
    off_delay: 2 s
    severity: urgent
    message: "{asset}: {value:.0f} L/min"
    then:
      - command: limit each GPU.power_limit to 500 W
"""
NO_FLOW_DATA = """
  flow-unknown:
    for: Rack
    when: no_data(RackLiquidFlow)
    severity: high
    message: "{asset} is silent"
"""
HOT = """
  hot:
    for: GPU
    when: temperature > hot
    severity: low
    message: "{asset} {value}"
"""
RATE = """
  rising:
    for: Rack
    when: rate(RackLiquidFlow, 2 s) > 1 L/min/s
    severity: low
    message: "{asset} {value}"
"""


def engine(rules: str) -> Engine:
    made = Engine(program(rules), site(), UNIT)
    made.step([tick(START)])
    return made


def transitions(outputs: list[Output]) -> list[tuple[str, str, float]]:
    """(asset, state, seconds after START) of every alarm transition."""
    return [
        (a.asset, a.state, ((a.raised_ns if a.cleared_ns is None else a.cleared_ns) - START) / S)
        for a in outputs
        if isinstance(a, Alarm)
    ]


def run(made: Engine, *inputs: Input) -> list[tuple[str, str, float]]:
    return transitions(made.step(inputs))


def test_on_delay_over_at_a_tick_is_stamped_with_the_deadline_and_commands_every_gpu_behind() -> None:
    made = engine(FLOW_LOW)
    assert made.step([flow(1, START + 100 * MS, 60), tick(START + 500 * MS)]) == []
    outputs = made.step([tick(START + 700 * MS)])
    *commands, alarm, entry = outputs
    assert isinstance(alarm, Alarm)
    assert isinstance(entry, Entry)
    cause = f"row:flow-low:R1:{START + 600 * MS}"
    assert (alarm.id, alarm.raised_id, alarm.raised_ns) == (f"{cause}:0", f"{cause}:0", START + 600 * MS)
    assert (alarm.value, alarm.message, alarm.state) == (60.0, "R1: 60 L/min", "unacknowledged")
    assert [c.actuator for c in commands if isinstance(c, Command)] == [
        f"R1-T{t}-G{g}.power_limit" for t in (1, 2) for g in (1, 2)
    ]
    assert {(c.value, c.engineering_unit, c.cause_ns) for c in commands if isinstance(c, Command)} == {
        (500.0, "W", START + 600 * MS)
    }
    assert [c.id for c in commands] == [f"{cause}:{n}" for n in (2, 3, 4, 5)]


def test_a_sample_first_fires_the_deadlines_of_its_own_conditions() -> None:
    made = engine(FLOW_LOW)
    good_again = flow(2, START + 900 * MS, 100)
    assert run(made, flow(1, START + 100 * MS, 60), good_again) == [("R1", "unacknowledged", 0.6)]


def test_a_sample_at_the_very_deadline_comes_too_late_to_stop_it() -> None:
    made = engine(FLOW_LOW)
    assert run(made, flow(1, START + 100 * MS, 60), flow(2, START + 600 * MS, 100)) == [
        ("R1", "unacknowledged", 0.6)
    ]


def test_on_delay_starts_anew_after_one_sample_that_is_not_low() -> None:
    made = engine(FLOW_LOW)
    inputs = [flow(n, START + n * 300 * MS, v) for n, v in enumerate([60, 75, 60, 60, 60], 1)]
    assert run(made, *inputs[:3], tick(START + S), *inputs[3:]) == [("R1", "unacknowledged", 1.4)]


def test_off_delay_and_dead_band() -> None:
    made = engine(FLOW_LOW)
    run(made, flow(1, START, 60), tick(START + S))
    in_the_band = flow(2, START + 2 * S, 75)
    above = [flow(n, START + n * S, 85) for n in (3, 4)]
    back_in_the_band = flow(5, START + 4500 * MS, 79)
    assert run(made, tick(START + 4 * S), in_the_band, *above, back_in_the_band, tick(START + 7 * S)) == []
    assert run(made, flow(6, START + 7 * S, 85), tick(START + 9 * S)) == [
        ("R1", "returned-unacknowledged", 9.0)
    ]


@pytest.mark.parametrize("quality", [Quality.UNCERTAIN, Quality.BAD, Quality.MISSING])
def test_unknown_holds_a_running_delay_until_the_next_known_sample(quality: Quality) -> None:
    made = engine(FLOW_LOW)
    inputs = [
        flow(1, START + 100 * MS, 60),
        flow(2, START + 400 * MS, 60, quality=quality),
        tick(START + 900 * MS),
        flow(3, START + 950 * MS, 60),
    ]
    assert run(made, *inputs, tick(START + 1100 * MS)) == []
    assert run(made, tick(START + 1200 * MS)) == [("R1", "unacknowledged", 1.15)]


def test_unknown_neither_raises_nor_clears() -> None:
    made = engine(HOT)
    assert run(made, frame(1, START + 10 * MS, 90, quality=Quality.BAD)) == []
    assert run(made, frame(2, START + 20 * MS, float("nan"))) == []
    assert len(run(made, frame(3, START + 30 * MS, 90))) == 4
    outputs = made.step([frame(4, START + 40 * MS, 20, quality=Quality.UNCERTAIN)])
    standing = [one for one in outputs if isinstance(one, Alarm)]
    assert {(one.state, one.cleared_ns, one.unknown_ns) for one in standing} == {
        ("unacknowledged", None, START + 40 * MS)
    }
    assert len(standing) == 4
    assert run(made, frame(5, START + 50 * MS, float("inf"))) == []
    after = run(made, frame(6, START + 60 * MS, 20))  # known again, then cleared
    assert sorted(state for _, state, _ in after) == ["returned-unacknowledged"] * 4 + ["unacknowledged"] * 4


def test_being_unknown_is_said_once_and_so_is_being_known_again() -> None:
    made = engine(HOT)
    made.step([frame(1, START + 10 * MS, 90)])
    bad = [frame(n, START + n * 10 * MS, 90, quality=Quality.BAD) for n in (2, 3)]
    kinds = [one.kind for one in made.step(bad) if isinstance(one, Entry)]
    assert kinds == ["alarm-unknown"] * 4
    assert made.counters["alarms_unknown"] == 4
    outputs = made.step([frame(4, START + 40 * MS, 91), frame(5, START + 50 * MS, 92)])
    assert [one.kind for one in outputs if isinstance(one, Entry)] == ["alarm-known"] * 4
    assert all(one.unknown_ns is None for one in outputs if isinstance(one, Alarm))


def test_what_clears_as_soon_as_it_is_known_says_both() -> None:
    made = engine(HOT)
    made.step([frame(1, START + 10 * MS, 90), frame(2, START + 20 * MS, 90, quality=Quality.BAD)])
    outputs = made.step([frame(3, START + 30 * MS, 20)])
    said = [
        (one.kind, one.at_ns)
        for one in outputs
        if isinstance(one, Entry) and one.detail["asset"] == "R1-T1-G1"
    ]
    assert said == [("alarm-known", START + 30 * MS), ("alarm-cleared", START + 30 * MS)]


def test_no_data_after_three_periods_stamped_with_its_deadline_and_over_with_a_good_sample() -> None:
    made = engine(NO_FLOW_DATA)
    said = run(made, flow(1, START, 60), tick(START + 2900 * MS), tick(START + 5 * S))
    assert said == [("R1", "unacknowledged", 3.0)]
    assert run(made, flow(2, START + 5 * S, 60, quality=Quality.BAD)) == []
    assert run(made, flow(3, START + 5500 * MS, 60)) == [("R1", "returned-unacknowledged", 5.5)]
    # R2 was never seen: three periods from the first tick, and the grace.
    assert run(made, tick(START + 8 * S), tick(START + 32 * S)) == [("R1", "unacknowledged", 8.5)]
    assert run(made, tick(START + 34 * S)) == [("R2", "unacknowledged", 33.0)]


def test_a_silent_stretch_without_ticks_shows_when_the_next_sample_comes() -> None:
    made = engine(NO_FLOW_DATA)
    inputs = [flow(1, START + 500 * MS, 60), flow(2, START + 10 * S, 60, ingest_ns=START + 10 * S)]
    made.step([inputs[0], tick(START + 3 * S)])
    made.step([tick(START + 3400 * MS)])
    outputs = made.step([tick(START + 9 * S), inputs[1]])
    assert transitions(outputs) == [("R1", "unacknowledged", 3.5), ("R1", "returned-unacknowledged", 10.0)]


def test_late_is_counted_and_journaled_once_per_source_and_tick_and_not_evaluated() -> None:
    made = engine(HOT)
    made.step([tick(START + 10 * S)])
    old = [frame(n, START + 7 * S + n * MS, 90) for n in (1, 2)]
    assert made.step(old) == []
    (entry,) = made.step([tick(START + 10100 * MS)])
    assert isinstance(entry, Entry)
    assert (entry.kind, entry.detail) == ("late", {"source": "gpus", "count": 2 * 4 * 24})
    assert made.counters["late"] == 2 * 4 * 24
    assert made.step([tick(START + 10200 * MS)]) == []


def test_not_newer_than_the_newest_is_out_of_order_per_signal_and_asset() -> None:
    made = engine(HOT)
    made.step([frame(1, START + 50 * MS, 20)])
    assert run(made, frame(2, START + 50 * MS, 90), frame(3, START + 40 * MS, 90)) == []
    assert made.counters["out_of_order"] == 2 * 4 * 24
    assert len(run(made, frame(4, START + 40 * MS, 90, asset="R2"))) == 4


def test_a_clock_that_is_an_hour_ahead_poisons_nothing() -> None:
    made = engine(HOT)
    hour = 3600 * S
    assert run(made, frame(1, START + hour, 90, ingest_ns=START + 10 * MS)) == []
    assert run(made, frame(2, START + hour, 90, ingest_ns=START + hour)) == []
    assert made.counters["clock_corrected"] == 4 * 24
    assert len(run(made, tick(START + 100 * MS), frame(3, START + 110 * MS, 90))) == 4


def test_a_frame_is_judged_by_its_newest_sample() -> None:
    made = engine(HOT)
    times = [START - 1500 * MS, START - 700 * MS, START + 10 * MS]
    assert [at for _, _, at in run(made, frame(1, START + 10 * MS, 90, times_ns=times))] == [-1.5] * 4
    assert made.counters["clock_corrected"] == 0


def test_before_the_first_tick_nothing_is_evaluated() -> None:
    made = Engine(program(HOT), site(), UNIT)
    assert made.step([frame(1, START, 90)]) == []
    assert made.counters["before_first_tick"] == 4 * 24
    assert len(run(made, tick(START), frame(2, START + MS, 90))) == 4


def test_backfill_is_counted_and_never_evaluated() -> None:
    made = engine(FLOW_LOW)
    assert run(made, flow(1, START, 1, source="plant/backfill", backfill=True), tick(START + 5 * S)) == []
    assert made.counters["backfill"] == 1


def test_deadlines_of_one_tick_fire_by_deadline_then_rule_then_asset() -> None:
    made = engine(NO_FLOW_DATA + FLOW_LOW)
    inputs = [flow(1, START, 30, point="R2.RackLiquidFlow"), flow(2, START, 30)]
    outputs = made.step([*inputs, tick(START + 4 * S)])
    said = [(a.rule, a.asset) for a in outputs if isinstance(a, Alarm)]
    assert said == [("flow-low", "R1"), ("flow-low", "R2"), ("flow-unknown", "R1"), ("flow-unknown", "R2")]


def test_rate_is_the_slope_over_at_least_its_window_and_unknown_before() -> None:
    made = engine(RATE)
    assert run(made, flow(1, START, 10), flow(2, START + S, 100)) == []
    outputs = made.step([tick(START + 2 * S), flow(3, START + 2 * S, 14)])
    assert [a.value for a in outputs if isinstance(a, Alarm)] == [2.0]


def test_rate_is_unknown_across_a_hole_of_more_than_two_windows() -> None:
    made = engine(RATE)
    assert run(made, flow(1, START, 10), tick(START + 5 * S), flow(2, START + 5 * S, 100)) == []
    assert run(made, tick(START + 7 * S), flow(3, START + 7 * S, 200)) == [("R1", "unacknowledged", 7.0)]


def test_what_a_late_sample_completes_is_never_stamped_before_the_last_transition() -> None:
    made = engine(NO_FLOW_DATA)
    made.step([flow(1, START, 60), tick(START + 4 * S)])
    assert run(made, flow(2, START + 2500 * MS, 60)) == [("R1", "returned-unacknowledged", 3.0)]


def test_a_late_sample_ends_an_alarm_no_sooner_than_it_began() -> None:
    made = engine(FLOW_LOW.replace("    off_delay: 2 s\n", ""))
    made.step([flow(1, START + 100 * MS, 60), tick(START + S)])
    assert run(made, flow(2, START + 300 * MS, 100)) == [("R1", "returned-unacknowledged", 0.6)]


def test_an_input_of_another_unit_is_a_broken_invariant() -> None:
    with pytest.raises(InvariantError, match="unit 'hall' reached the engine of 'row'"):
        engine(HOT).step([tick(START, "hall")])
