"""A part of a recording, begun at its snapshots, says what the whole says from there on."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateways.cli.main import run_app
from gateways.cli.replay_pace import Pace
from streams.record import Record
from streams.recording.recording import Recording
from streams.recording.segments import open_recordings, segments_in
from streams.recording.ticks import first_tick_ns
from streams.replay.replay import replay
from streams.replay.replayed import Replay
from streams.replay.rules import choose_site
from streams.replay.start import WHOLE, Part, alarm_span
from streams.topics import SNAPSHOTS
from tests.streams.replay.snapshot_runs import RULES, SECONDS, T0, Run, S
from tests.support.small_sites import RACKS


@pytest.fixture(params=[1, 2], ids=["one partition", "two partitions"])
def made(tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    folder = tmp_path / "site"
    (folder / "rules").mkdir(parents=True)
    (folder / "site.yaml").write_text(RACKS)
    (folder / "rules" / "racks.yaml").write_text(RULES)
    run = Run(folder, request.param)
    run.run()
    return run


Outputs = dict[tuple[str, str], dict[str, bytes]]
"""By (topic, unit), by id, in their order."""


def outputs_of(recordings: list[Recording], part: Part) -> tuple[Replay, Outputs]:
    said: Outputs = {}

    def hear(topic: str, unit: str, id_: str, value: bytes) -> None:
        said.setdefault((topic, unit), {})[id_] = value

    return replay(recordings, choose_site(recordings[0], None, None), True, part, hear=hear), said


def part_and_outputs(
    recording: Recording | list[Recording], second: float, **options: object
) -> tuple[Replay, Outputs]:
    part = Part(T0 + int(second * S), **options)  # type: ignore[arg-type]
    return outputs_of(recording if isinstance(recording, list) else [recording], part)


def part_of(recording: Recording | list[Recording], second: float, **options: object) -> Replay:
    return part_and_outputs(recording, second, **options)[0]


def ids(outputs: Outputs, unit: str) -> set[str]:
    return {id_ for (_, of), said in outputs.items() if of == unit for id_ in said}


def said_before(made: Run, recording: Recording, second: int) -> int:
    """How many outputs of `row` its state had said with which that second begins."""
    now_ns = part_of(recording, second).begins["row"].now_ns
    return next(said for unit, at_ns, said in made.snapshots if (unit, at_ns) == ("row", now_ns))


def test_from_every_second_on_it_says_what_the_whole_says(made: Run, tmp_path: Path) -> None:
    recording = made.write(tmp_path / "run.mcap")
    whole, whole_said = outputs_of([recording], WHOLE)
    assert whole.verification is not None
    assert whole.verification.differences == 0
    assert len(made.said["row"]) > 60
    begun_at_the_beginning = 0
    for second in range(1, SECONDS, 2):
        part, said = part_and_outputs(recording, second)
        assert part.verification is not None
        assert part.verification.differences == 0, part.verification.first
        if not part.begins:
            begun_at_the_beginning += 1
            assert said == whole_said
            continue
        for unit, begin in part.begins.items():
            # the newest snapshot may lie behind the place in the file at which one looks
            own = {now_ns: said for of, now_ns, said in made.snapshots if of == unit}
            assert begin.now_ns in [now_ns for now_ns in own if now_ns <= T0 + second * S][-2:]
            assert ids(said, unit) == {output.id for output in made.said[unit][own[begin.now_ns] :]}
        for key, outputs in said.items():
            assert list(outputs.items()) == list(whole_said[key].items())[-len(outputs) :]
    assert begun_at_the_beginning < 8


@pytest.mark.parametrize("rolls_at", [-1, 47])
@pytest.mark.parametrize("in_one_file", [False, True])
def test_from_every_second_of_a_folder_it_says_what_the_whole_says(
    made: Run, tmp_path: Path, rolls_at: int, in_one_file: bool
) -> None:
    run = Run(made.site_dir, made.partitions, rolls_at=rolls_at)
    run.run()
    recordings = [run.write(tmp_path / "run.mcap")] if in_one_file else run.write_segments(tmp_path / "kept")
    assert in_one_file or len(recordings) > 8
    _, whole = part_and_outputs(recordings, -1)
    everything = {output.id for said in run.said.values() for output in said}
    assert everything == ids(whole, "site") | ids(whole, "row")
    begun_at_the_beginning = 0
    for second in range(1, SECONDS, 2):
        part, outputs = part_and_outputs(recordings, second)
        assert part.verification is not None
        assert part.verification.differences == 0, part.verification.first
        if not part.begins:
            begun_at_the_beginning += 1
        for unit, begin in part.begins.items():
            own = {now_ns: said for of, now_ns, said in run.snapshots if of == unit}
            # the newest snapshot may lie behind the place in the log at which one looks
            assert begin.now_ns in [now_ns for now_ns in own if now_ns <= T0 + second * S][-3:]
            assert ids(outputs, unit) == {output.id for output in run.said[unit][own[begin.now_ns] :]}
    assert begun_at_the_beginning < 8


@pytest.mark.parametrize("in_one_file", [True, False])
@pytest.mark.parametrize("rolls_at", [-1, 47])
@pytest.mark.parametrize(("from_s", "to_s"), [(30, 60), (50, 80), (66, None)])
def test_a_cut_begins_at_its_snapshots_and_says_what_the_whole_says(
    made: Run, tmp_path: Path, in_one_file: bool, rolls_at: int, from_s: int, to_s: int | None
) -> None:
    run = Run(made.site_dir, made.partitions, rolls_at=rolls_at)
    run.run()
    recordings = [run.write(tmp_path / "run.mcap")] if in_one_file else run.write_segments(tmp_path / "kept")
    source = recordings[0].path if in_one_file else tmp_path / "kept"
    until = [] if to_s is None else ["--to", str(to_s)]
    path = tmp_path / "cut.mcap"
    options = ["--from", str(from_s), *until, "-o", str(path)]
    assert run_app(["recording", "cut", str(source), *options]) == 0
    cut, said = outputs_of([Recording(path)], WHOLE)
    whole, whole_said = part_and_outputs(recordings, from_s, to_ns=None if to_s is None else T0 + to_s * S)
    assert cut.verification is not None
    assert whole.verification is not None
    assert (cut.verification.differences, cut.missing, cut.damage) == (0, {}, [])
    assert cut.part.from_ns == T0 + from_s * S
    assert set(cut.begins) == {"row", "site"}
    assert cut.alarms == whole.alarms
    assert len(cut.alarms) > 2
    assert cut.verification.compared > 20
    for key, outputs in said.items():
        # either may begin at an older snapshot than the other
        both = min(len(outputs), len(whole_said[key]))
        assert list(outputs.items())[-both:] == list(whole_said[key].items())[-both:]


def test_what_lies_before_the_snapshots_or_behind_the_end_is_not_read(made: Run, tmp_path: Path) -> None:
    made.write_segments(tmp_path / "kept")
    files = segments_in(tmp_path / "kept")
    for file in [*files[:3], *files[-2:]]:
        # nothing but heads and index can be read there
        whole, recording = file.read_bytes(), Recording(file)
        raw = bytearray(whole)
        for entry in recording.index.chunks[1:]:
            raw[entry.at + 60 : entry.at + 70] = bytes(10)
        file.write_bytes(raw)
    part = part_of([Recording(file) for file in files], 50, to_ns=T0 + 60 * S)
    assert part.damage == []
    assert len(part.begins) == 2
    assert part.verification is not None
    assert (part.verification.differences, part.verification.not_compared) == (0, 0)
    assert part.verification.compared > 10


@pytest.mark.parametrize("number", range(1, 10))
def test_a_part_is_sought_across_segments_that_can_not_be_read(
    made: Run, tmp_path: Path, number: int
) -> None:
    """Its rule sets may have been in any of them, so each is named; the first has those of this run."""
    files = [one.path for one in made.write_segments(tmp_path / "kept", size=len(made.log) // 10 + 1)]
    undamaged = part_of([Recording(file) for file in files], 50, to_ns=T0 + 60 * S)
    files[number].write_bytes(b"")
    part = part_of(open_recordings([tmp_path / "kept"]), 50, to_ns=T0 + 60 * S)
    assert len(part.begins) == 2
    assert len(part.damage) == 1
    assert part.verification is not None
    assert part.verification.differences == 0
    first, last = undamaged.files
    if number < first or number > last:
        assert (part.verification, part.missing) == (undamaged.verification, {})
    elif number < last:
        assert part.missing


@pytest.mark.parametrize("lacks", [100, 2000, 6000])
def test_a_segment_that_is_still_written_is_sought_too(made: Run, tmp_path: Path, lacks: int) -> None:
    recordings = made.write_segments(tmp_path / "kept", size=len(made.log) // 3 + 1)
    begin_s = 76
    closed = part_of(recordings, begin_s)
    path = recordings[-1].path
    path.write_bytes(path.read_bytes()[:-lacks])
    part = part_of([recordings[0], Recording(path)], begin_s)
    assert all(one.now_ns > T0 + 62 * S for one in closed.begins.values())
    assert {unit: one.now_ns for unit, one in part.begins.items()} == {
        unit: one.now_ns for unit, one in closed.begins.items()
    }
    assert part.verification is not None
    assert part.verification.differences == 0


def test_a_snapshot_in_the_file_before_its_inputs_and_far_behind_them(made: Run, tmp_path: Path) -> None:
    """A recorder reads topic by topic, so that their order in the file says nothing."""
    snapshots = [record for record in made.log if record.topic == SNAPSHOTS.name]
    others = [record for record in made.log if record.topic != SNAPSHOTS.name]
    for name, records in (("ahead", snapshots + others), ("behind", others + snapshots)):
        recording = made.write(tmp_path / f"{name}.mcap", records)
        part = part_of(recording, 60)
        assert part.verification is not None
        assert part.verification.differences == 0
        assert (len(part.begins) == 2) == (name == "ahead")


def test_what_differs_behind_the_snapshot_is_found_and_what_differs_before_it_is_not_looked_at(
    made: Run, tmp_path: Path
) -> None:
    began = said_before(made, made.write(tmp_path / "as-it-was.mcap"), 50)
    for number, differs in ((began - 1, 0), (began, 1)):
        id_ = made.said["row"][number].id
        changed = [
            replace(record, value=(record.value or b"").replace(b'"unit":"row"', b'"unit":"row" '))
            if record.topic in {"alarms", "journal", "commands"}
            and orjson.loads(record.value or b"")["id"] == id_
            else record
            for record in made.log
        ]
        found = part_of(made.write(tmp_path / f"{number}.mcap", changed), 50).verification
        assert found is not None
        assert found.differences == differs


def test_an_output_that_is_missing_behind_the_snapshot_is_found(made: Run, tmp_path: Path) -> None:
    began = said_before(made, made.write(tmp_path / "as-it-was.mcap"), 50)
    forged = made.said["row"][began]
    index = next(
        i for i, r in enumerate(made.log) if forged.id.encode() in (r.value or b"") and r.topic != "events"
    )
    value = (made.log[index].value or b"").replace(forged.id.encode(), forged.id.encode() + b"7")
    records = [*made.log[:index], replace(made.log[index], value=value), *made.log[index:]]
    found = part_of(made.write(tmp_path / "run.mcap", records), 50).verification
    assert found is not None
    assert found.differences == 1


def test_a_part_ends_where_it_should_and_reads_no_further(made: Run, tmp_path: Path) -> None:
    recording = made.write(tmp_path / "run.mcap")
    part = part_of(recording, 30, to_ns=T0 + 50 * S)
    assert part.verification is not None
    assert part.verification.differences == 0
    assert part.verification.compared > 10
    assert part.now_ns == T0 + 50 * S
    assert all(alarm.raised_ns <= T0 + 51 * S for alarm in part.alarms.values())


def test_one_unit_alone_says_the_same(made: Run, tmp_path: Path) -> None:
    recording = made.write(tmp_path / "run.mcap")
    _, both = part_and_outputs(recording, 50)
    one, alone = part_and_outputs(recording, 50, units=["site"])
    assert one.verification is not None
    assert one.verification.differences == 0
    assert {unit for _, unit in alone} == {"site"}
    assert ids(alone, "site") == ids(both, "site")


def test_without_snapshots_or_with_damage_and_no_index_it_begins_at_the_beginning(
    made: Run, tmp_path: Path
) -> None:
    bare = made.write(tmp_path / "bare.mcap", [one for one in made.log if one.topic != SNAPSHOTS.name])
    made.write(tmp_path / "run.mcap")
    raw = bytearray((tmp_path / "run.mcap").read_bytes()[:-200])
    at = raw.rindex(b"\x07", 0, len(raw) // 2)
    raw[at : at + 40] = b""
    (tmp_path / "cut.mcap").write_bytes(raw)
    for recording in (bare, Recording(tmp_path / "cut.mcap")):
        part = part_of(recording, 50)
        assert not part.begins
        assert part.verification is not None
        assert part.verification.differences == 0
        assert all(
            alarm.cleared_ns is None or alarm.cleared_ns >= T0 + 50 * S for alarm in part.alarms.values()
        )


def test_a_snapshot_of_another_log_or_beyond_this_one_is_not_used(made: Run, tmp_path: Path) -> None:
    def forge(record: Record, name: str, value: object) -> Record:
        if record.topic != SNAPSHOTS.name or not (record.key or b"").endswith(b":manifest"):
            return record
        manifest = orjson.loads(record.value or b"") | {name: value}
        return replace(record, value=orjson.dumps(manifest))

    for name, value in (("log_id", "another"), ("next_offset", 10**6)):
        records = [forge(record, name, value) for record in made.log]
        part = part_of(made.write(tmp_path / f"{name}.mcap", records), 50)
        assert not part.begins
        assert part.verification is not None
        assert part.verification.differences == 0


def test_an_alarm_is_found_by_its_id(made: Run, tmp_path: Path) -> None:
    recording = made.write(tmp_path / "run.mcap")
    whole = replay([recording], choose_site(recording, None, None), False)
    alarm = list(whole.alarms.values())[-1]
    assert alarm_span([recording], alarm.raised_id) == (alarm.raised_ns, alarm.cleared_ns)
    assert alarm_span([recording], alarm.id) == (alarm.raised_ns, alarm.cleared_ns)
    assert alarm_span([recording], "row:nobody:R1:1:0") is None
    assert first_tick_ns(recording) == T0


def test_the_command_says_which_part_and_from_where(
    made: Run, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    recording = made.write(tmp_path / "run.mcap")

    def run(*options: str) -> tuple[int, dict[str, Any]]:
        code = run_app(["replay", str(recording.path), "--json", *options])
        return code, orjson.loads(capfdbinary.readouterr().out or b"{}")

    _, whole = run()
    code, by_time = run("--from", "2026-01-01T00:00:50Z", "--to", "70", "--unit", "row")
    assert code == 0
    assert by_time["part"]["from"] == "2026-01-01T00:00:50.000000000Z"
    assert by_time["part"]["to"] == "2026-01-01T00:01:10.000000000Z"
    assert by_time["part"]["units"] == ["row"]
    assert "2026-01-01T00:00:38" < by_time["part"]["snapshots"]["row"] <= "2026-01-01T00:00:50"
    assert by_time["verification"]["differences"] == 0
    assert 0 < by_time["readings"] < whole["readings"] / 2
    assert run("--from", "2026-01-01T00:00:50", "--to", "1.16666666666667min", "--unit", "row")[1] == by_time
    alarm = whole["alarms"][-1]
    code, by_alarm = run("--from", alarm["id"])
    assert code == 0
    assert alarm in by_alarm["alarms"]
    assert "2026-01-01T00:01" < by_alarm["part"]["from"] < alarm["raised_at"]
    for options in (
        ["--from", "yesterday"],
        ["--from", "50", "--to", "40"],
        ["--unit", "rows"],
        ["--from", "1000"],
        ["--to", "2020-01-01T00:00:00Z"],
    ):
        assert run(*options)[0] == 2


def test_an_interrupted_replay_is_one_of_a_shorter_recording(
    made: Run, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    class InterruptedAt(Pace):
        def __call__(self, event_ns: int) -> bool:
            if event_ns == T0 + 60 * S:
                signal.raise_signal(signal.SIGINT)
            return super().__call__(event_ns)

    recording = made.write(tmp_path / "run.mcap")
    monkeypatch.setattr("gateways.cli.replay_pace.Pace", InterruptedAt)
    code = run_app(["replay", str(recording.path), "--json"])
    said = orjson.loads(capfdbinary.readouterr().out)
    assert (code, said["partial"]) == (130, True)
    assert said["verification"]["differences"] == 0
    assert said["verification"]["compared"] > 50
    assert said["to"] < "2026-01-01T00:01:00"
    _, whole = part_and_outputs(recording, -1)
    shorter, outputs = part_and_outputs(recording, -1, to_ns=T0 + 59 * S)
    assert [alarm["id"] for alarm in said["alarms"]] == [
        alarm.raised_id for alarm in sorted(shorter.alarms.values(), key=lambda one: (one.raised_ns, one.key))
    ]
    assert len(whole["alarms", "row"]) > len(outputs["alarms", "row"])


def test_a_pace_changes_no_answer(
    made: Run, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    recording = made.write(tmp_path / "run.mcap")
    answers = []
    for speed in ("max", "1000"):
        assert run_app(["replay", str(recording.path), "--json", "--speed", speed]) == 0
        answers.append(capfdbinary.readouterr().out)
    assert answers[0] == answers[1]
