"""The alarms of a running site as the topic `alarms` has them, for commands that show them or act on them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Container, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateways.printable import printable
from rules.engine.outputs import Alarm
from rules.errors import UndecodableError, UnreachableError
from rules.site.model import Site
from streams.bus.bus import Bus, Reader, up_to_the_end
from streams.bus.kafka import KafkaBus
from streams.last_words import LastWords
from streams.log_limit import silence_logs
from streams.record import Record
from streams.settings import load_settings
from streams.site_folder import load_site
from streams.topics import ALARMS
from streams.wire import decode_output


@asynccontextmanager
async def running_site(site_dir: Path, bootstrap: str | None) -> AsyncIterator[tuple[Site, Bus]]:
    """The site of a folder, and the log on which it runs. UnreachableError: no broker there, or no site on it."""
    silence_logs()
    site = load_site(site_dir)
    given: dict[str, Any] = {"broker": {"bootstrap": bootstrap}} if bootstrap else {}
    broker = load_settings(site_dir / "headrace.yaml", option="--bootstrap", **given).broker
    bus = KafkaBus(broker, "--bootstrap") if bootstrap else KafkaBus(broker)
    try:
        if not await bus.partitions(ALARMS.name):
            raise UnreachableError(
                f"the broker at {broker.bootstrap} has no topic 'alarms': start the site "
                "with `headrace up`, or create its topics"
            )
        yield site, bus
    finally:
        await bus.close()


async def last_words(
    bus: Bus, reader: Reader, units: Container[str], words: LastWords | None = None
) -> dict[str, Alarm]:
    """The last word on each alarm of these units, by key; the reader goes on behind them. UnreachableError."""
    words = words or LastWords()
    last: dict[str, Alarm] = {}
    async for record in up_to_the_end(bus, reader, ALARMS.name):
        last.update({alarm.key: alarm for alarm in decoded([record], units, words)})
    return last


def decoded(records: Iterable[Record], units: Container[str], words: LastWords) -> Iterator[Alarm]:
    """Words that win, on alarms of these units: a broker may serve several sites. What can't be read is said."""
    for record in records:
        if not words.wins(record):
            continue
        try:
            output = decode_output(record.headers, record.value)
        except UndecodableError as error:
            print(f"alarms: offset {record.offset} can't be read: {printable(str(error))}", file=sys.stderr)
            continue
        if isinstance(output, Alarm) and output.unit in units:
            yield output
