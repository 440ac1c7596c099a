"""Snapshots of the engines on the topic `snapshots`, and the way back.

Rules that this module obeys:
- A snapshot is chunks below 900 KB and a closing manifest; only a manifest whose chunks are all there, and whose
  SHA-256 is theirs, makes a snapshot. A crash between two chunks leaves a torn one, which is not read.
- The topic is compacted, so the chunks of a new snapshot must not carry the keys of the last complete one: a unit
  writes to the slots `a` and `b` in turn. Keys: `unit:slot:0000`, `unit:slot:manifest`.
- A chunk names the snapshot that it belongs to by that snapshot's digest, so that two writers of one unit (an
  owner and one that does not know yet that it lost the partition) can't be mixed up into one state.
- An offset means something only in the log that gave it. Every log has an id (key `log:ID`, partition 0); a
  snapshot from another log restores its state and starts at this log's first record: what it has seen are repeats.
- A log that has lost its end goes on under the same id and gives the same offsets again: a snapshot names the record
  before its own by a digest, and where another one stands there, the log is another one.
- Reading goes backwards from the end, so that a log which never compacts does not slow a restart down.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

import orjson

from rules.errors import UnreachableError
from rules.json_bytes import json_bytes
from streams.bus.bus import Bus, Producer, read_span, read_spans
from streams.record import Headers, Message, Record, TopicPartition, header
from streams.topics import SNAPSHOTS, partition_of

CHUNK_BYTES: Final = 900_000
CHUNK_SCHEMA: Final = b"snapshot-chunk/1"
MANIFEST_SCHEMA: Final = b"snapshot/1"
LOG_SCHEMA: Final = b"log/1"
LOG_KEY: Final = b"log:"
_FIRST_WINDOW: Final = 16
"""Records per partition that the first look backwards takes; every further look takes four times as many."""
_PATIENCE_S: Final = 10


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of one unit's engine before the record `next_offset` of `events` in the log `log_id`.

    `number` counts the snapshots of the unit; its parity chooses the slot.
    """

    unit: str
    number: int
    next_offset: int
    log_id: str
    rules_digest: str
    site_digest: str
    state: bytes
    last_record: str = ""
    """What `record_digest` gives of the record before `next_offset`; "" where that was not known."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Closes a snapshot: `digest` is the SHA-256 of its `chunks` chunks together, `bytes` their length.

    `last_record`: of the value of the record before `next_offset`, "" where that is not known.
    """

    unit: str
    number: int
    next_offset: int
    log_id: str
    rules_digest: str
    site_digest: str
    chunks: int
    bytes: int
    digest: str
    last_record: str = ""


def is_covered(offset: int, next_offset: int) -> bool:
    """Whether a state that was taken before the record `next_offset` has taken in the one at `offset` already."""
    return offset < next_offset


def record_digest(value: bytes | None) -> str:
    """Of the value of a record of `events`, by which it is known from another one that has its offset."""
    return hashlib.sha256(value or b"").hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Found:
    """What the topic holds for some units. `rejected`: manifests that did not make a snapshot, by reason."""

    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)


def snapshot_messages(snapshot: Snapshot, partitions: int) -> tuple[list[Message], Message]:
    """The chunks, and the manifest that must be sent only when the broker has all of them."""
    slot = "ab"[snapshot.number % 2]
    partition = partition_of(snapshot.unit, partitions)
    digest = hashlib.sha256(snapshot.state).hexdigest()
    pieces = [
        snapshot.state[start : start + CHUNK_BYTES] for start in range(0, len(snapshot.state), CHUNK_BYTES)
    ]

    def message(name: str, schema: bytes, value: bytes) -> Message:
        headers: Headers = (("schema", schema), ("digest", digest.encode()))
        return Message(SNAPSHOTS.name, partition, f"{snapshot.unit}:{slot}:{name}".encode(), value, headers)

    manifest = Manifest(
        snapshot.unit,
        snapshot.number,
        snapshot.next_offset,
        snapshot.log_id,
        snapshot.rules_digest,
        snapshot.site_digest,
        len(pieces),
        len(snapshot.state),
        digest,
        snapshot.last_record,
    )
    return (
        [message(f"{index:04d}", CHUNK_SCHEMA, piece) for index, piece in enumerate(pieces)],
        message("manifest", MANIFEST_SCHEMA, json_bytes(asdict(manifest))),
    )


async def log_ids(bus: Bus, producer: Producer) -> frozenset[str]:
    """The ids of this log; gives it one when it has none. UnreachableError.

    Two workers that start on an empty log at the same time may give it one each: both are true for ever.
    """
    found = await log_ids_of(bus)
    if not found:
        name = uuid.uuid4().hex.encode()
        message = Message(SNAPSHOTS.name, 0, LOG_KEY + name, name, (("schema", LOG_SCHEMA),))
        await (await producer.send(message))
        found = await log_ids_of(bus)
    return found


async def log_ids_of(bus: Bus) -> frozenset[str]:
    """They are the first records of partition 0: nobody writes a snapshot before the log has its id.

    Unless the topic was made again under a worker: then they stand behind what that one has written.
    """
    first = TopicPartition(SNAPSHOTS.name, 0)
    end = (await bus.ends(SNAPSHOTS.name)).get(first)
    if end is None:
        raise UnreachableError(f"topic '{SNAPSHOTS.name}' does not exist: create the topics first")
    found: frozenset[str] = frozenset()
    if end == 0:
        return found
    reader = await bus.reader([SNAPSHOTS.name], {first: 0})
    try:
        while not found and reader.positions()[first] < end:
            records = await reader.read(timeout_s=_PATIENCE_S, limit=8)
            if not records:  # a broker that has just gone must not pass for a log without an id
                raise UnreachableError(f"'{SNAPSHOTS.name}' has {end} records and brings none")
            found = frozenset(filter(None, map(_log_id, records)))
    finally:
        await reader.close()
    return found


def _log_id(record: Record) -> str:
    """The id that a record gives its log; "" for every other record."""
    if record.key is None or not record.key.startswith(LOG_KEY):
        return ""
    return record.key[len(LOG_KEY) :].decode("ascii", "replace")


async def read_snapshots(bus: Bus, units: Collection[str], partitions: int, native: Collection[str]) -> Found:
    """The last complete snapshot of each of `units` that has one. UnreachableError.

    `native`: the ids of this log; a snapshot of another log counts only where there is none of this one.
    """
    snapshots: dict[str, Snapshot] = {}
    rejected: Counter[str] = Counter()
    ends = await bus.ends(SNAPSHOTS.name)
    wanted: dict[TopicPartition, set[str]] = defaultdict(set)
    for unit in units:
        wanted[TopicPartition(SNAPSHOTS.name, partition_of(unit, partitions))].add(unit)
    window = _FIRST_WINDOW
    while wanted:  # further back each time, in those partitions of which not all units were found
        starts = {place: max(0, ends.get(place, 0) - window) for place in sorted(wanted)}
        spans = await read_spans(bus, {place: (start, ends.get(place, 0)) for place, start in starts.items()})
        for place, start in starts.items():
            found = assemble(spans[place], wanted[place], native)
            if start == 0 or wanted[place] <= found.snapshots.keys():
                snapshots.update(found.snapshots)
                rejected.update(found.rejected)
                del wanted[place]
        window *= 4
    return Found(snapshots, rejected)


async def last_snapshots(bus: Bus, native: Collection[str]) -> list[Snapshot]:
    """Of each partition that has any complete ones, those nearest to its end, of whichever units. UnreachableError.

    `native`: as of `read_snapshots`.
    """
    found: list[Snapshot] = []
    wanted = {place: end for place, end in (await bus.ends(SNAPSHOTS.name)).items() if end}
    window = _FIRST_WINDOW
    while wanted:  # as `read_snapshots` does
        spans = {place: (max(0, end - window), end) for place, end in wanted.items()}
        for place, records in (await read_spans(bus, spans)).items():
            complete = assemble(records, None, native).snapshots
            found += complete.values()
            if complete or spans[place][0] == 0:
                del wanted[place]
        window *= 4
    return found


async def covered_offsets(bus: Bus, logs: Collection[str]) -> dict[str, int]:
    """Up to which offset of `events` on the logs `logs` the snapshots on this one go, by unit. UnreachableError."""
    covered: dict[str, int] = {}
    for place, end in (await bus.ends(SNAPSHOTS.name)).items():
        for record in await read_span(bus, place, 0, end):
            if header(record.headers, "schema") != MANIFEST_SCHEMA or record.value is None:
                continue
            with contextlib.suppress(KeyError, TypeError, ValueError):
                manifest = orjson.loads(record.value)
                if manifest["log_id"] in logs:
                    unit = manifest["unit"]
                    covered[unit] = max(covered.get(unit, 0), int(manifest["next_offset"]))
    return covered


def assemble(records: Iterable[Record], wanted: Collection[str] | None, native: Collection[str]) -> Found:
    """The last complete snapshot of each of `wanted` among records of the topic; see `read_snapshots`. None: of all."""
    chunks: dict[tuple[bytes, int], bytes] = {}
    snapshots: dict[str, Snapshot] = {}
    rejected: dict[str, int] = {}
    for record in records:
        schema, digest = header(record.headers, "schema"), header(record.headers, "digest")
        if record.key is None or record.value is None or digest is None:
            continue
        unit, _, place = record.key.decode("utf-8", "replace").rpartition(":")
        unit = unit.rpartition(":")[0]
        if wanted is not None and unit not in wanted:
            continue
        if schema == CHUNK_SCHEMA and place.isdecimal():
            chunks[digest, int(place)] = record.value
        elif schema == MANIFEST_SCHEMA:
            made = _close(record.value, chunks)
            if made is None:
                continue
            if isinstance(made, str) or made.unit != unit:
                reason = made if isinstance(made, str) else "bad-manifest"
                rejected[reason] = rejected.get(reason, 0) + 1
                continue
            known = snapshots.get(unit)
            if known is None or _rank(made, native) >= _rank(known, native):
                snapshots[unit] = made
    return Found(snapshots, rejected)


def _rank(snapshot: Snapshot, native: Collection[str]) -> tuple[bool, int]:
    return snapshot.log_id in native, snapshot.next_offset if snapshot.log_id in native else snapshot.number


def _close(value: bytes, chunks: Mapping[tuple[bytes, int], bytes]) -> Snapshot | str | None:
    """The snapshot that a manifest closes, or why it makes none: 'bad-manifest', 'corrupt'.

    None when chunks are missing: its slot has been taken since, or they lie before what was read. Nobody's fault.
    """
    try:
        said = orjson.loads(value)
        digest = said["digest"].encode()
        if said["chunks"] > len(chunks):
            return None
        pieces = [chunks.get((digest, index)) for index in range(said["chunks"])]
        whole = b"".join(piece for piece in pieces if piece is not None)
        if None in pieces:
            return None
        if len(whole) != said["bytes"] or hashlib.sha256(whole).hexdigest() != said["digest"]:
            return "corrupt"
        texts = [said[name] for name in ("unit", "log_id", "rules_digest", "site_digest")]
        texts.append(said.get("last_record", ""))  # older versions say none
        numbers = [said["number"], said["next_offset"]]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, UnicodeEncodeError):
        return "bad-manifest"
    if not all(type(text) is str for text in texts) or not all(type(n) is int and n >= 0 for n in numbers):
        return "bad-manifest"
    unit, log_id, rules_digest, site_digest, last_record = texts
    return Snapshot(unit, numbers[0], numbers[1], log_id, rules_digest, site_digest, whole, last_record)
