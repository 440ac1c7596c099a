"""`headrace alarms`: the alarm list of a running site, from the compacted topic `alarms`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import orjson

from gateways.cli.tables import print_table
from gateways.plain import plain_alarm, told
from rules.engine.outputs import Alarm, Severity
from rules.errors import UndecodableError, UnreachableError
from streams.bus import Reader
from streams.bus_kafka import KafkaBus
from streams.log_limit import silence_logs
from streams.record import Record, TopicPartition
from streams.replay_mark import replay_of
from streams.settings import load_settings
from streams.site_folder import load_site
from streams.times import iso_utc
from streams.topics import ALARMS
from streams.wire import decode_output

ORDER: Final = {severity: place for place, severity in enumerate(get_args(Severity))}
"""Most severe first."""


def show_alarms(site: Path, follow: bool, bootstrap: str | None, as_json: bool) -> int:
    """Print the alarms that stand (with `--json` all last words); then, with `follow`, every transition.

    The most severe ones come first, then the older ones. UnreachableError: no broker, or no topic.
    """
    silence_logs()
    return asyncio.run(_show(site, follow, bootstrap, as_json))


async def _show(site: Path, follow: bool, bootstrap: str | None, as_json: bool) -> int:
    units = load_site(site).units
    given: dict[str, Any] = {"broker": {"bootstrap": bootstrap}} if bootstrap else {}
    broker = load_settings(site / "headrace.yaml", **given).broker
    bus = KafkaBus(broker)
    try:
        if not await bus.partitions(ALARMS.name):
            raise UnreachableError(
                f"the broker at {broker.bootstrap} has no topic 'alarms': start the site "
                "with `headrace up`, or create its topics"
            )
        replay = await replay_of(bus)
        if replay is not None:
            print(f"a replay of {replay.recording}, not a plant", file=sys.stderr)
        ends = await bus.ends(ALARMS.name)
        reader = await bus.reader([ALARMS.name])
        try:
            await _read(reader, ends, units, follow, as_json)
        finally:  # Ctrl-C and a reader who has had enough end it here
            await reader.close()
    finally:
        await bus.close()
    return 0


async def _read(
    reader: Reader, ends: Mapping[TopicPartition, int], units: Container[str], follow: bool, as_json: bool
) -> None:
    """A broker may serve several sites: only alarms of these units are shown."""
    last: dict[str, Alarm] = {}
    while any(reader.positions().get(partition, 0) < end for partition, end in ends.items()):
        for alarm in _decoded(await reader.read(timeout_s=1.0), units):
            last[alarm.key] = alarm
    _print(last.values(), as_json)
    while follow:
        for alarm in _decoded(await reader.read(timeout_s=1.0), units):
            _print_transition(alarm, as_json)


def _decoded(records: Iterable[Record], units: Container[str]) -> Iterable[Alarm]:
    for record in records:
        try:
            output = decode_output(record.headers, record.value)
        except UndecodableError as error:
            print(f"alarms: offset {record.offset} can't be read: {error}", file=sys.stderr)
            continue
        if isinstance(output, Alarm) and output.unit in units:
            yield output


def _print_transition(alarm: Alarm, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps(plain_alarm(alarm)).decode(), flush=True)
        return
    word, at_ns = "known", None
    if alarm.cleared_ns is not None:
        word, at_ns = "cleared", alarm.cleared_ns
    elif alarm.unknown_ns is not None:
        word, at_ns = "unknown", alarm.unknown_ns
    elif alarm.id == alarm.raised_id:
        word, at_ns = "raised", alarm.raised_ns
    at = "" if at_ns is None else iso_utc(at_ns)
    print(f"{at:30} {word:7} {alarm.severity:7} {alarm.rule} {alarm.asset} {alarm.message}", flush=True)


def _print(alarms: Iterable[Alarm], as_json: bool) -> None:
    ordered = sorted(alarms, key=lambda alarm: (ORDER[alarm.severity], alarm.raised_ns, alarm.key))
    if as_json:
        for alarm in ordered:
            print(orjson.dumps(plain_alarm(alarm)).decode())
        return
    standing = [alarm for alarm in ordered if alarm.cleared_ns is None]
    if not standing:
        print("no alarm stands")
        return
    print_table(
        ("since", "severity", "rule", "unit", "asset", "message"),
        [
            (iso_utc(one.raised_ns)[:23], one.severity, one.rule, one.unit, one.asset, told(one))
            for one in standing
        ],
    )
