"""The first divergence is shown with its cause in the log, the field, both values and the samples before it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import orjson
import pytest

from gateways.cli.main import run_app
from rules.engine.engine import Engine
from rules.engine.inputs import Frame, Identity, Input, Tick
from rules.engine.outputs import Alarm
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from streams.record import Record
from streams.recording.recording import Recording, RecordingWriter
from streams.replay.divergence import explain
from streams.replay.verification import Divergence
from streams.wire import decode_input, encode_input, encode_output
from tests.streams.replay.conftest import T0, Replayed, S
from tests.streams.replay.test_replay import change, write


def test_a_value_that_differs_of_a_deadline(made: tuple[Path, list[Record]], replayed: Replayed) -> None:
    _, records = made
    id_ = change(records, "alarms", 0, lambda envelope: envelope["body"].update(value=99.0))  # type: ignore[attr-defined]
    code, said = replayed(records)
    first = said["verification"]["first"]
    assert (code, first["id"]) == (1, id_)
    assert first["fields"] == [{"name": "value", "recorded": 99.0, "replayed": 30.0}]
    place = first["cause"]["partition"], first["cause"]["offset"]
    cause = next(r for r in records if r.topic == "events" and (r.partition, r.offset) == place)
    tick = decode_input(cause.key, cause.headers, cause.value)
    assert isinstance(tick, Tick)
    assert (tick.unit, tick.time_ns) == ("row-a", T0 + 13 * S)
    assert first["cause"]["at"] == "2026-01-01T00:00:13.000000000Z"
    assert [one["values"] for one in first["samples"]] == [
        {"P-1.PumpSpeed": speed} for speed in (80.0, 80.0, 30.0, 30.0, 30.0)
    ]
    assert first["samples"][-1]["at"] == "2026-01-01T00:00:12.000001000Z"


def test_a_word_that_was_not_said_again_has_its_cause_too(
    made: tuple[Path, list[Record]], replayed: Replayed
) -> None:
    _, records = made
    index = next(index for index, record in enumerate(records) if record.topic == "journal")
    id_ = orjson.loads(records[index].value or b"")["id"]
    del records[index]
    _, said = replayed(records)
    first = said["verification"]["first"]
    assert (first["id"], first["recorded"], first["fields"]) == (id_, "", [])
    assert first["cause"] is not None


def test_people_read_the_same(
    tmp_path: Path, made: tuple[Path, list[Record]], capsys: pytest.CaptureFixture[str]
) -> None:
    site_dir, records = made
    change(records, "alarms", 0, lambda envelope: envelope["body"].update(value=99.0))  # type: ignore[attr-defined]
    assert run_app(["replay", str(write(tmp_path / "run.mcap", site_dir, records))]) == 1
    said = capsys.readouterr().out
    assert "value: recorded 99.0, replayed 30.0" in said
    assert "2026-01-01T00:00:12.000001000Z  P-1.PumpSpeed 30" in said
    assert "of partition" in said


def test_of_a_gpu_its_own_samples_are_shown(tmp_path: Path) -> None:
    from gateways.bench.kernel_load import QUIET
    from gateways.bench.kernel_parts import program_of
    from streams.site_folder import load_site

    site = load_site(Path(__file__).parents[3] / "examples" / "narvik")
    rules = "rules:\n  hot: {for: GPU, when: temperature > 80 degC, severity: low, message: '{asset}'}\n"
    engine = Engine(program_of(rules, site), site, "row-a")
    records: list[Record] = []
    alarm: Alarm | None = None
    for second in range(8):
        time_ns = T0 + second * S
        values = np.tile(np.array(QUIET, np.float32), (1, 72, 1))
        values[0, 5, FIELD_INDEX["temperature"]] = 70 + 2 * second
        values[0, 5, FIELD_INDEX["xid"]] = np.nan
        frame = Frame(
            "row-a", Identity("plant-frames", 1, second + 1), time_ns, "R02", np.array([time_ns]),
            np.arange(72, dtype=np.uint16), values, np.zeros((1, 72), np.uint8), np.zeros((1, 72), np.int64),
        )  # fmt: skip
        inputs: list[Input] = [Tick("row-a", Identity("ticker", 0, time_ns // site.tick_ns), time_ns), frame]
        for value in inputs:
            message = encode_input(value, 1)
            records.append(Record("events", 0, len(records), 1, message.key, message.value, message.headers))
            alarm = next((one for one in engine.step([value]) if isinstance(one, Alarm)), alarm)
    assert alarm is not None
    with RecordingWriter(tmp_path / "run.mcap") as writer:
        for record in records:
            writer.write(record, 1)
    text = (encode_output(alarm, 1).value or b"").decode()
    found = explain(
        [Recording(tmp_path / "run.mcap")], site.units, Divergence("alarms", "row-a", alarm.id, text, "")
    )
    assert alarm.asset == engine.unit.gpus[engine.unit.gpu_range["R02"][0] + 5]
    assert (found.offset, found.time_ns) == (13, T0 + 6 * S)
    assert [one.values["temperature"] for one in found.samples] == [74.0, 76.0, 78.0, 80.0, 82.0]
    assert len(found.samples[0].values) == FIELD_COUNT - 1
    assert json.dumps(found.samples[0].values)
