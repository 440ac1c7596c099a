"""An export holds what the recording holds, in types and units that others understand; with a key, without names."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.cli.main import run_app
from rules.engine.inputs import AccessList, Action, Activation, Identity, Input, Readings, Receipt
from rules.engine.outputs import Alarm, Command, Entry, Output
from rules.gpu_fields import GPU_FIELDS
from rules.quality import Quality
from streams.journal.heads import Head, head_message
from streams.record import Record
from streams.recording import export as recording_export
from streams.recording.recording import RecordingWriter
from streams.wire import encode_input, encode_output
from tests.streams.recording.logs import as_records, frame, readings, tick

TABLES = ("readings", "frames", "alarms", "commands", "receipts", "actions", "journal")
SITE = """
name: small
tick: 1 s
rules: [rules]
sources:
  "{plc}": {{kind: opcua, endpoint: "opc.tcp://{address}:4840", address: "ns=2;s={{point}}"}}
  "{nvml}": {{kind: nvml, assets: "{host}"}}
templates:
  host: {{type: Tray, points: {{RackLeakDetectTray: }}, contains: {{"{gpu}": {{type: GPU}}}}}}
units:
  hall:
    assets:
      P-1: {{type: Pump, points: {{PumpSpeed: {{range: 0..100 %}}}}, actuators: {{PumpSpeed: {{default: 80 %}}}}}}
      "{host}": host
"""
NAMES = {"plc": "plc-hall", "nvml": "nvml-node7", "host": "NODE7", "address": "10.0.0.7", "gpu": "-G1",
         "person": "eva", "edge": "scada", "reader": "vic", "engineer": "bo"}  # fmt: skip


def things(
    plc: str, nvml: str, host: str, address: str, gpu: str, person: str, edge: str, reader: str, engineer: str
) -> tuple[list[Input], list[Output]]:
    """A frame, readings and a receipt; alarms, a command and lines of the journal that name hosts in their texts."""
    leak = replace(readings(2, source=plc), points=(f"{host}.RackLeakDetectTray",))
    inputs: list[Input] = [
        tick(100), readings(1, source=plc), readings(1, source=plc), leak, frame(1, asset=host, source=nvml),
        frame(2, asset=host, source=f"{nvml}/backfill"),
        Receipt("hall", Identity("actuators", 3, 1), "c1", f"{host}{gpu}.power_limit", "failed", 500.0, None, 9,
                f"opc.tcp://{address}:4840 ({plc.upper()}) does not answer"),
        Action("hall", Identity(f"action:{plc}", 3, 1), "comment", "hot", f"{host}{gpu}", person, 9, signer=edge),
        AccessList("hall", Identity("access", 3, 1), {edge: {}, reader: {}}, 9, edge),
        Activation("hall", Identity("activation", 3, 1), "a", "b", 9, engineer),
    ]  # fmt: skip
    cause = f"hall:{nvml}:5:1"
    outputs: list[Output] = [
        Alarm(f"{cause}:0", "hall", "hot", f"{host}{gpu}", "high", "unacknowledged", f"{cause}:0", 7, None, 91.5,
              f"{host}{gpu}: 92 °C, {host} is warm; {host.lower()}, too"),
        Command(f"{cause}:1", "hall", "hot", f"{host}{gpu}", f"{host}{gpu}.power_limit", 500.0, "W", 7, 99,
                f"{host}{gpu}: 92 °C"),
        Entry(f"{cause}:2", "hall", "gap", 7,
              {"source": nvml, "missing": 3, "by": reader, "signer": engineer, "of": "access"}, 9, "cd" * 32),
    ]  # fmt: skip
    return inputs, outputs


def record(path: Path, names: dict[str, str]) -> None:
    inputs, outputs = things(**names)
    messages = [encode_output(output, 1) for output in outputs]
    messages.append(head_message(Head("hall", 1, "ab" * 32, 7), 1))
    site = {"site.yaml": SITE.format(**names).encode()}
    with RecordingWriter(path, attachments=site, metadata={"site": "small", "rules": "[]"}) as writer:
        for one in as_records(inputs):
            writer.write(one, 1)
        for n, m in enumerate(messages):
            writer.write(Record(m.topic, 0, n, 1, m.key, m.value, m.headers), 2)


def export(path: Path, output: Path, *options: str) -> int:
    return run_app(["recording", "export", str(path), "-o", str(output), *options])


def table(folder: Path, name: str) -> Any:
    return pa.parquet.read_table(folder / f"{name}.parquet")


def rows(found: Any) -> list[Any]:
    """Times as nanoseconds, which Python's own have not."""
    columns = [
        column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column for column in found.columns
    ]
    return pa.table(columns, names=found.schema.names).to_pylist()


def test_every_kind_has_its_table_with_types_and_units(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "a.mcap", NAMES)
    assert export(tmp_path / "a.mcap", tmp_path / "out", "--json") == 0
    said = json.loads(capfd.readouterr().out)
    assert said["rows"] == {
        "readings": 2, "frames": 4, "alarms": 1, "commands": 1, "receipts": 1, "actions": 1, "journal": 1,
    }  # fmt: skip
    assert said["repeats"] == 1
    assert said["undecodable"] == {}  # a head of the journal is no garbage
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        f"{n}.parquet" for n in TABLES
    )
    plant = table(tmp_path / "out", "readings")
    assert plant.schema.field("time_ns").type == pa.timestamp("ns", "UTC")
    assert plant.column("time_ns").cast(pa.int64()).to_pylist() == [1, 2]
    assert plant.column("point").to_pylist() == ["P-1.PumpSpeed", "NODE7.RackLeakDetectTray"]
    assert plant.column("value").to_pylist() == [1.0, 2.0]
    units = json.loads(plant.schema.field("value").metadata[b"units"])
    assert units["P-1.PumpSpeed"] == "percent"
    gpus = table(tmp_path / "out", "frames")
    fields = {one.name: one.unit for one in GPU_FIELDS}
    assert {name: gpus.schema.field(name).metadata[b"unit"].decode() for name in fields} == fields
    assert gpus.column("gpu").to_pylist() == [0, 1, 0, 1]
    assert gpus.column(GPU_FIELDS[5].name).to_pylist() == [None, 29.0, None, 29.0]
    assert gpus.column("energy_mj").to_pylist() == [None, 1, None, 1]
    assert gpus.column("source").to_pylist()[2:] == ["nvml-node7/backfill"] * 2
    assert table(tmp_path / "out", "receipts").column("read_back").to_pylist() == [None]
    assert table(tmp_path / "out", "alarms").column("cleared_ns").to_pylist() == [None]
    assert json.loads(table(tmp_path / "out", "journal").column("detail")[0].as_py())["missing"] == 3
    [line] = rows(table(tmp_path / "out", "journal"))
    assert (line["number"], line["previous"]) == (9, "cd" * 32)


def test_rows_are_written_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_export, "BATCH_ROWS", 64)
    records = as_records([frame(n, gpus=6) for n in range(1, 201)])
    with RecordingWriter(tmp_path / "a.mcap") as writer:
        for one in records:
            writer.write(one, 1)
    assert export(tmp_path / "a.mcap", tmp_path / "out") == 0
    file = pa.parquet.ParquetFile(tmp_path / "out" / "frames.parquet")
    assert file.metadata.num_rows == 1200
    assert max(file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)) < 128
    times = table(tmp_path / "out", "frames").column("time_ns").cast(pa.int64()).to_pylist()
    assert times == [n for n in range(1, 201) for _ in range(6)]


def test_csv_holds_the_same_and_its_schema_beside(tmp_path: Path) -> None:
    record(tmp_path / "a.mcap", NAMES)
    assert export(tmp_path / "a.mcap", tmp_path / "parquet") == 0
    assert export(tmp_path / "a.mcap", tmp_path / "csv", "--format", "csv") == 0
    schema = json.loads((tmp_path / "csv" / "schema.json").read_bytes())
    for name in TABLES:
        expected = table(tmp_path / "parquet", name)
        types = dict(zip(expected.schema.names, expected.schema.types, strict=True))
        options = pa.csv.ConvertOptions(column_types=types, strings_can_be_null=False)
        found = pa.csv.read_csv(tmp_path / "csv" / f"{name}.csv", convert_options=options)
        assert rows(found) == rows(expected)
        assert [column["name"] for column in schema[name]] == expected.schema.names
    assert next(one for one in schema["frames"] if one["name"] == "temperature")["unit"] == "degC"


def _ids(first: str, others: str) -> st.SearchStrategy[str]:
    return st.builds(
        lambda head, rest: head + rest, st.sampled_from(first), st.text(others, min_size=6, max_size=9)
    )


_lower = "abcdefghijklmnopqrstuvwxyz0123456789"
_source = _ids("abcdefghijkln", _lower + "-")
_asset = _ids("ABCDEFGHIJKLmnopq0123", _lower + "ABCXYZ-_")


@settings(max_examples=20, deadline=None)
@given(
    plc=_source,
    nvml=_source,
    host=_asset,
    address=_ids("abc", _lower),
    gpu=st.sampled_from(["-G1", "G1", "_0", "7", "-"]).map(lambda text: text if text != "-" else "-x"),
    people=st.lists(_ids("abcdefghijkln", _lower), min_size=4, max_size=4, unique=True),
    kind=st.sampled_from(["parquet", "csv"]),
)
def test_nothing_of_the_names_is_left_and_nothing_else_changes(
    tmp_path_factory: pytest.TempPathFactory,
    plc: str,
    nvml: str,
    host: str,
    address: str,
    gpu: str,
    people: list[str],
    kind: str,
) -> None:
    names = {"plc": plc, "nvml": nvml, "host": host, "address": address}
    names |= dict(zip(("person", "edge", "reader", "engineer"), people, strict=True))
    if len({name.lower() for name in names.values()}) < 8 or any(name.isdigit() for name in names.values()):
        return  # digits alone stand in times, too
    folder = tmp_path_factory.mktemp("names")
    record(folder / "a.mcap", {**names, "gpu": gpu})
    (folder / "key").write_bytes(b"k" * 16)
    options = ("--format", kind)
    assert export(folder / "a.mcap", folder / "open", *options) == 0
    assert export(folder / "a.mcap", folder / "hidden", *options, "--anonymise", str(folder / "key")) == 0
    hidden, plain = (_everything(folder / name) for name in ("hidden", "open"))
    for name in names.values():
        assert name.lower().encode() not in hidden.lower()
        assert name.lower().encode() in plain.lower()
    raw = b"".join(path.read_bytes() for path in sorted((folder / "hidden").iterdir()))
    assert not any(name.encode() in raw for name in names.values())
    for name, pseudonym in _pseudonyms(names):
        hidden = hidden.replace(pseudonym.encode(), name.lower().encode())
        plain = plain.replace(name.encode(), name.lower().encode()).replace(
            name.upper().encode(), name.lower().encode()
        )
    assert hidden == plain


def _everything(folder: Path) -> bytes:
    """All that a reader sees of an export: rows and schemas."""
    pieces = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".parquet":
            found = pa.parquet.read_table(path)
            pieces.append(found.schema.to_string(show_field_metadata=True, truncate_metadata=False).encode())
            pieces += [str(row).encode() for row in rows(found)]
        else:
            pieces.append(path.read_bytes())
    return b"\n".join(pieces)


def _pseudonyms(names: dict[str, str]) -> list[tuple[str, str]]:
    """What became of each name, by the rule that the docs give."""
    return [
        (name, "x" + hmac.new(b"k" * 16, name.lower().encode(), hashlib.sha256).hexdigest()[:16])
        for name in names.values()
    ]


def test_pseudonyms_are_those_of_the_key(tmp_path: Path) -> None:
    record(tmp_path / "a.mcap", NAMES)
    record(tmp_path / "b.mcap", {**NAMES, "plc": "plc-other"})
    found = {}
    for name, key in (("a", b"1" * 16), ("b", b"1" * 16), ("a", b"2" * 16)):
        (tmp_path / "key").write_bytes(key)
        folder = tmp_path / f"{name}-{key[:1].decode()}"
        assert export(tmp_path / f"{name}.mcap", folder, "--anonymise", str(tmp_path / "key")) == 0
        found[folder.name] = table(folder, "frames").column("asset")[0].as_py()
    assert found["a-1"] == found["b-1"] != found["a-2"]
    (tmp_path / "key").write_bytes(b"short")
    assert export(tmp_path / "a.mcap", tmp_path / "out", "--anonymise", str(tmp_path / "key")) == 2
    with RecordingWriter(tmp_path / "bare.mcap"):
        pass
    (tmp_path / "key").write_bytes(b"1" * 16)
    assert export(tmp_path / "bare.mcap", tmp_path / "out", "--anonymise", str(tmp_path / "key")) == 2
    assert not (tmp_path / "out").exists()


def test_values_come_as_they_were_recorded(tmp_path: Path) -> None:
    n = np.arange(3, dtype=np.int64)
    quality = np.array([Quality.GOOD, Quality.BAD, Quality.MISSING], np.uint8)
    value = Readings(
        "hall", Identity("plc", 1, 1), 0, ("a", "b", "c"), n * 10**18 + 1, n, np.array([1.5, np.inf, np.nan]),
        quality, n.astype(np.uint32),
    )  # fmt: skip
    message = encode_input(value, 1)
    with RecordingWriter(tmp_path / "a.mcap") as writer:
        writer.write(Record("events", 0, 0, 1, message.key, message.value, message.headers), 1)
    assert export(tmp_path / "a.mcap", tmp_path / "out") == 0
    found = table(tmp_path / "out", "readings")
    assert found.column("time_ns").cast(pa.int64()).to_pylist() == [1, 10**18 + 1, 2 * 10**18 + 1]
    assert str(found.column("value").to_pylist()) == "[1.5, inf, nan]"
    assert found.column("quality").to_pylist() == [0, 2, 3]
