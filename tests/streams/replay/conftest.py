"""The records of a small run, as a worker writes them, and their replay."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateways.cli.main import run_app
from rules.engine.engine import Engine
from rules.engine.inputs import Gap, Identity, Input, Readings, Tick
from streams.record import Record
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.recording import RecordingWriter
from streams.rule_sets.rule_folder import load_program
from streams.rule_sets.rule_set import rule_set_of
from streams.site_folder import load_site
from streams.topics import partition_of
from streams.wire import encode_input, encode_output
from tests.support.small_sites import OPENING

SITE = (
    OPENING
    + """\
  row-a:
    assets: {P-1: {type: Pump, points: {PumpSpeed: {range: 0..100 %}}, actuators: {PumpSpeed: {default: 80 %}}}}
  row-b:
    assets: {P-2: {type: Pump, points: {PumpSpeed: {range: 0..100 %}}, actuators: {PumpSpeed: {default: 80 %}}}}
"""
)
RULES = """
rules:
  pump-slow:
    for: Pump
    when: PumpSpeed < 50 percent
    deadband: 5 percent
    on_delay: 2 s
    severity: high
    message: "{asset}: {value:.0f} %"
    then:
      - command: set PumpSpeed to 100 percent
"""
S = 1_000_000_000
T0 = 1_767_225_600 * S


def inputs_of(unit: str, point: str) -> list[Input]:
    """90 s: slow from second 10 to 20 and from 40 on; a gap and a repeat in between."""
    inputs: list[Input] = []
    for second in range(90):
        time_ns = T0 + second * S
        inputs.append(Tick(unit, Identity("ticker", 0, time_ns // S), time_ns))
        if second == 30:
            inputs.append(Gap(unit, Identity("plc", 5, second + 1), "disconnected", time_ns - S, time_ns, 1))
            continue
        speed = 30.0 if 10 <= second < 20 or second >= 40 else 80.0
        times = np.array([time_ns + 1000])
        zero = np.zeros(1, np.int64)
        inputs.append(
            Readings(
                unit, Identity("plc", 5, second + 1), int(times[0]), (point,), times, zero, np.array([speed]),
                zero.astype(np.uint8), zero.astype(np.uint32),
            )
        )  # fmt: skip
        if second == 50:
            inputs.append(inputs[-1])
    return inputs


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, list[Record]]:
    """A site folder and the records of a run: inputs and what the engine said to them, as a worker writes them."""
    site_dir = tmp_path / "site"
    (site_dir / "rules").mkdir(parents=True)
    (site_dir / "site.yaml").write_text(SITE)
    (site_dir / "rules" / "pumps.yaml").write_text(RULES)
    site = load_site(site_dir)
    program = load_program(site_dir, site)
    engines = {unit: Engine(program, site, unit) for unit in site.units}
    offsets: dict[tuple[str, int], int] = {}
    records: list[Record] = []

    def add(message: object) -> None:
        place = (message.topic, message.partition)  # type: ignore[attr-defined]
        offset = offsets[place] = offsets.get(place, -1) + 1
        records.append(Record(*place, offset, 1, message.key, message.value, message.headers))  # type: ignore[attr-defined]

    both = zip(inputs_of("row-a", "P-1.PumpSpeed"), inputs_of("row-b", "P-2.PumpSpeed"), strict=True)
    for value in (one for pair in both for one in pair):
        add(encode_input(value, 2))
        for output in engines[value.unit].step([value]):
            add(encode_output(output, 2))
    place = ("events", partition_of("row-a", 2))
    records.append(Record(*place, offsets[place] + 1, 1, b"row-a", b"garbage", (("schema", b"tick/1"),)))
    return site_dir, records


Replayed = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def replayed(
    tmp_path: Path, made: tuple[Path, list[Record]], capfdbinary: pytest.CaptureFixture[bytes]
) -> Replayed:
    """Exit code and JSON answer of a replay of records, `chunk` of them in each chunk, one of which is `damaged`."""

    def replay(
        records: Sequence[Record], *, chunk: int = 0, damaged: int | None = None
    ) -> tuple[int, dict[str, Any]]:
        path, site = tmp_path / "records.mcap", load_site(made[0])
        attachments = site_attachments(rule_set_of(made[0], site))
        ends = []
        with RecordingWriter(
            path, attachments=attachments, metadata=recording_metadata(site, attachments)
        ) as writer:
            for log_ns, record in enumerate(records):
                writer.write(record, log_ns)
                if chunk and log_ns % chunk == chunk - 1:
                    writer.flush()
                    ends.append(path.stat().st_size)
        if damaged is not None:
            raw = bytearray(path.read_bytes())
            raw[(ends[damaged - 1] + ends[damaged]) // 2] ^= 0xFF
            path.write_bytes(raw)
        code = run_app(["replay", str(path), "--json"])
        return code, json.loads(capfdbinary.readouterr().out)

    return replay
