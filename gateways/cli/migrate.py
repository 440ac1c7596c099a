"""`headrace migrate --check`: can this version go on with what another one left on the log and on the disk?

Rules: nothing is written. What is looked at is what a start would read: the newest records of each topic, the last
snapshot of each unit, and the files of the run folder. What this version can't read is wrong, with what would become of
it and what to do first; what no version could send is a warning.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from gateways.actuators import fallback_store, ledger
from gateways.alerts import store
from gateways.cli.doctor import Check, show
from rules.engine import packed, snapshot
from rules.errors import UndecodableError
from rules.site.model import Site
from streams.bus.bus import Bus, read_spans
from streams.bus.kafka import KafkaBus
from streams.database import open_read_only
from streams.log_limit import silence_logs
from streams.publisher import spool
from streams.record import Record, header
from streams.settings import load_settings
from streams.site_folder import load_site
from streams.snapshots import Snapshot, log_ids_of, read_snapshots
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL, TOPICS, Topic
from streams.wire import decode_input, decode_output, is_head

NEWEST: Final = 2000
"""Records of each partition that are tried: another version that has written has written these."""
NOTHING_ADDED: Final[Mapping[str, list[str]]] = MappingProxyType({})
_OF_ANOTHER_VERSION: Final = frozenset({"unknown-schema", "bad-envelope"})
"""Why a row of a spool can't be read, where another version may well read it; else it is damaged."""
_GO_BACK: Final = "let the version that wrote it go on, or see docs/operations.md, upgrade"


def check_migration(site_dir: Path, bootstrap: str | None, as_json: bool) -> int:
    """0, or 1 where something would not be read. UnreachableError without a broker, ConfigurationError as ever."""
    silence_logs()
    given: dict[str, Any] = {"broker": {"bootstrap": bootstrap}} if bootstrap else {}
    settings = load_settings(site_dir / "headrace.yaml", option="--bootstrap", **given)
    site = load_site(site_dir)
    bus = KafkaBus(settings.broker, "--bootstrap") if bootstrap else KafkaBus(settings.broker)

    async def look() -> list[Check]:
        try:
            return [*[await check_topic(bus, topic) for topic in TOPICS], *await check_snapshots(bus, site)]
        finally:
            await bus.close()

    return show([*asyncio.run(look()), *check_files(settings.run_dir)], as_json)


async def check_topic(bus: Bus, topic: Topic) -> Check:
    """Whether its newest records can be read. UnreachableError."""
    if not await bus.partitions(topic.name):
        return Check(topic.name, "wrong", "is not there", "headrace topics apply")
    unknown: Counter[str] = Counter()
    tried = 0
    ends = await bus.ends(topic.name)
    spans = await read_spans(bus, {place: (max(0, end - NEWEST), end) for place, end in ends.items()})
    for record in chain.from_iterable(spans.values()):
        tried += 1
        if record.value is not None and (why := _why_not(record)):
            unknown[why] += 1
    if not unknown:
        return Check(topic.name, "ok", f"{tried:,} newest records can be read")
    words = "; ".join(f"{count:,} of {tried:,}: {why}" for why, count in unknown.most_common(3))
    return Check(topic.name, "wrong", words, f"they would become dead letters: {_GO_BACK}")


def _why_not(record: Record) -> str:
    """Why a record can't be read; "" where it can."""
    decode = _DECODERS.get(record.topic)
    if decode is None:
        return ""
    try:
        decode(record)
    except UndecodableError as error:
        schema = (header(record.headers, "schema") or b"none").decode(errors="replace")
        return f"schema {schema}: {error}"
    return ""


def _output(record: Record) -> None:
    if not is_head(record.headers):
        decode_output(record.headers, record.value)


_DECODERS: Final[Mapping[str, Callable[[Record], object]]] = MappingProxyType(
    {
        EVENTS.name: lambda record: decode_input(record.key, record.headers, record.value),
        ALARMS.name: _output,
        COMMANDS.name: _output,
        JOURNAL.name: _output,
    }
)


async def check_snapshots(bus: Bus, site: Site) -> list[Check]:
    """Whether each unit would go on from its last snapshot. UnreachableError."""
    if not await bus.partitions(EVENTS.name):
        return []
    partitions = await bus.partitions(EVENTS.name)
    found = await read_snapshots(bus, list(site.units), partitions, await log_ids_of(bus))
    checks = [_snapshot(unit, found.snapshots.get(unit)) for unit in site.units]
    for reason, count in found.rejected.items():
        checks.append(Check("snapshots", "warning", f"{count} can't be put together: {reason}"))
    return checks


def _snapshot(unit: str, found: Snapshot | None) -> Check:
    name = f"state of {unit}"
    if found is None:
        return Check(name, "ok", "no snapshot: the unit begins with the log")
    try:
        packed.unpack(snapshot.MAGIC, found.state, "snapshot")
    except packed.PackedError as error:
        advice = f"the unit would begin empty, its acknowledgements and shelves gone: {_GO_BACK}"
        return Check(name, "wrong", f"number {found.number}: {error}", advice)
    return Check(name, "ok", f"snapshot {found.number} up to offset {found.next_offset:,} can be read")


def check_files(run_dir: Path) -> Iterator[Check]:
    """Whether the files of the run folder are such as this version makes them; none is said as well."""
    schemas = {
        "actuators.sqlite": ledger.SCHEMA,
        fallback_store.FILE: fallback_store.SCHEMA,
        store.FILE: store.SCHEMA,
    }
    spools = sorted((run_dir / "spool").glob("*.sqlite"))
    if not spools and not any((run_dir / name).is_file() for name in schemas):
        found = f"{run_dir} has no ledger, outbox or spool"
        yield Check("run folder", "ok", found, "HEADRACE_RUN_DIR names that of the role to look at")
    for name, schema in schemas.items():
        if (run_dir / name).is_file():
            yield _file(Path(name), run_dir / name, schema)
    for file in spools:
        yield _file(file.relative_to(run_dir), file, spool.SCHEMA, spool.ADDED)


def _file(name: Path, file: Path, schema: str, added: Mapping[str, list[str]] = NOTHING_ADDED) -> Check:
    foreign, damaged = Counter[str](), Counter[str]()
    try:
        differs = differences(file, schema, added)
        if schema is spool.SCHEMA and not differs:
            foreign, damaged = _unsendable(file)
    except sqlite3.Error as error:
        return Check(
            str(name), "wrong", f"can't be read: {error}", "is its role running with a lock? end it first"
        )
    if differs:
        advice = f"its role would fail: {_GO_BACK}; a spool is empty once its gateway has sent all"
        return Check(str(name), "wrong", "; ".join(differs), advice)
    words = "; ".join(f"{count:,} records: {why}" for why, count in (foreign + damaged).most_common(3))
    if foreign:
        return Check(str(name), "wrong", words, f"they would be given up, and told as a gap: {_GO_BACK}")
    if damaged:
        advice = "no version can send them: they are given up, and told as a gap; look at the disk"
        return Check(str(name), "warning", words, advice)
    return Check(str(name), "ok", "as this version makes it")


def _unsendable(file: Path) -> tuple[Counter[str], Counter[str]]:
    """What of a spool this version can't send, by why: what another version may, and what none can."""
    foreign, damaged = Counter[str](), Counter[str]()
    with closing(open_read_only(file)) as there:
        for row in there.execute("select unit, headers, value from records"):
            try:
                spool.unpacked(*row)
            except UndecodableError as error:
                (foreign if error.reason in _OF_ANOTHER_VERSION else damaged)[str(error)] += 1
    return foreign, damaged


def differences(file: Path, schema: str, added: Mapping[str, list[str]] = NOTHING_ADDED) -> list[str]:
    """Tables of an SQLite file that have other columns than `schema` gives them. One that lacks is made at a start.

    `added`: columns at the end of a table that a start adds where they lack.
    """
    with closing(open_read_only(file)) as there, closing(sqlite3.connect("")) as fresh:
        fresh.executescript(schema)
        is_, should = _columns(there), _columns(fresh)
    return [
        f"table '{table}' has columns {', '.join(is_[table])}, not {', '.join(columns)}"
        for table, columns in should.items()
        if table in is_ and columns not in (is_[table], is_[table] + added.get(table, []))
    ]


def _columns(database: sqlite3.Connection) -> dict[str, list[str]]:
    tables = database.execute(
        "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"
    )
    return {
        name: [f"{row[1]} {row[2]}" for row in database.execute(f"pragma table_info('{name}')")]
        for (name,) in tables.fetchall()
    }
