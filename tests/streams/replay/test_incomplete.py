"""Recordings that were cut off or damaged: what can't be compared is said, and what differs is still found."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from mcap.reader import make_reader

from gateways.cli.main import run_app
from streams.record import Record
from streams.recording.recording import Recording

Replayed = Callable[..., tuple[int, dict[str, Any]]]
Made = tuple[Path, list[Record]]


def cut(records: list[Record], inputs: int) -> list[Record]:
    """All outputs, but only the first `inputs` of the inputs: the recorder was behind on `events`."""
    kept = [record for record in records if record.topic == "events"][:inputs]
    return [record for record in records if record.topic != "events" or record in kept]


@pytest.mark.parametrize("inputs", [0, 20, 45, 46, 60, 85, 170, 180, 200])
def test_outputs_of_inputs_that_are_not_recorded_are_no_differences(
    made: Made, replayed: Replayed, inputs: int
) -> None:
    records = made[1]
    code, said = replayed(cut(records, inputs))
    found = said["verification"]
    assert code == 0
    assert (found["differences"], found["after_end"]) == (0, 0)
    assert found["compared"] + found["beyond_the_end"] == sum(r.topic != "events" for r in records)
    assert found["beyond_the_end"] > 0


def said_by(records: list[Record], topic: str, cause: str) -> Record:
    """A record of `topic` whose output has the id `cause:9`, which the engine never said."""
    one = next(record for record in records if record.topic == topic)
    body = orjson.loads(one.value or b"") | {"id": f"{cause}:9"}
    return dataclasses.replace(one, value=orjson.dumps(body, option=orjson.OPT_SORT_KEYS))


@pytest.mark.parametrize(
    ("cause", "after", "is_difference"),
    [
        ("row-a:plc:5:20", "row-a:pump-slow:P-1:1767225612000001000:2", True),  # a recorded input
        ("row-a:plc:5:20", "row-a:pump-slow:P-1:1767225642000001000:2", True),  # too late for its cause
        ("row-a:plc:5:26", "row-a:pump-slow:P-1:1767225612000001000:0", True),  # replayed ones follow
        ("row-a:pump-slow:P-1:1767225615000000000", "row-a:pump-slow:P-1:1767225612000001000:2", True),
        ("row-a:nonsense", "row-a:pump-slow:P-1:1767225642000001000:2", True),
        ("row-a:plc:5:26", "row-a:pump-slow:P-1:1767225612000001000:2", False),
        ("row-a:plc:6:1", "row-a:pump-slow:P-1:1767225612000001000:2", False),
        ("row-a:pump-slow:P-1:1767225625000000000", "row-a:pump-slow:P-1:1767225612000001000:2", False),
    ],
)
def test_only_a_cause_behind_the_last_input_excuses_an_output(
    made: Made, replayed: Replayed, cause: str, after: str, is_difference: bool
) -> None:
    """100 inputs: up to second 24, sequence 25. Two commands of row-a: one of second 12, one of second 42."""
    records = cut(made[1], 100)
    _, before = replayed(records)
    extra = said_by(records, "commands", cause)
    if after.endswith(":0"):
        place = next(i for i, record in enumerate(records) if record.topic == "commands")
    else:
        place = 1 + next(
            i for i, r in enumerate(records) if r.topic == "commands" and after.encode() in r.value
        )
    records.insert(place, extra)
    code, said = replayed(records)
    assert code == int(is_difference)
    assert said["verification"]["differences"] == int(is_difference)
    assert before["verification"]["differences"] == 0
    expected = before["verification"]["beyond_the_end"] + (not is_difference)
    assert said["verification"]["beyond_the_end"] == expected


def with_another_value(records: list[Record]) -> list[Record]:
    """The first command says something else."""
    index = next(i for i, record in enumerate(records) if record.topic == "commands")
    value = (records[index].value or b"").replace(b'"value":100.0', b'"value":99.0')
    return [*records[:index], dataclasses.replace(records[index], value=value), *records[index + 1 :]]


def test_a_difference_before_the_end_is_found(made: Made, replayed: Replayed) -> None:
    code, said = replayed(with_another_value(cut(made[1], 100)))
    assert (code, said["verification"]["differences"]) == (1, 1)


def test_a_damaged_chunk_ends_the_comparison_and_names_what_is_missing(
    made: Made, replayed: Replayed
) -> None:
    records = [record for record in made[1] if record.value != b"garbage"]
    code, said = replayed(records, chunk=60, damaged=2)
    lost = [record for record in records[120:180] if record.topic == "events"]
    found = said["verification"]
    assert code == 1
    assert found["differences"] == 0
    assert found["compared"] > 0
    assert found["not_compared"] == sum(record.topic != "events" for record in records[120:])
    assert said["missing"] == [
        {
            "partition": partition,
            "records": len(offsets),
            "first_offset": offsets[0],
            "last_offset": offsets[-1],
            "from": f"1970-01-01T00:00:00.{times[0]:09d}Z",
            "to": f"1970-01-01T00:00:00.{times[1]:09d}Z",
        }
        for partition in (0, 1)
        if (offsets := [record.offset for record in lost if record.partition == partition])
        and (times := times_around(records, partition))
    ]
    assert said["lost"] > 0


def times_around(records: list[Record], partition: int) -> tuple[int, int]:
    """The recorder's times of the events before and after chunk 2 (records 120 to 179): their indices."""
    places = [i for i, r in enumerate(records) if (r.topic, r.partition) == ("events", partition)]
    return max(i for i in places if i < 120), min(i for i in places if i >= 180)


def test_a_difference_before_the_damage_is_found(made: Made, replayed: Replayed) -> None:
    records = [record for record in made[1] if record.value != b"garbage"]
    code, said = replayed(with_another_value(records), chunk=60, damaged=2)
    assert (code, said["verification"]["differences"]) == (1, 1)


def test_in_words(
    made: Made, replayed: Replayed, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    replayed([record for record in made[1] if record.value != b"garbage"], chunk=60, damaged=2)
    assert run_app(["replay", str(tmp_path / "records.mcap")]) == 1
    out = " ".join(capfdbinary.readouterr().out.decode().split())
    assert "inputs are missing:" in out
    assert "nothing can be compared from there on" in out
    assert "differ" not in out
    replayed(cut(made[1], 100))
    assert run_app(["replay", str(tmp_path / "records.mcap")]) == 0
    out = " ".join(capfdbinary.readouterr().out.decode().split())
    assert "recorded outputs follow from inputs beyond the end of the recording" in out


@pytest.mark.parametrize("option", ["--verify", "--no-verify"])
def test_a_recording_that_was_cut_off_is_no_success(
    made: Made,
    replayed: Replayed,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
    option: str,
) -> None:
    replayed(made[1], chunk=60)
    path = tmp_path / "records.mcap"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run_app(["replay", str(path), "--json", option]) == 1
    said = json.loads(capfdbinary.readouterr().out)
    assert "the file ends" in said["damage"][0]
    assert said["missing"] == []
    assert (said["verification"] or {"differences": 0})["differences"] == 0


def test_what_is_missing_between_two_recordings_is_said(
    made: Made, replayed: Replayed, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    records = [record for record in made[1] if record.value != b"garbage"]
    first, second = tmp_path / "first.mcap", tmp_path / "second.mcap"
    replayed(records[:200], chunk=20)
    whole = (tmp_path / "records.mcap").read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    replayed(records[200:])
    (tmp_path / "records.mcap").rename(second)
    kept = len(list(Recording(first).records()))
    assert 0 < kept < 200
    assert run_app(["replay", str(first), str(second), "--json"]) == 1
    said = json.loads(capfdbinary.readouterr().out)
    found = said["verification"]
    assert sum(one["records"] for one in said["missing"]) == sum(
        record.topic == "events" for record in records[kept:200]
    )
    assert found["differences"] == 0
    # Of a partition that the first file never came to, nobody knows where it began.
    outputs = [record.topic != "events" for record in records]
    assert sum(outputs[200:]) < found["not_compared"] <= sum(outputs[kept:])


@pytest.mark.parametrize("lost", [0, 2, -1])
def test_what_lies_where_the_framing_is_lost_is_counted_by_the_index(
    made: Made, replayed: Replayed, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], lost: int
) -> None:
    """Bytes are deleted in a chunk: in the first, in the middle, or in the last, behind which nothing is recorded."""
    records = [record for record in made[1] if record.value != b"garbage"]
    replayed(records, chunk=60)
    path = tmp_path / "records.mcap"
    raw = path.read_bytes()
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    chunk = summary.chunk_indexes[lost]
    at = chunk.chunk_start_offset + 200
    path.write_bytes(raw[:at] + raw[at + 17 :])
    assert run_app(["replay", str(path), "--json"]) == 1
    said = json.loads(capfdbinary.readouterr().out)
    found = said["verification"]
    times = range(chunk.message_start_time, chunk.message_end_time + 1)
    gone = Counter(records[n].partition for n in times if records[n].topic == "events")
    assert {one["partition"]: one["records"] for one in said["missing"]} == gone
    assert len(said["damage"]) == 1
    assert found["differences"] == 0
    behind = records[times[0] :]
    assert found["not_compared"] == sum(record.topic != "events" for record in behind)
    assert run_app(["recording", "info", str(path), "--json"]) == 1
    info = json.loads(capfdbinary.readouterr().out)
    assert sum(info["missing"].values()) == len(times)
