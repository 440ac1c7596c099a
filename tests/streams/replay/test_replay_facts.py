"""Facts in a recording: inputs that are compared, or made anew where there are none or other rules rule."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateways.cli.main import run_app
from rules.engine.engine import Engine
from rules.engine.inputs import Fact, Identity, Input, Readings, Tick
from streams.facts import Courier
from streams.record import Record
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.recording import RecordingWriter
from streams.rule_sets.rule_set import rule_set_of
from streams.site_folder import load_site
from streams.wire import encode_input, encode_output
from tests.support.small_sites import RACKS, RACKS_DRAW_MUCH

S = 1_000_000_000
T0 = 1_767_225_600 * S

Replayed = Callable[..., tuple[int, dict[str, Any]]]


def powers(second: int, kw: float) -> Readings:
    times = np.full(2, T0 + second * S + 1000)
    zero = np.zeros(2, np.int64)
    return Readings(
        "row", Identity("plc", 5, second + 1), int(times[0]), ("R1.RackPower", "R2.RackPower"), times, zero,
        np.full(2, kw), zero.astype(np.uint8), zero.astype(np.uint32),
    )  # fmt: skip


@pytest.fixture
def site_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "rules").mkdir(parents=True)
    (folder / "site.yaml").write_text(RACKS)
    (folder / "rules" / "racks.yaml").write_text(RACKS_DRAW_MUCH)
    return folder


@pytest.fixture
def records(site_dir: Path) -> list[Record]:
    """A run of 20 s: the racks draw much from second 10 on."""
    site = load_site(site_dir)
    rule_set = rule_set_of(site_dir, site)
    engines = {unit: Engine(rule_set.load("")[1], site, unit, rule_set.digest) for unit in site.units}
    courier, found = Courier(), []

    def add(value: Input) -> None:
        said = engines[value.unit].step([value])
        courier.take(said)
        for message in (
            encode_input(value, 1),
            *(encode_output(one, 1) for one in said if not isinstance(one, Fact)),
        ):
            found.append(Record(message.topic, 0, len(found), 1, message.key, message.value, message.headers))

    for second in range(20):
        for unit in site.units:
            tick = Tick(unit, Identity("ticker", 0, T0 // S + second), T0 + second * S)
            for value in (*courier.due(tick), tick):
                add(value)
        add(powers(second, 60 if second >= 10 else 40))
    return found


@pytest.fixture
def replayed(tmp_path: Path, site_dir: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Replayed:
    def replay(records: Sequence[Record], *options: str) -> tuple[int, dict[str, Any]]:
        path, site = tmp_path / "records.mcap", load_site(site_dir)
        attachments = site_attachments(rule_set_of(site_dir, site))
        metadata = recording_metadata(site, attachments)
        with RecordingWriter(path, attachments=attachments, metadata=metadata) as writer:
            offsets = Counter[str]()
            for log_ns, record in enumerate(records):
                writer.write(replace(record, offset=offsets[record.topic]), log_ns)
                offsets[record.topic] += 1
        code = run_app(["replay", str(path), "--json", *options])
        return code, json.loads(capfdbinary.readouterr().out)

    return replay


def is_fact(record: Record) -> bool:
    return ("schema", b"fact/1") in record.headers


def test_recorded_facts_are_inputs_and_the_same(records: list[Record], replayed: Replayed) -> None:
    code, answer = replayed(records)
    facts = sum(map(is_fact, records))
    assert facts == 19
    assert (code, answer["facts_made"], len(answer["alarms"])) == (0, None, 1)
    outputs = sum(record.topic != "events" for record in records)
    assert answer["verification"]["compared"] == outputs + facts


def test_a_fact_that_the_engine_would_not_tell_is_a_difference(
    records: list[Record], replayed: Replayed
) -> None:
    index = next(index for index, record in enumerate(records) if is_fact(record))
    records[index] = replace(records[index], value=(records[index].value or b"").replace(b"40.0", b"41.0"))
    code, answer = replayed(records)
    assert (code, answer["verification"]["differences"]) == (1, 1)


def test_without_facts_they_are_made_anew_and_other_rules_make_their_own(
    tmp_path: Path, records: list[Record], replayed: Replayed
) -> None:
    code, answer = replayed([record for record in records if not is_fact(record)])
    assert (code, answer["facts_made"], len(answer["alarms"])) == (0, 19, 1)
    other = tmp_path / "other.yaml"
    other.write_text(RACKS_DRAW_MUCH.replace("> 100 kW", "> 70 kW"))
    code, answer = replayed(records, "--rules", str(other))
    assert (code, answer["facts_made"]) == (0, 19)
    assert [alarm["raised_at"][17:19] for alarm in answer["alarms"]] == ["01"], (
        "the first fact has one rack only"
    )
