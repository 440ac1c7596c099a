"""A scenario's signal from a recording: what the log held, in the scenario's time, and every way to ask wrongly."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

import numpy as np
import pytest

from gateways.sim.event_time import START_NS, EventTimePlant
from gateways.sim.faults import parse_fault
from rules.engine.inputs import Identity, Readings
from rules.findings import Finding
from rules.quality import Quality
from streams.record import Record
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.recording import RecordingWriter
from streams.rule_sets.rule_set import rule_set_of
from streams.scenarios.load import load_scenarios
from streams.scenarios.model import Scenario
from streams.scenarios.run import run
from streams.times import iso_utc
from streams.wire import encode_input
from tests.streams.scenarios.narvik import FOLDER, program, site, under_test

S = 1_000_000_000
PUMP_TRIP = """\
s:
  asset: R02
  for: 13 s
  signals:
    RackLiquidFlow: {{recording: {file}, point: {point}, from: "{start}", to: "{end}"}}
  expect: {{rack-flow-low: {{raised: {raised}}}, rack-flow-unknown: never}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beside the scenario's folder, 16 s of a plant whose pump trips at 8 s; readings of R03 are bad, or backfill."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "scenarios").mkdir()
    attachments = site_attachments(rule_set_of(FOLDER, site()))
    plant = EventTimePlant(site(), 1)
    plant.inject(parse_fault("pump_trip:CDU-A@8s"))
    inputs = [value for _ in range(160) for unit in plant.step().values() for value in unit]
    odd = [
        Readings(
            "row-a", Identity("odd", 1, n), START_NS, ("R03.RackLiquidFlow",), np.array([START_NS + n * S // 2]),
            np.zeros(1, np.int64), np.array([value]), np.array([quality], np.uint8), np.zeros(1, np.uint32), n == 3,
        )
        for n, (value, quality) in enumerate([(np.nan, Quality.BAD), (7.0, Quality.UNCERTAIN), (8.0, 0)], start=1)
    ]  # fmt: skip
    for name, kept in (("run.mcap", attachments), ("bare.mcap", {})):
        with RecordingWriter(
            folder / name, attachments=kept, metadata=recording_metadata(site(), kept)
        ) as file:
            for offset, value in enumerate([*odd, *inputs]):
                message = encode_input(value, 1)
                time_ms = START_NS // 1_000_000
                record = Record(
                    message.topic, 0, offset, time_ms, message.key, message.value, message.headers
                )
                file.write(record, START_NS)
    whole = (folder / "run.mcap").read_bytes()
    (folder / "cut.mcap").write_bytes(whole[: len(whole) * 2 // 3])
    return folder


def read(folder: Path, text: str) -> tuple[list[Scenario], list[Finding]]:
    file = str(folder / "scenarios" / "s.yaml")
    return load_scenarios({file: "scenarios:\n" + indent(text, "  ")}, site(), program())


def pump_trip(**keys: str) -> str:
    known = {"file": "../run.mcap", "point": "R01.RackLiquidFlow", "raised": "5500 ms"}
    times = {"start": iso_utc(START_NS + 4 * S), "end": iso_utc(START_NS + 16 * S)}
    return PUMP_TRIP.format(**known | times | keys)


def test_a_recorded_pump_trip_of_another_rack_raises_the_alarm_at_its_time(folder: Path) -> None:
    (scenario,), findings = read(folder, pump_trip())
    assert not findings
    result = run(scenario, under_test())
    assert not result.problems
    trace = result.traces["R02.RackLiquidFlow"]
    assert trace.time_ns.tolist() == [n * S for n in range(12)], "from 4 s on, to before 16 s"
    assert trace.values[3] > 150
    assert trace.values[5] < 0.7 * 158


def test_quality_and_nan_are_kept_and_backfill_is_left_out(folder: Path) -> None:
    text = pump_trip(point="R03.RackLiquidFlow", start=iso_utc(START_NS), end=iso_utc(START_NS + 2 * S))
    (scenario,), _ = read(folder, text)
    trace = scenario.scripts[0].recorded
    assert trace is not None
    assert trace.time_ns.tolist() == [S // 2, S]
    assert np.isnan(trace.values[0])
    assert trace.values[1] == 7.0, "the first of one time"
    assert trace.quality.tolist() == [Quality.BAD, Quality.UNCERTAIN]


def test_a_gpu_is_read_from_its_frames(folder: Path) -> None:
    text = f"""
s:
  asset: R01-T02-G3
  for: 5 s
  signals:
    temperature:
      recording: ../run.mcap
      point: R01-T02-G3.temperature
      from: "{iso_utc(START_NS + 2 * S)}"
      to: "{iso_utc(START_NS + 4 * S)}"
  expect: {{gpu-critical: never}}
"""
    (scenario,), findings = read(folder, text)
    assert not findings
    trace = scenario.scripts[0].recorded
    assert trace is not None
    assert trace.time_ns.tolist() == [n * S // 10 for n in range(20)]
    assert np.all((trace.values > 40) & (trace.values < 55))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"file": "nowhere.mcap"}, "6:35: error: {folder}/scenarios/nowhere.mcap: can't be read"),
        ({"file": "../bare.mcap"}, "the recording carries no site"),
        ({"file": "../cut.mcap"}, "the recording is damaged"),
        ({"point": "R01.RackLiquidFlw"}, "no signal 'R01.RackLiquidFlw' (did you mean 'R01.RackLiquidFlow'?)"),
        ({"point": "R01-T02-G3.temprature"}, "(did you mean 'R01-T02-G3.temperature'?)"),
        ({"point": "R01.RackPower"}, "RackPower is in kW, and what it is given to in L/min"),
        ({"start": "noon"}, "'noon' is no time of the form 'iso'"),
        ({"end": iso_utc(START_NS)}, "this is not after 'from'"),
        (
            {"start": iso_utc(START_NS - 9 * S), "end": iso_utc(START_NS - 1 * S)},
            "no sample of R01.RackLiquidFlow between these times (it has 16 in all)",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_place(folder: Path, keys: dict[str, str], message: str) -> None:
    scenarios, findings = read(folder, pump_trip(**keys))
    assert not scenarios
    (finding,) = findings
    assert message.format(folder=folder) in str(finding)


def test_all_four_keys_are_needed_and_no_others(folder: Path) -> None:
    _, findings = read(folder, pump_trip().replace("to:", "every:"))
    assert [finding.message for finding in findings] == ["the key 'to' is missing", "unknown key 'every'"]
