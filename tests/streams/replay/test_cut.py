"""A cut is replayed from its snapshots, and says what was said while it was recorded: no more, no less."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest

from gateways.cli.main import run_app
from rules.engine.engine import Engine
from rules.engine.inputs import Readings, Tick
from streams.record import Message, Record, header
from streams.recording.recorded_site import recorded_rules, recording_metadata, site_attachments
from streams.recording.recording import Recording, RecordingWriter
from streams.rule_sets.rule_folder import load_program
from streams.rule_sets.rule_set import rule_set_of
from streams.site_folder import load_site
from streams.snapshots import LOG_KEY, Snapshot, snapshot_messages
from streams.times import iso_utc
from streams.wire import decode_input, encode_output
from tests.streams.replay.conftest import T0, S

Made = tuple[Path, list[Record]]
OUTPUTS = {"alarms", "commands", "journal"}
EVERY = 20
"""Inputs of a unit between two of its snapshots."""


def run_of_a_worker(made: Made, torn: int = -1) -> list[tuple[int, Record]]:
    """The run of `made`, with snapshots on the log; the `torn`-th of each unit lacks its first chunk."""
    site_dir, records = made
    site = load_site(site_dir)
    program = load_program(site_dir, site)
    engines = {unit: Engine(program, site, unit) for unit in site.units}
    counts = dict.fromkeys(engines, 0)
    log: list[tuple[int, Record]] = []
    ends: dict[tuple[str, int], int] = {}

    def add(message: Message, time_ns: int) -> None:
        offset = ends[message.topic, message.partition] = ends.get((message.topic, message.partition), -1) + 1
        log.append((time_ns, Record(message.topic, message.partition, offset, time_ns // 10**6, message.key,
                                    message.value, message.headers)))  # fmt: skip

    add(Message("snapshots", 0, LOG_KEY + b"one", b"one", ()), T0)
    now_ns = T0
    for record in records:
        if record.topic != "events" or record.value == b"garbage":
            continue
        value = decode_input(record.key, record.headers, record.value)
        now_ns = value.time_ns if isinstance(value, Tick) else now_ns
        add(Message("events", record.partition, record.key, record.value, record.headers), now_ns)
        for output in engines[value.unit].step([value]):
            message = encode_output(output, 2)
            add(Message(message.topic, record.partition, message.key, message.value, message.headers), now_ns)
        counts[value.unit] += 1
        number, rest = divmod(counts[value.unit], EVERY)
        if rest == 0:
            next_offset = ends["events", record.partition] + 1
            state = engines[value.unit].snapshot()
            chunks, manifest = snapshot_messages(
                Snapshot(value.unit, number, next_offset, "one", program.digest, site.digest, state), 2
            )
            for message in [*chunks[number == torn :], manifest]:
                add(message, now_ns)
    return log


def record(path: Path, site_dir: Path, log: list[tuple[int, Record]]) -> None:
    site = load_site(site_dir)
    attachments = site_attachments(rule_set_of(site_dir, site))
    with RecordingWriter(
        path, attachments=attachments, metadata=recording_metadata(site, attachments)
    ) as writer:
        for log_ns, one in log:
            writer.write(one, log_ns)


def replayed_from_its_snapshots(path: Path) -> dict[str, bytes]:
    """By id what engines say that start at the first snapshot of their unit in the recording."""
    recording = Recording(path)
    site, program = recorded_rules(recording).load()
    engines = {unit: Engine(program, site, unit) for unit in site.units}
    begin: dict[str, int] = {}
    state: dict[str, bytes] = {}
    for one in recording.records({"snapshots"}):
        key = (one.key or b"").decode()
        unit = key.partition(":")[0]
        if key.startswith("log:") or unit in begin:
            continue
        if header(one.headers, "schema") == b"snapshot/1":
            begin[unit] = orjson.loads(one.value or b"")["next_offset"]
            engines[unit].restore(state[unit])
        else:
            state[unit] = one.value or b""
    said = {}
    for one in recording.records({"events"}):
        value = decode_input(one.key, one.headers, one.value)
        if one.offset >= begin.get(value.unit, 0):
            for output in engines[value.unit].step([value]):
                said[output.id] = encode_output(output, 1).value or b""
    return said


def outputs_of(path: Path) -> dict[str, bytes]:
    return {
        orjson.loads(one.value or b"")["id"]: one.value or b"" for one in Recording(path).records(OUTPUTS)
    }


def cut(path: Path, output: Path, *options: str) -> int:
    return run_app(["recording", "cut", str(path), "-o", str(output), *options])


@pytest.mark.parametrize(("from_s", "to_s"), [(25, 60), (11, 13), (42, 43), (60, 200), (85, 89)])
def test_engines_that_start_at_the_cuts_snapshots_say_what_was_recorded(
    tmp_path: Path, made: Made, from_s: int, to_s: int
) -> None:
    whole, part = tmp_path / "whole.mcap", tmp_path / "part.mcap"
    record(whole, made[0], run_of_a_worker(made))
    assert cut(whole, part, "--from", iso_utc(T0 + from_s * S), "--to", iso_utc(T0 + to_s * S)) == 0
    assert replayed_from_its_snapshots(part) == outputs_of(part)
    assert set(outputs_of(part)) <= set(outputs_of(whole))
    ticks = [
        value.time_ns
        for one in Recording(part).records({"events"})
        if isinstance(value := decode_input(one.key, one.headers, one.value), Tick)
    ]
    assert max(ticks) == min(T0 + to_s * S, T0 + 89 * S)
    assert T0 + (from_s - EVERY) * S < min(ticks) <= T0 + from_s * S
    assert Recording(part).attachments == Recording(whole).attachments
    assert run_app(["recording", "check", str(part)]) == 0


def test_a_cut_to_the_end_has_what_samples_behind_the_last_tick_have_fired(
    tmp_path: Path, made: Made
) -> None:
    log = run_of_a_worker(made)
    deadline = next(
        number
        for number, (_, one) in enumerate(log)
        if one.topic == "alarms" and b":pump-slow:" in (one.value or b"")
    )
    last = next(one for _, one in reversed(log[:deadline]) if one.topic == "events")
    assert isinstance(decode_input(last.key, last.headers, last.value), Readings), "a sample has fired it"
    record(tmp_path / "whole.mcap", made[0], log[: deadline + 1])
    assert cut(tmp_path / "whole.mcap", tmp_path / "part.mcap") == 0
    assert outputs_of(tmp_path / "part.mcap") == outputs_of(tmp_path / "whole.mcap")


def test_two_cuts_side_by_side_hold_the_whole(tmp_path: Path, made: Made) -> None:
    paths = [tmp_path / f"{name}.mcap" for name in ("whole", "first", "second", "merged")]
    record(paths[0], made[0], run_of_a_worker(made))
    assert cut(paths[0], paths[1], "--to", iso_utc(T0 + 44 * S)) == 0
    assert cut(paths[0], paths[2], "--from", iso_utc(T0 + 44 * S + 1)) == 0
    assert run_app(["recording", "merge", *map(str, paths[1:3]), "-o", str(paths[3])]) == 0
    assert list(Recording(paths[3]).records()) == list(Recording(paths[0]).records())


def test_outputs_come_along_wherever_the_recorder_wrote_them(tmp_path: Path, made: Made) -> None:
    """A recorder that catches up reads a small topic to its end before the large one."""
    log = run_of_a_worker(made)
    early = sorted(log, key=lambda item: item[1].topic == "events")
    for name, one in (("usual", log), ("early", [(T0, record) for _, record in early])):
        record(tmp_path / f"{name}.mcap", made[0], one)
        options = ("--from", iso_utc(T0 + 30 * S), "--to", iso_utc(T0 + 50 * S))
        assert cut(tmp_path / f"{name}.mcap", tmp_path / f"{name}-cut.mcap", *options) == 0
    assert outputs_of(tmp_path / "early-cut.mcap") == outputs_of(tmp_path / "usual-cut.mcap")
    assert outputs_of(tmp_path / "usual-cut.mcap")


def test_a_torn_snapshot_is_passed_over_for_the_one_before(tmp_path: Path, made: Made) -> None:
    record(tmp_path / "a.mcap", made[0], run_of_a_worker(made, torn=3))
    assert cut(tmp_path / "a.mcap", tmp_path / "b.mcap", "--from", iso_utc(T0 + 35 * S)) == 0
    first = next(
        orjson.loads(one.value or b"")
        for one in Recording(tmp_path / "b.mcap").records({"snapshots"})
        if header(one.headers, "schema") == b"snapshot/1"
    )
    assert first["number"] == 2
    assert replayed_from_its_snapshots(tmp_path / "b.mcap") == outputs_of(tmp_path / "b.mcap")


def test_a_cut_by_alarm_ids_holds_its_life_and_a_cut_without_snapshots_says_so(
    tmp_path: Path, made: Made, capfd: pytest.CaptureFixture[str]
) -> None:
    log = [item for item in run_of_a_worker(made) if item[1].topic != "snapshots"]
    record(tmp_path / "a.mcap", made[0], log)
    alarm = next(orjson.loads(one.value or b"") for _, one in log if one.topic == "alarms")
    options = ("--from", alarm["id"], "--to", alarm["id"], "--json")
    assert cut(tmp_path / "a.mcap", tmp_path / "b.mcap", *options) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["without_snapshot"] == ["row-a", "row-b"]
    assert said["cut"] == f"{iso_utc(T0 + 2 * S + 1000)}/{iso_utc(T0 + 20 * S + 1000)}"
    assert cut(tmp_path / "a.mcap", tmp_path / "c.mcap", "--from", "row-a:nonsense") == 2
    assert cut(tmp_path / "a.mcap", tmp_path / "c.mcap", "--from", "2099-01-01T00:00Z") == 2
    assert (
        cut(tmp_path / "a.mcap", tmp_path / "c.mcap", "--from", "1999-01-01", "--to", "1999-01-01T01:00Z")
        == 2
    )
    early = ("--from", "1999-01-01T00:00Z", "--to", "1999-01-01T01:00Z")
    assert cut(tmp_path / "a.mcap", tmp_path / "c.mcap", *early) == 2
    assert cut(tmp_path / "a.mcap", tmp_path / "a.mcap") == 2
    assert not list(tmp_path.glob("c.mcap*"))


def test_a_rolled_log_is_cut_in_the_log_that_is_meant(tmp_path: Path, made: Made) -> None:
    """Its snapshots are carried over, and go on at the new log's first record."""
    log = run_of_a_worker(made)
    at = next(index for index, (log_ns, _) in enumerate(log) if log_ns >= T0 + 50 * S)
    old, new = log[:at], log[at:]
    site_dir = made[0]
    ends: dict[tuple[str, int], int] = {}
    rolled = [*old]
    site = load_site(site_dir)
    program = load_program(site_dir, site)
    engines = {unit: Engine(program, site, unit) for unit in site.units}
    last: dict[str, int] = {}
    for _, one in old:
        if one.topic == "events":
            value = decode_input(one.key, one.headers, one.value)
            engines[value.unit].step([value])
            last[value.unit] = one.offset + 1

    def add(log_ns: int, message: Message) -> None:
        offset = ends[message.topic, message.partition] = ends.get((message.topic, message.partition), -1) + 1
        rolled.append((log_ns, Record(message.topic, message.partition, offset, log_ns // 10**6, message.key,
                                      message.value, message.headers)))  # fmt: skip

    for unit, engine in engines.items():
        made_of = Snapshot(unit, 50, last[unit], "one", program.digest, site.digest, engine.snapshot())
        chunks, manifest = snapshot_messages(made_of, 2)
        for message in [*chunks, manifest]:
            add(T0 + 50 * S, message)
    for log_ns, one in new:
        if one.topic != "snapshots":
            add(log_ns, Message(one.topic, one.partition, one.key, one.value, one.headers))
    record(tmp_path / "a.mcap", site_dir, rolled)
    assert cut(tmp_path / "a.mcap", tmp_path / "b.mcap", "--from", iso_utc(T0 + 60 * S)) == 0
    part = Recording(tmp_path / "b.mcap")
    assert next(part.records({"events"})).offset == 0
    assert [one.value for one in part.records({"events"})] == [
        one.value for _, one in new if one.topic == "events"
    ]
    manifests = [r for r in part.records({"snapshots"}) if header(r.headers, "schema") == b"snapshot/1"]
    assert {orjson.loads(r.value or b"")["number"] for r in manifests} == {50}
