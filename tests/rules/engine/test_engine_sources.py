"""Identity: repeats, gaps, restarts, and what is journaled of them."""

from __future__ import annotations

from typing import Any

from rules.engine.engine import Engine
from rules.engine.inputs import Activation, Identity, Input, Receipt
from rules.engine.outputs import Alarm, Entry, Output
from tests.rules.engine.plant import MS, START, UNIT, S, flow, gap, program, site, tick

QUIET = """
  never:
    for: Rack
    when: RackPower > 190 kW
    severity: low
    message: never
"""


def engine() -> Engine:
    made = Engine(program(QUIET), site(), UNIT)
    made.step([tick(START)])
    return made


def flows(*sequences: int, epoch: int = 1) -> list[Input]:
    return [flow(n, START + n * MS + epoch * 100 * MS, 90, epoch=epoch) for n in sequences]


def alarms(outputs: list[Output]) -> list[tuple[str, str, str, str]]:
    return [(a.rule, a.asset, a.state, a.message) for a in outputs if isinstance(a, Alarm)]


def entries(outputs: list[Output]) -> list[tuple[str, Any]]:
    return [(e.kind, dict(e.detail)) for e in outputs if isinstance(e, Entry)]


def test_a_hole_in_the_sequence_is_an_alarm_until_the_next_record_without_one() -> None:
    made = engine()
    outputs = made.step(flows(1, 4))
    text = "plant: 2 inputs missing, sequence 2 to 3"
    assert alarms(outputs) == [("source-gap", "plant", "unacknowledged", text)]
    assert entries(outputs)[0] == (
        "gap",
        {"source": "plant", "reason": "sequence", "epoch": 1, "first_missing": 2, "missing": 2},
    )
    assert made.counters["readings"] == 2
    assert (made.counters["gaps"], made.counters["inputs_missing"]) == (1, 2)
    assert alarms(made.step(flows(7))) == []
    assert alarms(made.step(flows(8))) == [
        ("source-gap", "plant", "returned-unacknowledged", "plant: complete again")
    ]


def test_repeats_are_dropped_counted_and_journaled_with_the_tick() -> None:
    made = engine()
    assert made.step(flows(1, 2, 2, 1)) == []
    assert (made.counters["repeats"], made.counters["readings"]) == (2, 2)
    assert entries(made.step([tick(START + S)])) == [("repeat", {"source": "plant", "count": 2})]


def test_an_older_epoch_is_a_repeat() -> None:
    made = engine()
    made.step([*flows(1), gap(1, "restart", epoch=2), *flows(2, epoch=1)])
    assert made.counters["repeats"] == 1


def test_a_restart_announced_by_its_writer_is_a_gap_that_the_next_record_closes() -> None:
    made = engine()
    outputs = made.step([*flows(1), gap(1, "restart", 7, epoch=2), *flows(2, epoch=2)])
    assert [state for _, _, state, _ in alarms(outputs)] == ["unacknowledged", "returned-unacknowledged"]
    assert alarms(outputs)[0][3] == "plant: 7 readings not delivered (restart)"
    assert made.counters["readings_lost"] == 7


def test_a_restart_without_a_word_is_a_gap_of_unknown_size() -> None:
    made = engine()
    outputs = made.step([*flows(1), *flows(1, epoch=2)])
    assert [text for _, _, _, text in alarms(outputs)] == [
        "plant: started again without a word on what it lost"
    ]


def test_backfill_that_restarts_needs_no_word_as_its_live_source_says_one() -> None:
    made = engine()
    made.step([flow(1, START, 90, source="plant/backfill", epoch=1, backfill=True)])
    outputs = made.step([flow(1, START + S, 90, source="plant/backfill", epoch=2, backfill=True)])
    assert outputs == []
    assert (made.counters["gaps"], made.counters["backfill"]) == (0, 2)


def test_a_new_epoch_that_starts_above_one_is_a_gap() -> None:
    made = engine()
    made.step([*flows(1), *flows(3, epoch=2)])
    assert made.counters["inputs_missing"] == 2


def test_the_first_word_of_a_source_is_no_gap() -> None:
    made = engine()
    assert entries(made.step(flows(5))) == [("joined", {"source": "plant", "epoch": 1, "sequence": 5})]
    other = engine()
    outputs = other.step([gap(1, "restart"), *flows(2)])
    assert alarms(outputs) == []
    assert [kind for kind, _ in entries(outputs)] == ["joined"]


def test_what_was_spooled_is_a_gap_of_live_data_and_not_lost() -> None:
    made = engine()
    outputs = made.step([*flows(1), gap(2, "spooled", 9)])
    assert alarms(outputs)[0][3] == "plant: 9 readings not delivered (spooled)"
    assert made.counters["readings_lost"] == 0


def test_a_second_ticker_changes_nothing() -> None:
    made = engine()
    assert made.step([tick(START), tick(START + 100 * MS), tick(START + 100 * MS), tick(START)]) == []
    assert (made.counters["ticks"], made.counters["repeats"]) == (2, 3)
    assert made.now_ns == START + 100 * MS


def test_receipts_and_activations_are_journaled() -> None:
    made = engine()
    receipt = Receipt(
        UNIT, Identity("actuators", 1, 1), "row:c:0", "P.PumpSpeed", "done", 1.0, 1.0, START, "ok"
    )
    activation = Activation(UNIT, Identity("site", 1, 1), "s", "r")
    assert entries(made.step([receipt, activation])) == [
        (
            "receipt",
            {
                "command": "row:c:0",
                "actuator": "P.PumpSpeed",
                "status": "done",
                "value": 1.0,
                "read_back": 1.0,
                "detail": "ok",
            },
        ),
        ("activation", {"site_digest": "s", "rules_digest": "r"}),
    ]


def test_strangers_are_counted() -> None:
    made = engine()
    made.step([flow(1, START, 1, point="R9.RackLiquidFlow"), flow(1, START, 1, source="stranger")])
    assert (made.counters["unknown_points"], made.counters["unknown_sources"]) == (1, 1)


def clocks(*at_and_off_s: tuple[float, float]) -> list[Input]:
    """An input at each time (s after the start), its source time off by so much, with its tick before it."""
    inputs: list[Input] = []
    for sequence, (at_s, off_s) in enumerate(at_and_off_s, start=1):
        at_ns = START + round(at_s * S)
        inputs += [tick(at_ns), flow(sequence, at_ns + round(off_s * S), 90, ingest_ns=at_ns)]
    return inputs


def test_a_clock_that_is_off_for_a_second_is_an_alarm_until_it_was_right_for_ten() -> None:
    made = engine()
    assert alarms(made.step(clocks((0, 0), (11, 3600), (11.9, 3600)))) == []
    raised = made.step(clocks((0, 0), (11, 3600), (11.9, 3600), (12, -7.25))[6:])
    assert alarms(raised) == [
        ("source-clock", "plant", "unacknowledged", "plant: times are 7.2 s behind their arrival")
    ]
    assert [a.raised_ns for a in raised if isinstance(a, Alarm)] == [START + 12 * S]
    steps = ((0, 0), (11, 3600), (11.9, 3600), (12, -7.25), (13, 0), (21.9, 0.9), (22, 0))
    restarted = engine()
    restarted.restore(made.snapshot())
    cleared = restarted.step(clocks(*steps)[8:])
    assert alarms(cleared) == [
        ("source-clock", "plant", "returned-unacknowledged", "plant: times are right again")
    ]
    assert [a.cleared_ns for a in cleared if isinstance(a, Alarm)] == [START + 22 * S]


def test_a_clock_that_is_off_from_the_first_input_on_is_an_alarm_a_second_after_the_grace() -> None:
    made = engine()
    assert alarms(made.step(clocks((0, -5), (5, -5), (10.9, -5)))) == []
    raised = made.step(clocks((0, -5), (5, -5), (10.9, -5), (11, -5))[6:])
    assert [a.raised_ns for a in raised if isinstance(a, Alarm)] == [START + 11 * S]


def test_a_clock_that_is_off_now_and_then_is_no_alarm() -> None:
    made = engine()
    assert alarms(made.step(clocks((0, -3), (10.5, -3), (11.4, 0), (21, -3)))) == []


def test_an_old_sample_beside_a_fresh_one_is_no_wrong_clock() -> None:
    made = engine()
    at_ns = [START + n * S for n in range(5)]
    inputs: list[Input] = [tick(START)]
    for n, at in enumerate(at_ns, start=1):
        inputs += [flow(n, at, 90, 90, step_ns=30 * S), tick(at)]
    assert alarms(made.step(inputs)) == []
