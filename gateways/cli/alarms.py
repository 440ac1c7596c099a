"""`headrace alarms`: the alarm list of a running site, from the compacted topic `alarms`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, get_args

import orjson

from gateways.cli.alarm_list import decoded, last_words, running_site
from gateways.cli.tables import print_table
from gateways.plain import plain_alarm, told
from gateways.printable import printable
from rules.alarms.annunciation import SILENT
from rules.engine.outputs import Alarm, Severity
from streams.last_words import LastWords
from streams.replay_mark import replay_of
from streams.times import iso_utc
from streams.topics import ALARMS

ORDER: Final = {severity: place for place, severity in enumerate(get_args(Severity))}
"""Most severe first."""


def show_alarms(site: Path, follow: bool, bootstrap: str | None, as_json: bool) -> int:
    """Print the alarms that stand (with `--json` all last words); then, with `follow`, every transition.

    The most severe ones come first, then the older ones. UnreachableError: no broker, or no topic.
    """
    return asyncio.run(_show(site, follow, bootstrap, as_json))


async def _show(site_dir: Path, follow: bool, bootstrap: str | None, as_json: bool) -> int:
    async with running_site(site_dir, bootstrap) as (site, bus):
        replay = await replay_of(bus)
        if replay is not None:
            print(f"a replay of {printable(replay.recording)}, not a plant", file=sys.stderr)
        reader, words = await bus.reader([ALARMS.name]), LastWords()
        try:
            _print((await last_words(bus, reader, site.units, words)).values(), as_json)
            while follow:
                for alarm in decoded(await reader.read(timeout_s=1.0), site.units, words):
                    _print_transition(alarm, as_json)
        finally:  # Ctrl-C and a reader who has had enough end it here
            await reader.close()
    return 0


def _print_transition(alarm: Alarm, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps(plain_alarm(alarm)).decode(), flush=True)
        return
    print(
        f"{iso_utc(alarm.at_ns):30} {alarm.state:23} {alarm.severity:7} {printable(f'{alarm.rule} {alarm.asset}')} "
        f"{told(alarm)}",
        flush=True,
    )


def _print(alarms: Iterable[Alarm], as_json: bool) -> None:
    ordered = sorted(
        alarms, key=lambda one: (one.state in SILENT, ORDER[one.severity], one.raised_ns, one.key)
    )
    if as_json:
        for alarm in ordered:
            print(orjson.dumps(plain_alarm(alarm)).decode())
        return
    standing = [alarm for alarm in ordered if alarm.state != "normal"]
    if not standing:
        print("no alarm stands")
        return
    print_table(
        ("since", "severity", "state", "rule", "unit", "asset", "message"),
        [
            (_since(one), one.severity, one.state, one.rule, one.unit, one.asset, told(one))
            for one in standing
        ],
    )


def _since(alarm: Alarm) -> str:
    """When it went off; when it was silenced, where it never did."""
    return iso_utc(alarm.raised_ns if alarm.raised_id else alarm.at_ns)[:23]
