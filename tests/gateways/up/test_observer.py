"""What `headrace up` counts and shows, from made records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from rich.console import Console

from gateways.up.observer import Observer
from gateways.up.resources import Resources
from gateways.up.summary import Cost, in_words, never_came, percentiles_ms, summarize
from gateways.up.view import render
from rules.engine.inputs import Frame, Gap, Identity, Readings, Receipt
from rules.engine.outputs import Alarm, Command, Entry
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from streams.journal.heads import Head, head_message
from streams.record import Message, Record, TopicPartition
from streams.site_folder import load_site
from streams.wire import encode_input, encode_output

SITE = load_site(Path(__file__).parents[3] / "examples" / "narvik")
WHO = {"role": "worker", "kind": "worker", "state": "ready", "at_ns": 1, "metrics": {}}
"""What a status has to have."""


def record(message: Message, at_ms: int = 1000, offset: int = 0) -> Record:
    return Record(
        message.topic, message.partition, offset, at_ms, message.key, message.value, message.headers
    )


def frame(sequence: int, temperature_degc: float, epoch: int = 1) -> Frame:
    values = np.full((1, 72, FIELD_COUNT), np.nan, np.float32)
    values[0, :, FIELD_INDEX["temperature"]] = temperature_degc
    return Frame(
        "row-a",
        Identity("plant-frames", epoch, sequence),
        5,
        "R02",
        np.array([5]),
        np.arange(72, dtype=np.uint16),
        values,
        np.zeros((1, 72), np.uint8),
        np.full((1, 72), -1),
    )


def command(cause_ns: int = 0) -> Command:
    return Command(
        "c1", "row-a", "rack-flow-low", "R02", "R02-T01-G1.power_limit", 500.0, "W", cause_ns, 10**10, "flow"
    )


def alarm(cleared_ns: int | None = None) -> Alarm:
    return Alarm(
        "a1" if cleared_ns is None else "a2",
        "row-a",
        "rack-flow-low",
        "R02",
        "urgent",
        "unacknowledged" if cleared_ns is None else "normal",
        "a1",
        7,
        cleared_ns,
        3.0,
        "no flow" if cleared_ns is None else "flow is back",
    )


@pytest.fixture
def observer() -> Observer:
    return Observer(SITE)


def cost() -> Cost:
    return Cost({"worker": 1.0, "broker": 0.5}, 10.0, Resources(), 2.5)


def test_holes_repeats_and_readings_are_counted(observer: Observer) -> None:
    for sequence in (1, 2, 2, 5):
        observer.see(record(encode_input(frame(sequence, 50.0), 3)))
    summary = summarize(observer, cost())
    assert (summary["lost"], summary["duplicates"], summary["frames"]) == (2, 1, 4)
    # the frame knows the temperature only: what a device has not is no reading, as in a replay
    assert (summary["readings"], summary["not_available"]) == (4 * 72, 4 * 72 * (FIELD_COUNT - 1))


def test_the_hottest_gpu_of_a_unit_is_kept(observer: Observer) -> None:
    observer.see(record(encode_input(frame(1, 71.0), 3)))
    observer.see(record(encode_input(frame(2, 50.0), 3)))
    assert summarize(observer, cost())["gpu_temperature_max_degc"] == {"row-a": 71.0}


def test_actuators_in_their_fallback_are_said(observer: Observer) -> None:
    assert "fallback" not in in_words(summarize(observer, cost()))
    held = {"actuators": 151, "part": "worker", "since_ns": 1_800_000_000_000_000_000}
    for name, metrics in (("actuators", {"fallback": held}), ("plant", {"watchdog": {"trips": 2}})):
        said = orjson.dumps(WHO | {"role": name, "metrics": metrics})
        observer.see(record(Message("status", 0, name.encode(), said)))
    summary = summarize(observer, cost())
    assert summary["fallback"] == {
        "actuators": 151, "part": "worker", "since": "2027-01-15T08:00:00.000000000Z", "watchdog_trips": 2
    }  # fmt: skip
    assert "151 actuators are in their fallback since 08:00:00 (silent: worker)" in in_words(summary)
    assert "let its actuators fall back: 2 times" in in_words(summary)


def test_a_gap_that_a_source_reports_is_no_loss(observer: Observer) -> None:
    observer.see(record(encode_input(Gap("row-a", Identity("s", 1, 1), "spool-full", 3, 9, 120), 3)))
    summary = summarize(observer, cost())
    assert summary["lost"] == 0
    assert [(gap["reason"], gap["readings"]) for gap in summary["gaps"]] == [("spool-full", 120)]


def test_a_command_said_twice_is_one_command_and_keeps_its_first_time(observer: Observer) -> None:
    observer.see(record(encode_output(command(), 3), at_ms=40))
    observer.see(record(encode_output(command(), 3), at_ms=9000))
    receipt = Receipt("row-a", Identity("actuators", 1, 1), "c1", "x", "done", 500.0, 500.0, 55_000_000, "")
    observer.see(record(encode_input(receipt, 3)))
    summary = summarize(observer, cost())
    assert [one["status"] for one in summary["commands"]] == ["done"]
    assert summary["latency_ms"]["sample_to_command"]["p50"] == 40.0
    assert summary["latency_ms"]["sample_to_receipt"]["p50"] == 55.0
    assert summary["broken_ids"] == 0


@pytest.mark.parametrize("receipt_first", [False, True])
def test_a_receipt_finds_its_command_whichever_is_read_first(observer: Observer, receipt_first: bool) -> None:
    receipt = Receipt("row-a", Identity("actuators", 1, 1), "c1", "x", "done", 500.0, 500.0, 55_000_000, "")
    records = [record(encode_output(command(), 3), at_ms=40), record(encode_input(receipt, 3))]
    for one in reversed(records) if receipt_first else records:
        observer.see(one)
    assert [one["status"] for one in summarize(observer, cost())["commands"]] == ["done"]


def test_the_same_id_with_other_bytes_is_a_broken_invariant(observer: Observer) -> None:
    observer.see(record(encode_output(command(cause_ns=1), 3)))
    observer.see(record(encode_output(command(cause_ns=2), 3)))
    assert summarize(observer, cost())["broken_ids"] == 1


def test_what_is_suppressed_is_annunciated_when_nothing_explains_it_any_more(observer: Observer) -> None:
    heard = alarm()
    quiet = replace(
        heard, id="b1", raised_id="b1", asset="R02", state="suppressed", suppressed_by="row-a:x:CDU-A"
    )
    for one in (heard, quiet, replace(quiet, id="b2", unknown_ns=9)):
        observer.see(record(encode_output(one, 3)))
    assert (summarize(observer, cost())["annunciated"], len(summarize(observer, cost())["alarms"])) == (1, 2)
    assert [one["annunciated"] for one in summarize(observer, cost())["alarms"]] == [True, False]
    observer.see(record(encode_output(replace(quiet, id="b3", state="unacknowledged", suppressed_by=""), 3)))
    assert summarize(observer, cost())["annunciated"] == 2


def test_the_alarms_that_were_heard_are_not_lost_among_those_that_they_explain(observer: Observer) -> None:
    for n in range(20):
        quiet = replace(
            alarm(),
            id=f"q{n}",
            raised_id=f"q{n}",
            asset=f"R{n:02}",
            raised_ns=n,
            state="suppressed",
            message="quiet",
        )
        observer.see(record(encode_output(quiet, 3)))
    heard = replace(alarm(), id="b1", raised_id="b1", asset="P1", raised_ns=99, message="the cause")
    observer.see(record(encode_output(heard, 3)))
    listed = [line for line in in_words(summarize(observer, cost())).splitlines() if line.startswith("  ")]
    assert ("the cause" in listed[0], len(listed)) == (True, 13)


def test_an_alarm_is_one_line_from_its_raise_to_its_clearing(observer: Observer) -> None:
    observer.see(record(encode_output(alarm(), 3)))
    assert [one.rule for one in observer.active] == ["rack-flow-low"]
    observer.see(record(encode_output(alarm(cleared_ns=99), 3)))
    assert observer.active == []
    (line,) = summarize(observer, cost())["alarms"]
    assert (line["id"], line["cleared_at"][-4:]) == ("a1", "099Z")
    assert (line["message"], line["cleared_message"]) == ("no flow", "flow is back")


def test_garbage_is_left_to_the_worker(observer: Observer) -> None:
    for topic in ("events", "alarms", "status"):
        observer.see(Record(topic, 0, 0, 0, b"\xff", b"{", (("schema", b"tick/1"),)))
    observer.see(Record("dead-letters", 0, 0, 0, None, b"{", (("dead-letter-reason", b"bad-json"),)))
    summary = summarize(observer, cost())
    assert summary["dead_letters"] == 1
    assert summary["unreadable"] == {"alarms": 1, "status": 1}
    assert "alarms 1, status 1" in in_words(summary)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[1]",
        b'"x"',
        b"{}",
        orjson.dumps(WHO | {"role": 1}),
        orjson.dumps(WHO | {"metrics": 3}),
        b'{"role": "worker"}',
    ],
)
def test_a_status_that_is_none_never_ends_the_watching(observer: Observer, value: bytes) -> None:
    observer.see(Record("status", 0, 0, 0, b"worker", value, ()))
    assert observer.status == {}
    assert observer.unreadable == {"status": 1}


def test_the_view_shows_racks_alarms_and_commands(observer: Observer) -> None:
    points = ("R02.RackLiquidFlow", "R02.RackPower")
    one = np.array([5, 5])
    readings = Readings(
        "row-a", Identity("plant-opcua", 1, 1), 5, points, one, one, np.array([31.5, 98.0]),
        np.zeros(2, np.uint8), np.zeros(2, np.uint32),
    )  # fmt: skip
    for message in (
        encode_input(readings, 3),
        encode_input(frame(1, 71.0), 3),
        encode_output(alarm(), 3),
        encode_output(command(), 3),
        encode_output(Entry("e1", "row-a", "gap", 5, {}), 3),
    ):
        observer.see(record(message))
    shown = picture(observer, 160)
    for text in (
        "R02",
        "31.5 L/min",
        "71.0 °C",
        "rack-flow-low",
        "no flow",
        "R02-T01-G1.power_limit",
        "500 W",
    ):
        assert text in shown


def test_a_head_of_the_journal_is_no_garbage(observer: Observer) -> None:
    observer.see(record(head_message(Head("row-a", 1, "ab" * 32, 7), 3)))
    assert not observer.unreadable


def test_percentiles_of_nothing_are_nothing() -> None:
    assert percentiles_ms([]) == {"p50": None, "p99": None, "count": 0}


def test_the_summary_in_words_names_what_was_lost(observer: Observer) -> None:
    observer.see(record(encode_input(frame(4, 50.0), 3)))
    assert "lost 3" in in_words(summarize(observer, cost()))


def status(role: str, state: str) -> Record:
    return Record("status", 0, 0, 1, b"", orjson.dumps(WHO | {"role": role, "state": state}), ())


def test_a_role_that_failed_and_never_came_up_and_a_run_without_readings_are_named(
    observer: Observer,
) -> None:
    observer.see(status("worker", "ready"))
    observer.see(status("plant", "starting"))
    exits = {"worker": [1, -15], "plant": [3, 3, -15], "ticker": [-9]}
    assert never_came(observer, exits, is_over=False) == "plant never came up"
    observer.see(status("plant", "ready"))
    assert never_came(observer, exits, is_over=True) == "no reading came in"
    assert never_came(observer, exits, is_over=False) == ""
    observer.see(record(encode_input(frame(1, 50.0), 3)))
    assert never_came(observer, exits, is_over=True) == ""


def picture(observer: Observer, width: int) -> str:
    console = Console(width=width, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(render(observer, Resources(), 3.0, 1000.0, 0))
    return capture.get()


def test_a_narrow_view_cuts_no_value(observer: Observer) -> None:
    points = [f"R02.{name}" for name in ("RackLiquidFlow", "RackLiquidSupplyTemperature", "RackPower")]
    times = np.full(3, 5)
    readings = Readings(
        "row-a", Identity("plant-opcua", 1, 1), 5, tuple(points), times, times,
        np.array([131.5, 122.25, 1143.75]), np.zeros(3, np.uint8), np.zeros(3, np.uint32),
    )  # fmt: skip
    for message in (
        encode_input(frame(1, 71.0), 3),
        encode_input(readings, 3),
        encode_output(alarm(), 3),
        encode_output(command(), 3),
    ):
        observer.see(record(message))
    assert "…" not in picture(observer, 60)


def test_in_the_view_what_people_say_is_text(observer: Observer) -> None:
    said = replace(alarm(), message="pressure [bar]\x1b[2J is low", by="eva", comment="seen [/] by phone")
    observer.see(record(encode_output(said, 3)))
    observer.see(record(encode_output(replace(command(), reason="[/red] \x9b2J"), 3)))
    shown = picture(observer, 300)
    assert r"pressure [bar]\x1b[2J is low (eva: seen [/] by phone)" in shown
    assert r"[/red] \x9b2J" in shown


BEGAN_NS = 1000


@pytest.fixture
def second(observer: Observer) -> Observer:
    """Of a run on a log on which each partition has ten records of another run."""
    places = (
        TopicPartition(topic, n) for topic in ("events", "alarms", "commands", "status") for n in range(3)
    )
    observer.begin(dict.fromkeys(places, 10), BEGAN_NS)
    return observer


def before(message: Message) -> Record:
    return record(message, at_ms=1, offset=9)


def own(message: Message, at_ms: int = 1000) -> Record:
    return record(message, at_ms, offset=10)


def counted(worker: str, late: int) -> Message:
    said = WHO | {"role": worker, "metrics": {"engine": {"row-a": {"late": late}}}}
    return Message("status", 0, worker.encode(), orjson.dumps(said))


def test_readings_of_before_the_run_are_not_its_own(second: Observer) -> None:
    for sequence in (1, 2, 5):
        second.see(before(encode_input(frame(sequence, 50.0), 3)))
    assert never_came(second, {}, is_over=True) == "no reading came in"
    second.see(own(encode_input(frame(1, 50.0, BEGAN_NS), 3)))
    summary = summarize(second, cost())
    assert (summary["frames"], summary["readings"], summary["lost"]) == (1, 72, 0)


@pytest.mark.parametrize(("epoch", "lost"), [(BEGAN_NS - 1, 1), (BEGAN_NS, 4)])
def test_a_source_that_was_there_before_the_run_begins_anywhere(
    second: Observer, epoch: int, lost: int
) -> None:
    for sequence in (4, 6):
        second.see(own(encode_input(frame(sequence, 50.0, epoch), 3)))
    assert summarize(second, cost())["lost"] == lost


def test_an_alarm_that_stood_before_the_run_is_known_and_not_counted(second: Observer) -> None:
    over = replace(alarm(), id="o1", raised_id="o1", asset="R03")
    for one in (over, alarm(), replace(over, id="o2", cleared_ns=8, state="normal")):
        second.see(before(encode_output(one, 3)))
    second.see(own(encode_output(alarm(), 3)))  # a worker that begins with an older snapshot says it again
    assert [one.raised_id for one in second.active] == ["a1"]
    summary = summarize(second, cost())
    assert (summary["alarms"], summary["annunciated"], summary["broken_ids"]) == ([], 0, 0)
    second.see(own(encode_output(alarm(cleared_ns=99), 3)))
    assert second.active == []
    (line,) = summarize(second, cost())["alarms"]
    assert (line["message"], line["cleared_message"], line["annunciated"]) == (
        "no flow",
        "flow is back",
        False,
    )


def test_an_alarm_of_before_the_run_that_is_heard_in_it_is_annunciated(second: Observer) -> None:
    quiet = replace(alarm(), state="suppressed", suppressed_by="row-a:x:CDU-A")
    second.see(before(encode_output(quiet, 3)))
    second.see(own(encode_output(replace(alarm(), id="a2"), 3)))
    assert summarize(second, cost())["annunciated"] == 1


def test_commands_of_before_the_run_have_no_latency_in_it(second: Observer) -> None:
    second.see(before(encode_output(command(), 3)))
    second.see(own(encode_output(command(), 3), at_ms=9000))
    summary = summarize(second, cost())
    assert (summary["commands"], summary["latency_ms"]["sample_to_command"]["count"]) == ([], 0)
    second.see(own(encode_output(command(cause_ns=2), 3)))
    assert summarize(second, cost())["broken_ids"] == 1


def test_counts_of_engines_begin_with_the_run(second: Observer) -> None:
    """They are the unit's, and go on after a restart."""
    second.see(before(counted("worker", 100)))
    assert not second.came_up
    assert summarize(second, cost())["late"] == 0
    second.see(own(counted("worker", 130)))
    assert summarize(second, cost())["late"] == 30
    second.see(own(counted("worker", 5)))
    assert summarize(second, cost())["late"] == 5, "its state was lost: it has begun again"


def test_garbage_of_before_the_run_is_passed_over(second: Observer) -> None:
    for topic in ("alarms", "commands", "status", "journal", "dead-letters"):
        second.see(Record(topic, 0, 9, 0, b"\xff", b"{", (("schema", b"tick/1"),)))
    for metrics in (5, {"engine": 5}):
        body = orjson.dumps(WHO | {"metrics": metrics})
        second.see(before(Message("status", 0, b"worker", body)))
    assert second.unreadable == {"journal": 1}, "that one lies behind the beginning"
