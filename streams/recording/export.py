"""A recording as tables for other tools: Parquet or CSV, one file for each kind of thing.

Rules: what came twice is there once, by its identity; a table's rows stand in the order of the recording; batches of
bounded size are written as they fill, so that memory does not grow with the recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from rules.engine.inputs import AccessList, Action, Activation, Frame, Input, Readings, Receipt
from rules.engine.outputs import Alarm, Command, Entry, Output
from rules.errors import ConfigurationError, UndecodableError
from rules.findings import Finding
from rules.site.model import Site
from streams.record import Record, header
from streams.recording.pseudonyms import Pseudonyms, host_names
from streams.recording.recorded_site import recorded_rules
from streams.recording.recording import Advance, Recording, watched
from streams.recording.tables import BATCH_ROWS, Hide, plain_schemas, schemas, table_of
from streams.site_folder import SITE_FILE
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL
from streams.wire import decode_input, decode_output, is_head

Format = Literal["parquet", "csv"]
TOPICS: Final = frozenset({EVENTS.name, ALARMS.name, COMMANDS.name, JOURNAL.name})
_TABLE_OF: Final[Mapping[type[Any], str]] = {
    Readings: "readings",
    Frame: "frames",
    Receipt: "receipts",
    Action: "actions",
    Alarm: "alarms",
    Command: "commands",
    Entry: "journal",
}
_OF_PEOPLE: Final = frozenset({b"action/1", b"access/1", b"activation/1"})
"""Schemas of inputs that name people."""


@dataclass(slots=True)
class Exported:
    """`rows` by table; `repeats`: inputs that came again; `undecodable`: records that nobody can read, by reason."""

    rows: Counter[str] = field(default_factory=Counter)
    repeats: int = 0
    undecodable: Counter[str] = field(default_factory=Counter)


def export(
    recordings: Sequence[Recording], folder: Path, kind: Format, key: bytes | None, advance: Advance
) -> Exported:
    """Write the tables of recordings that follow each other into `folder`; `key`: hide the names of hosts with it.

    Raises ConfigurationError where names are to be hidden and the recording has no site, which says what they are.
    """
    site = _site(recordings[0])
    hide: Hide = str
    if key is not None:
        if site is None:
            raise ConfigurationError(
                [
                    Finding(
                        str(recordings[0].path), 0, 0, "names can't be hidden: the recording carries no site"
                    )
                ]
            )
        hide = Pseudonyms(
            key, [*host_names(site, _sources(recordings, advance)), *_people(recordings)]
        ).hide_name
    found = schemas(site, hide)
    exported = Exported()
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(_writer(folder, name, kind, schema)) for name, schema in found.items()
        }
        tables = {name: table_of(name, schema, hide) for name, schema in found.items()}
        for value in _values(recordings, exported, advance):
            name = _TABLE_OF[type(value)]
            table: Any = tables[name]
            table.add(value)
            if len(table) >= BATCH_ROWS:
                _write(name, table, writers[name], exported)
        for name, rest in tables.items():
            if len(rest):
                _write(name, rest, writers[name], exported)
    if kind == "csv":
        (folder / "schema.json").write_bytes(orjson.dumps(plain_schemas(found), option=orjson.OPT_INDENT_2))
    return exported


def _writer(folder: Path, name: str, kind: Format, schema: pa.Schema) -> Any:
    if kind == "csv":
        return pa.csv.CSVWriter(folder / f"{name}.csv", schema)
    return pa.parquet.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd")


def _write(name: str, table: Any, writer: Any, exported: Exported) -> None:
    batch = table.take()
    writer.write_batch(batch)
    exported.rows[name] += batch.num_rows


def _site(recording: Recording) -> Site | None:
    if SITE_FILE not in recording.attachments:
        return None
    return recorded_rules(recording).load_site(f"{recording.path}:")


def _sources(recordings: Sequence[Recording], advance: Advance) -> set[str]:
    """Every source that the log names."""
    found: set[bytes] = set()
    for record in watched(_records(recordings, {EVENTS.name}), advance):
        found.add(header(record.headers, "source") or b"")
    return {source.decode("utf-8", "replace") for source in found if source}


def _people(recordings: Sequence[Recording]) -> Iterator[tuple[str, str]]:
    """Names of people: who acts, who signs, and who is on an access list."""
    for record in _records(recordings, {EVENTS.name}):
        if header(record.headers, "schema") not in _OF_PEOPLE:
            continue
        try:
            value = decode_input(record.key, record.headers, record.value)
        except UndecodableError:
            continue
        names = {value.signer} if isinstance(value, Action | AccessList | Activation) else set()
        if isinstance(value, Action):
            names.add(value.by)
        elif isinstance(value, AccessList):
            names.update(value.users)
        for name in names - {""}:
            yield name, name


def _records(recordings: Sequence[Recording], topics: Collection[str]) -> Iterator[Record]:
    return (record for recording in recordings for record in recording.records(topics))


def _values(
    recordings: Sequence[Recording], exported: Exported, advance: Advance
) -> Iterator[Input | Output]:
    """Inputs and outputs that have a table."""
    last: dict[tuple[str, str], tuple[int, int]] = {}
    for record in watched(_records(recordings, TOPICS), advance):
        if record.value is None or is_head(record.headers):
            continue
        value: Input | Output
        try:
            if record.topic == EVENTS.name:
                value = decode_input(record.key, record.headers, record.value)
                place, number = (
                    (value.unit, value.identity.source),
                    (value.identity.epoch, value.identity.sequence),
                )
                if number <= last.get(place, (-1, 0)):
                    exported.repeats += 1
                    continue
                last[place] = number
            else:
                value = decode_output(record.headers, record.value)
        except UndecodableError as error:
            exported.undecodable[error.reason] += 1
            continue
        if type(value) in _TABLE_OF:
            yield value


def read_key(path: Path) -> bytes:
    """The key of the pseudonyms: the file's bytes, 16 at least. Raises ConfigurationError."""
    try:
        key = path.read_bytes()
    except OSError as error:
        raise ConfigurationError([Finding(str(path), 0, 0, f"can't be read: {error.strerror}")]) from None
    if len(key) < 16:
        hint = "make one with: head -c 32 /dev/urandom > KEYFILE"
        raise ConfigurationError([Finding(str(path), 0, 0, "a key has 16 bytes at least", hint)])
    return key
