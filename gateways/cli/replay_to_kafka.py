"""`headrace replay REC --to-kafka HOST:PORT`: a recording into a broker, for consumers, consoles and test workers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from gateways.cli.replay import INTERRUPTED, plain_missing, print_missing
from gateways.cli.replay_pace import Pace, paced, speed_of
from gateways.cli.replay_part import part_of
from gateways.printable import printable
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.bus.kafka import KafkaBus
from streams.log_limit import silence_logs
from streams.recording.recorded_site import recorded_rules, refuse_two_sites
from streams.recording.recording import Recording
from streams.recording.segments import open_recordings
from streams.replay.start import Part
from streams.replay.to_bus import Fed, feed, open_log
from streams.settings import BrokerSettings, load_settings
from streams.times import iso_utc


def replay_to_kafka(
    paths: list[Path],
    bootstrap: str,
    part: tuple[str | None, str | None, list[str]],
    speed: str,
    others: tuple[Path | None, Path | None],
    as_json: bool,
) -> int:
    """0; 1 where records are missing from the recordings, or too large with their mark; 130 where Ctrl-C has ended it.

    `part` as in `replay_recordings`; `others`: the options --rules and --site, which mean nothing here.
    ConfigurationError: a file, a moment, a speed or an address is wrong, or the log is in use. UnreachableError.
    """
    _refuse(others)
    times = speed_of(speed)
    recordings = open_recordings(paths)
    refuse_two_sites(recordings)
    units = recorded_rules(recordings[0]).load_site(f"{recordings[0].path}:").units if part[2] else ()
    of = part_of(recordings, *part, units)
    broker = load_settings(option="--to-kafka", broker={"bootstrap": bootstrap}).broker
    silence_logs()
    name = ", ".join(path.resolve().name for path in paths)
    with paced(recordings, of, times) as pace:
        fed = asyncio.run(_feed(recordings, broker, name, of, pace, times is not None))
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(as_dict(fed, broker, name)) + b"\n")
    else:
        _print(fed, broker)
    if fed.is_partial:
        return INTERRUPTED
    return 1 if fed.damage or fed.missed or fed.missing or fed.left_out["too large"] else 0


def _refuse(others: tuple[Path | None, Path | None]) -> None:
    hint = "give them to the worker that works on the log, or replay without --to-kafka"
    findings = [
        Finding(option, 0, 0, "a recording goes into a log as it is, whatever the rules", hint)
        for option, given in zip(("--rules", "--site"), others, strict=True)
        if given is not None
    ]
    if findings:
        raise ConfigurationError(findings)


async def _feed(
    recordings: Sequence[Recording], broker: BrokerSettings, name: str, part: Part, pace: Pace, waits: bool
) -> Fed:
    async def watch(event_ns: int) -> bool:
        # a pace that waits does so beside the loop, which goes on sending
        return await asyncio.to_thread(pace, event_ns) if waits else pace(event_ns)

    bus = KafkaBus(broker, "--to-kafka")
    try:
        mark = await open_log(bus, recordings, name, broker.partitions)
        return await feed(recordings, bus, mark, part, watch)
    finally:
        await bus.close()


def as_dict(fed: Fed, broker: BrokerSettings, name: str) -> dict[str, Any]:
    """What went into the log, as plain data."""
    return {
        "bootstrap": broker.bootstrap,
        "replay": name,
        "partitions": fed.partitions,
        "from": None if fed.first_ns is None else iso_utc(fed.first_ns),
        "to": None if fed.last_ns is None else iso_utc(fed.last_ns),
        "partial": fed.is_partial,
        "records": dict(sorted(fed.records.items())),
        "left_out": dict(sorted(fed.left_out.items())),
        "damage": fed.damage,
        "missed": fed.missed,
        "missing": plain_missing(fed.missing),
    }


def _print(fed: Fed, broker: BrokerSettings) -> None:
    print(f"{fed.records.total():,} records into {fed.partitions} partitions at {broker.bootstrap}")
    for topic, count in sorted(fed.records.items()):
        print(printable(f"  {topic:12} {count:,}"))
    for reason, count in sorted(fed.left_out.items()):
        print(f"left out: {count:,} {reason}")
    if fed.is_partial:
        at = "its beginning" if fed.last_ns is None else iso_utc(fed.last_ns)
        print(f"ended by Ctrl-C at {at}: partial")
    for line in fed.damage:
        print(printable(f"the recording is damaged: {line}"))
    for line in fed.missed:
        print(printable(line))
    print_missing(fed.missing)
