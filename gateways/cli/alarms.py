"""`headrace alarms`: the alarm list of a running site, from the compacted topic `alarms`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from gateways.plain import plain_alarm
from rules.engine.outputs import Alarm
from rules.errors import UndecodableError, UnreachableError
from streams.bus_kafka import KafkaBus
from streams.record import Record
from streams.settings import load_settings
from streams.times import iso_utc
from streams.topics import ALARMS
from streams.wire import decode_output


def show_alarms(site: Path, follow: bool, bootstrap: str | None, as_json: bool) -> int:
    """Print the alarms that stand (with `--json` all last words); then, with `follow`, every transition."""
    return asyncio.run(_show(site, follow, bootstrap, as_json))


async def _show(site: Path, follow: bool, bootstrap: str | None, as_json: bool) -> int:
    broker = load_settings(site / "headrace.yaml").broker
    if bootstrap:
        broker = broker.model_copy(update={"bootstrap": bootstrap})
    bus = KafkaBus(broker)
    try:
        if not await bus.partitions(ALARMS.name):
            raise UnreachableError(
                f"the broker at {broker.bootstrap} has no topic 'alarms': start the site "
                "with `headrace up`, or create its topics"
            )
        ends = await bus.ends(ALARMS.name)
        reader = await bus.reader([ALARMS.name])
        last: dict[str, Alarm] = {}
        while any(reader.positions().get(partition, 0) < end for partition, end in ends.items()):
            for alarm in _decoded(await reader.read(timeout_s=1.0)):
                last[alarm.key] = alarm
        _print(last.values(), as_json)
        while follow:
            for alarm in _decoded(await reader.read(timeout_s=1.0)):
                _print_transition(alarm, as_json)
        await reader.close()
    finally:
        await bus.close()
    return 0


def _decoded(records: Iterable[Record]) -> Iterable[Alarm]:
    for record in records:
        try:
            output = decode_output(record.headers, record.value)
        except UndecodableError as error:
            print(f"alarms: offset {record.offset} can't be read: {error}", file=sys.stderr)
            continue
        if isinstance(output, Alarm):
            yield output


def _print_transition(alarm: Alarm, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps(plain_alarm(alarm)).decode(), flush=True)
        return
    word = "raised" if alarm.cleared_ns is None else "cleared"
    at_ns = alarm.raised_ns if alarm.cleared_ns is None else alarm.cleared_ns
    print(
        f"{iso_utc(at_ns)} {word:7} {alarm.severity:7} {alarm.rule} {alarm.asset} {alarm.message}", flush=True
    )


def _print(alarms: Iterable[Alarm], as_json: bool) -> None:
    ordered = sorted(alarms, key=lambda alarm: (alarm.raised_ns, alarm.key))
    if as_json:
        for alarm in ordered:
            print(orjson.dumps(plain_alarm(alarm)).decode())
        return
    table = Table("since", "severity", "rule", "unit", "asset", "message")
    standing = [alarm for alarm in ordered if alarm.cleared_ns is None]
    for alarm in standing:
        table.add_row(
            iso_utc(alarm.raised_ns)[:19], alarm.severity, alarm.rule, alarm.unit, alarm.asset, alarm.message
        )
    Console().print(table if standing else "no alarm stands")
