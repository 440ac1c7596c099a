"""`headrace journal`: recordings, copies and a running log are verified, and a byte that was changed is named."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from gateways.broker import EmbeddedBroker
from gateways.cli.main import run_app
from rules.engine.chain import ChainEnd, hash_of
from streams.bus.kafka import KafkaBus
from streams.journal.heads import head_message, read_signer
from streams.keys import make_key
from streams.record import Message, Record
from streams.recording.recording import RecordingWriter
from streams.settings import BrokerSettings
from streams.topics import JOURNAL
from tests.streams.journal.lines import journal

SITE = "examples/narvik"
LINES = {unit: journal(8, unit) for unit in ("row-a", "row-b")}


def messages(key: Path) -> list[Message]:
    """Two units, some lines said again, and a signed head of each."""
    said = [(unit, line) for unit, lines in LINES.items() for line in [*lines[:6], *lines[4:]]]
    made = [Message(JOURNAL.name, 0, unit.encode(), line, (("schema", b"entry/1"),)) for unit, line in said]
    for unit, lines in LINES.items():
        head = read_signer(key).head(unit, ChainEnd(8, hash_of(lines[-1])), 90)
        made.append(head_message(head, 1))
    return made


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "key.pem")
    return tmp_path / "key.pem"


@pytest.fixture
def recording(tmp_path: Path, key: Path) -> Path:
    return write(tmp_path / "run.mcap", messages(key))


def write(path: Path, said: list[Message]) -> Path:
    with RecordingWriter(path) as writer:
        for offset, one in enumerate(said):
            writer.write(Record(one.topic, 0, offset, 1, one.key, one.value, one.headers), 2)
    return path


def verify(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, Any]:
    capfd.readouterr()
    code = run_app(["journal", "verify", "--json", *map(str, arguments)])
    return code, json.loads(capfd.readouterr().out)


def test_a_recording_is_verified_up_to_its_signed_heads(
    recording: Path, key: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, said = verify(capfd, recording, "--public-key", f"{key}.pub")
    assert (code, said["holds"], said["findings"]) == (0, True, [])
    unit = said["units"]["row-a"]
    assert (unit["first"], unit["last"], unit["repeats"], unit["signed_heads"]) == (1, 8, 2, 1)
    assert unit["verified_head"]["number"] == 8
    assert run_app(["journal", "verify", str(recording)]) == 0
    words = capfd.readouterr().out
    assert "row-a: 8 lines, number 1 to 8, 2 said again\n" in words
    assert "name the key with --public-key" in words
    assert words.endswith("the chain holds\n")


def test_a_recording_with_a_line_less_names_it(
    tmp_path: Path, key: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = messages(key)
    del said[1]
    path = write(tmp_path / "less.mcap", said)
    assert run_app(["journal", "verify", str(path)]) == 1
    words = capfd.readouterr().out
    assert f"row-a: removed number 2, before {path}: journal/0 offset 1" in words
    assert words.endswith("the chain does not hold\n")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_copy_is_verified_as_its_recording_is(
    kind: str, recording: Path, key: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / f"copy.{kind}"
    assert run_app(["journal", "export", str(recording), "-o", str(copy), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["records"] == 22
    code, said = verify(capfd, copy, "--public-key", f"{key}.pub")
    assert (code, said["findings"]) == (0, [])
    assert said["units"] == verify(capfd, recording, "--public-key", f"{key}.pub")[1]["units"] | {
        unit: one | {"heads": 2} for unit, one in said["units"].items()
    }


@pytest.mark.parametrize("seed", range(40))
def test_one_byte_of_a_copy_that_was_changed_is_named(
    seed: int, recording: Path, key: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / ("copy.jsonl" if seed % 2 else "copy.csv")
    assert run_app(["journal", "export", str(recording), "-o", str(copy)]) == 0
    rng = random.Random(seed)
    lines = copy.read_bytes().split(b"\n")
    number = rng.randrange(1, len(lines) - 1)
    at = rng.randrange(len(lines[number]))
    lines[number] = lines[number][:at] + bytes([lines[number][at] ^ 1]) + lines[number][at + 1 :]
    copy.write_bytes(b"\n".join(lines))
    code, said = verify(capfd, copy, "--public-key", f"{key}.pub")
    if code == 2:
        assert "no CSV file" in said["error"]
        return
    assert code == 1
    assert f"{copy}:{number + 1}" in {one["place"] for one in said["findings"]}


def test_a_row_that_says_something_else_than_its_record_is_found(
    recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.parquet"
    assert run_app(["journal", "export", str(recording), "-o", str(copy)]) == 0
    rows = pa.parquet.read_table(copy)
    kinds = rows.column("kind").to_pylist()
    kinds[3] = "late"
    pa.parquet.write_table(rows.set_column(3, "kind", pa.array(kinds)), copy)
    code, said = verify(capfd, copy)
    assert code == 1
    assert said["findings"][0] == {
        "unit": "row-a", "what": "changed", "number": 4, "id": "row-a:plc:1:4:0", "place": f"{copy}: row 4",
        "message": "its kind says 'late', and its record 'gap'",
    }  # fmt: skip
    assert len(said["findings"]) == 1
    assert run_app(["journal", "export", str(copy), "-o", str(tmp_path / "washed.jsonl")]) == 1


def test_a_row_whose_record_is_no_line_any_more_was_changed_and_says_which(
    recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.csv"
    assert run_app(["journal", "export", str(recording), "-o", str(copy)]) == 0
    rows = copy.read_text().splitlines(keepends=True)
    rows[4] = rows[4].replace('""body"":', '""bady"":')
    copy.write_text("".join(rows))
    code, said = verify(capfd, copy)
    first = said["findings"][0]
    assert (code, first["unit"], first["what"], first["number"]) == (1, "row-a", "changed", 4)
    assert (first["id"], first["place"]) == ("row-a:plc:1:4:0", f"{copy}:5")


def test_what_is_no_journal_is_said(
    recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    assert "columns are a, b" in verify(capfd, tmp_path / "odd.csv")[1]["findings"][0]["message"]
    assert verify(capfd, tmp_path / "none.jsonl")[0] == 2
    assert verify(capfd, write(tmp_path / "empty.mcap", []))[0] == 2
    assert verify(capfd, recording, tmp_path / "odd.csv")[0] == 2
    assert verify(capfd, SITE, recording)[0] == 2
    assert run_app(["journal", "export", str(recording), "-o", str(tmp_path / "copy.txt")]) == 2
    capfd.readouterr()
    assert run_app(["journal", "export", SITE, "-o", str(tmp_path / "copy.jsonl")]) == 2
    assert f"headrace record {SITE}" in capfd.readouterr().err
    assert not (tmp_path / "copy.jsonl").exists()


def test_a_key_is_made_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["journal", "key", "-o", str(tmp_path / "new.pem"), "--json"]
    assert run_app(arguments) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["key"] == read_signer(tmp_path / "new.pem").key_id
    assert Path(said["public"]).is_file()
    assert run_app(arguments) == 2


async def fill(broker: EmbeddedBroker, said: list[Message]) -> None:
    bus = KafkaBus(BrokerSettings(bootstrap=broker.bootstrap))
    producer = await bus.producer("test")
    for one in said:
        await producer.send(one)
    await producer.flush()
    await producer.close()
    await bus.close()


async def test_the_journal_of_a_running_log_is_verified(
    embedded_broker: EmbeddedBroker, key: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = messages(key)
    await fill(embedded_broker, said)
    arguments = [SITE, "--public-key", f"{key}.pub", "--bootstrap"]
    code, found = await asyncio.to_thread(verify, capfd, *arguments, embedded_broker.bootstrap)
    assert (code, found["findings"]) == (0, [])
    changed = (said[2].value or b"").replace(b'"missing"', b'"Missing"')
    await fill(embedded_broker, [replace(said[2], value=changed)])
    code, found = await asyncio.to_thread(verify, capfd, *arguments, embedded_broker.bootstrap)
    assert code == 1
    [one] = found["findings"]
    assert (one["number"], one["place"]) == (3, "journal/0 offset 22")
    assert (await asyncio.to_thread(verify, capfd, *arguments, "127.0.0.1:1"))[0] == 3
