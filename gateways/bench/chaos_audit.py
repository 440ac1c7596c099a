"""What a run under `headrace bench chaos` left behind, counted anew by a script that imports nothing of Headrace.

    python chaos_audit.py --bootstrap HOST:PORT --device-writes FILE --sink FILE --subscription NAME

It reads every record of the log with a plain client, the device's own list of writes, and what the receiver of
notifications took, and prints one JSON object. All that is not as it should be is in `findings`, with an example.

- `lost`: a sequence of a source that is not on the log; a restart of a source, or a pause of its frames, without a word
  of the time between; a notification of an alarm that never came; a command without a receipt.
- `duplicated_effects`: a change of a device that belongs to a command which had changed it before.
- `unexplained`: a change of a device without a command, or by its watchdog though somebody counted; an id with two
  contents; two different receipts of a command; a notification that belongs to nothing on the log; a record in
  dead-letters; a record that can't be read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import aiokafka
import pyarrow as pa

FRAME: list[tuple[str, Any]] = [
    ("sequence", pa.int64()),
    ("ingest_ns", pa.int64()),
    ("asset", pa.utf8()),
    ("time_ns", pa.list_(pa.int64())),
    ("gpu", pa.list_(pa.uint16())),
    ("quality", pa.list_(pa.uint8())),
    ("energy_mj", pa.list_(pa.int64())),
    ("values", pa.list_(pa.float32())),
]
READINGS: list[tuple[str, Any]] = [
    ("sequence", pa.int64()),
    ("ingest_ns", pa.int64()),
    ("point", pa.list_(pa.utf8())),
    ("time_ns", pa.list_(pa.int64())),
    ("server_ns", pa.list_(pa.int64())),
    ("value", pa.list_(pa.float64())),
    ("quality", pa.list_(pa.uint8())),
    ("status", pa.list_(pa.uint32())),
]
ARROW = {"frame/1": pa.schema(FRAME), "readings/1": pa.schema(READINGS)}
TOPICS = ("events", "alarms", "commands", "journal", "dead-letters")
UNORDERED = ("tick/1", "action/1", "access/1", "activation/1", "fact/1")
"""They come from several writers, or again from one that starts again: their sequences prove nothing."""
SECOND_NS = 1_000_000_000
FALLBACK = "fallback:"
"""How the ids begin of what actuators do in a silence of Headrace."""
FALLBACK_NS = 15 * SECOND_NS
NOT_WRITTEN = ("refused", "expired")
SILENT = ("suppressed", "shelved", "out-of-service")
TOLERANCE_NS = 2 * SECOND_NS
PAUSE_NS = 3 * SECOND_NS
"""Two frames were missed."""


class Findings:
    """What is wrong, counted by kind, with the first example of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def add(self, kind: str, what: str, count: int = 1) -> None:
        if count:
            self.counts[kind] += count
            self.examples.setdefault(kind, what)

    def sum(self, group: str) -> int:
        return sum(count for kind, count in self.counts.items() if kind.startswith(f"{group}: "))


async def read_log(bootstrap: str) -> dict[str, list[Any]]:
    """Every record of every topic, by topic, as the client gives them."""
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    found: dict[str, list[Any]] = {name: [] for name in TOPICS}
    try:
        places = [
            aiokafka.TopicPartition(name, number)
            for name in TOPICS
            for number in sorted(consumer.partitions_for_topic(name) or await _partitions(consumer, name))
        ]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, 0)
        while places:
            for place, records in (await consumer.getmany(timeout_ms=1000)).items():
                found[place.topic] += [record for record in records if record.offset < ends[place]]
            places = [place for place in places if await consumer.position(place) < ends[place]]
    finally:
        await consumer.stop()
    return found


async def _partitions(consumer: Any, name: str) -> set[int]:
    await consumer._client.force_metadata_update()
    return set(consumer._client.cluster.partitions_for_topic(name) or ())


def unpack(record: Any) -> tuple[str, dict[str, Any]]:
    """(schema, fields) of a record; ValueError."""
    headers = {name: value.decode() for name, value in record.headers}
    schema = headers.get("schema", "")
    if schema in ARROW:
        message = pa.ipc.read_message(pa.BufferReader(record.value))
        row = pa.ipc.read_record_batch(message, ARROW[schema]).to_pylist()[0]
        return schema, {**row, "source": headers["source"], "epoch": int(headers["epoch"])}
    fields = json.loads(record.value)
    if fields.get("schema") != schema:
        raise ValueError(f"header says {schema}, the body {fields.get('schema')}")
    return schema, {**fields, **fields.get("body", {})}


def check_sources(events: list[tuple[Any, str, dict[str, Any]]], findings: Findings) -> dict[str, int]:
    """Sequences of every source in every unit, and what a source says when it starts again."""
    seen: dict[tuple[str, str], dict[int, dict[int, bytes]]] = defaultdict(lambda: defaultdict(dict))
    first: dict[tuple[str, str, int], tuple[str, dict[str, Any]]] = {}
    last_ns: dict[tuple[str, str, int], int] = {}
    counts = Counter[str]()
    for record, schema, fields in events:
        if schema in UNORDERED:
            continue
        unit, source, epoch, sequence = (
            record.key.decode(),
            fields["source"],
            fields["epoch"],
            fields["sequence"],
        )
        known = seen[unit, source][epoch]
        if sequence in known:
            counts["repeats"] += 1
            if known[sequence] != record.value:
                findings.add(
                    "unexplained: a sequence with two contents", f"{unit} {source} {epoch} {sequence}"
                )
            continue
        known[sequence] = record.value
        if sequence == 1:
            first[unit, source, epoch] = (schema, fields)
        moment_ns = fields.get("ingest_ns") or fields.get("to_ns") or fields.get("at_ns") or 0
        last_ns[unit, source, epoch] = max(moment_ns, last_ns.get((unit, source, epoch), 0))
        counts["backfill" if source.endswith("/backfill") else schema] += 1
        if schema == "gap/1":
            counts[f"gap {fields['reason']}"] += 1
    for (unit, source), epochs in seen.items():
        for number, epoch in enumerate(sorted(epochs)):
            sequences = epochs[epoch]
            missing = max(sequences) - len(sequences)
            findings.add("lost: a sequence", f"{unit} {source} epoch {epoch}: {missing} missing", missing)
            if number and not source.endswith("/backfill"):
                earlier = sorted(epochs)[number - 1]
                _check_restart(
                    unit, source, first.get((unit, source, epoch)), last_ns[unit, source, earlier], findings
                )
    return dict(counts)


def _check_restart(
    unit: str, source: str, began: tuple[str, dict[str, Any]] | None, until_ns: int, findings: Findings
) -> None:
    """A source that starts again begins with what it could not bring, from its last word on."""
    if began is None or began[0] != "gap/1":
        findings.add("lost: a restart without a gap", f"{unit} {source}")
    elif began[1]["from_ns"] > until_ns + TOLERANCE_NS:
        away_s = (began[1]["from_ns"] - until_ns) / SECOND_NS
        findings.add("lost: time before a restart", f"{unit} {source}: {away_s:.1f} s are not in its gap")


def check_pauses(events: list[tuple[Any, str, dict[str, Any]]], findings: Findings) -> None:
    """Frames come every second: where none does, live or later, a gap of the source says so."""
    told: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    framed = set[tuple[str, str]]()
    for record, schema, fields in events:
        place = (record.key.decode(), fields["source"].removesuffix("/backfill"))
        if schema == "frame/1":
            framed.add(place)
            told[place].append((min(fields["time_ns"]), max(fields["time_ns"])))
        elif schema == "gap/1" and fields["reason"] != "spooled":  # that follows as backfill
            told[place].append((fields["from_ns"], fields["to_ns"]))
    for unit, source in sorted(framed):
        spans = sorted(told[unit, source])
        until_ns = spans[0][1]
        for from_ns, to_ns in spans:
            if from_ns > until_ns + PAUSE_NS:
                away_s = (from_ns - until_ns) / SECOND_NS
                findings.add(
                    "lost: a pause without a gap", f"{unit} {source}: {away_s:.1f} s up to {from_ns}"
                )
            until_ns = max(until_ns, to_ns)


def check_ids(
    name: str, records: list[tuple[Any, str, dict[str, Any]]], findings: Findings
) -> dict[str, dict[str, Any]]:
    """The same id has the same bytes; the fields by id, in the order of their first time."""
    bytes_of: dict[str, bytes] = {}
    fields_of: dict[str, dict[str, Any]] = {}
    for record, schema, fields in records:
        if "id" not in fields or schema == "head/1":
            continue
        if bytes_of.setdefault(fields["id"], record.value) != record.value:
            findings.add(f"unexplained: an id with two contents on {name}", fields["id"])
        fields_of.setdefault(fields["id"], fields)
    return fields_of


def check_commands(
    commands: dict[str, dict[str, Any]], events: list[tuple[Any, str, dict[str, Any]]], findings: Findings
) -> dict[str, str]:
    """Each has a receipt, and only one of its kind; the statuses by command."""
    statuses: dict[str, set[str]] = defaultdict(set)
    for _, schema, fields in events:
        if schema == "receipt/1":
            statuses[fields["command"]].add(fields["status"])
    for own_id in commands:
        if not statuses[own_id]:
            findings.add("lost: a command without a receipt", own_id)
        elif len(statuses[own_id]) > 1:
            findings.add("unexplained: two receipts of a command", f"{own_id}: {sorted(statuses[own_id])}")
    for own_id in set(statuses) - set(commands):
        if not own_id.startswith(FALLBACK):
            findings.add("unexplained: a receipt without a command", own_id)
    return {own_id: min(found) for own_id, found in statuses.items() if found}


def fallbacks_of(events: list[tuple[Any, str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """What actuators did by themselves in a silence: their receipts are all that the log has of it."""
    return {
        fields["command"]: {
            "id": fields["command"],
            "actuator": fields["actuator"],
            "value": fields["value"],
            "cause_ns": fields["at_ns"] - FALLBACK_NS,
            "expires_ns": fields["at_ns"],
        }
        for _, schema, fields in events
        if schema == "receipt/1" and fields["command"].startswith(FALLBACK)
    }


def check_watchdog(writes: list[dict[str, Any]], findings: Findings) -> int:
    """What the device did by itself, it did in a silence; how often."""
    counted_ns, trips = 0, 0
    for write in writes:
        if write["via"] == "count":
            counted_ns = write["at_ns"]
        elif write["via"] == "watchdog":
            trips += 1
            if write["at_ns"] - counted_ns < FALLBACK_NS:
                findings.add("unexplained: a watchdog acted though somebody counted", json.dumps(write))
    return trips


def check_effects(
    writes: list[dict[str, Any]],
    commands: dict[str, dict[str, Any]],
    statuses: dict[str, str],
    findings: Findings,
) -> dict[str, int]:
    """Each change of a device belongs to one command; each command changes its device once at most."""
    changes: Counter[str] = Counter()
    counts = Counter[str]()
    by_actuator: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for command in commands.values():
        by_actuator[command["actuator"]].append(command)
    for write in writes:
        if write["old"] == write["new"]:
            counts["written_again"] += 1
            continue
        counts["changes"] += 1
        fitting = [
            command
            for command in by_actuator[write["actuator"]]
            if abs(command["value"] - write["new"]) < 1e-6
            and command["cause_ns"] - TOLERANCE_NS <= write["at_ns"] <= command["expires_ns"] + TOLERANCE_NS
        ]
        if not fitting:
            findings.add("unexplained: a device was changed without a command", json.dumps(write))
            continue
        mine = min(
            fitting,
            key=lambda command: (
                statuses.get(command["id"]) in NOT_WRITTEN, changes[command["id"]], command["cause_ns"],
            ),
        )  # fmt: skip
        changes[mine["id"]] += 1
        if changes[mine["id"]] > 1:
            findings.add("duplicated_effects: a command changed its device twice", mine["id"])
        if statuses.get(mine["id"]) in NOT_WRITTEN:
            findings.add("unexplained: a command that was not to be written", mine["id"])
    return dict(counts)


def check_notifications(
    told: list[str], subscription: str, alarms: dict[str, dict[str, Any]], findings: Findings
) -> dict[str, int]:
    """Each raise that is heard was told at least once; nothing was told that is not on the log."""
    prefix = f"{subscription}/"
    mine = [own_id.removeprefix(prefix) for own_id in told if own_id.startswith(prefix)]
    mine = [own_id for own_id in mine if not own_id.startswith(("always/", "digest/"))]
    wanted = {
        own_id
        for own_id, alarm in alarms.items()
        if own_id == alarm["raised_id"] and alarm["state"] not in SILENT
    }
    for own_id in wanted - set(mine):
        findings.add("lost: a notification", own_id)
    for own_id in set(mine) - set(alarms):
        findings.add("unexplained: a notification of nothing on the log", own_id)
    return {"raises": len(wanted), "told": len(set(mine)), "told_again": len(mine) - len(set(mine))}


def audit(
    log: dict[str, list[Any]], writes: list[dict[str, Any]], told: list[str], subscription: str
) -> dict[str, Any]:
    """The whole of it, as plain data."""
    findings = Findings()
    unpacked: dict[str, list[tuple[Any, str, dict[str, Any]]]] = {name: [] for name in TOPICS}
    for name in TOPICS[:-1]:
        for record in log[name]:
            try:
                unpacked[name].append((record, *unpack(record)))
            except (ValueError, KeyError, pa.ArrowInvalid) as error:
                findings.add("unexplained: a record that can't be read", f"{name} {record.offset}: {error}")
    for record in log["dead-letters"]:
        findings.add("unexplained: a dead letter", str(record.headers))
    sources = check_sources(unpacked["events"], findings)
    check_pauses(unpacked["events"], findings)
    alarms = check_ids("alarms", unpacked["alarms"], findings)
    commands = check_ids("commands", unpacked["commands"], findings)
    journal = check_ids("journal", unpacked["journal"], findings)
    statuses = check_commands(commands, unpacked["events"], findings)
    fallbacks = fallbacks_of(unpacked["events"])
    watchdog_writes = check_watchdog(writes, findings)
    by_others = [write for write in writes if write["via"] not in ("count", "watchdog")]
    effects = check_effects(by_others, commands | fallbacks, statuses, findings)
    notifications = check_notifications(told, subscription, alarms, findings) if subscription else None
    return {
        "lost": findings.sum("lost"),
        "duplicated_effects": findings.sum("duplicated_effects"),
        "unexplained": findings.sum("unexplained"),
        "findings": {
            kind: {"count": count, "first": findings.examples[kind]}
            for kind, count in findings.counts.items()
        },
        "records": {name: len(log[name]) for name in TOPICS},
        "sources": sources,
        "alarms": len({alarm["raised_id"] for alarm in alarms.values()}),
        "commands": len(commands),
        "fallbacks": len(fallbacks),
        "watchdog_writes": watchdog_writes,
        "receipts": dict(Counter(statuses.values())),
        "journal": len(journal),
        "effects": effects,
        "notifications": notifications,
    }


def main() -> None:
    """Read, count, print. The exit code is 1 where anything is not as it should be."""
    parser = argparse.ArgumentParser(description="Count anew what a run of chaos left behind.")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--device-writes", type=Path, required=True)
    parser.add_argument("--sink", type=Path)
    parser.add_argument("--subscription", default="")
    given = parser.parse_args()
    log = asyncio.run(read_log(given.bootstrap))
    writes = [json.loads(line) for line in given.device_writes.read_text().splitlines() if line]
    told = (
        [own for line in given.sink.read_text().splitlines() for own in line.split(" ")[1:]]
        if given.sink
        else []
    )
    result = audit(log, writes, told, given.subscription)
    print(json.dumps(result))
    raise SystemExit(1 if result["lost"] or result["duplicated_effects"] or result["unexplained"] else 0)


if __name__ == "__main__":
    main()
