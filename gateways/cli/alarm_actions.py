"""What an operator does about alarms from the command line: `headrace ack`, `shelve` and their like.

Rules: a pattern finds alarms of which the action makes sense; an alarm that is named in full is asked for in any case,
so that the reason of a refusal is told. Who has a key signs with it, and acts as the user whose it is.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from gateways.access.signing import Acting, Who, acting, unknown_key
from gateways.actions import Answer, Wanted, action_sender
from gateways.cli.alarm_list import last_words, running_site
from gateways.cli.durations import duration_s
from gateways.cli.tables import print_table
from gateways.cli.workers import refuse_other_site
from rules.alarms.life_cycle import NEEDS_ACKNOWLEDGEMENT
from rules.engine.inputs import ActionKind
from rules.engine.outputs import Alarm
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.site.model import Site
from streams.topics import ALARMS

_MAKES_SENSE: Final[Mapping[ActionKind, Callable[[Alarm], bool]]] = {
    "acknowledge": lambda alarm: alarm.state in NEEDS_ACKNOWLEDGEMENT,
    "confirm": lambda alarm: alarm.acknowledged_ns is not None and alarm.confirmed_ns is None,
    "reset": lambda alarm: alarm.state == "latched-acknowledged",
    "shelve": lambda alarm: alarm.state not in ("normal", "shelved", "out-of-service"),
    "unshelve": lambda alarm: alarm.shelved_until_ns is not None,
    "remove-from-service": lambda alarm: alarm.state not in ("normal", "out-of-service"),
    "return-to-service": lambda alarm: alarm.out_of_service_until_ns is not None,
    "comment": lambda alarm: alarm.state != "normal",
}


class Asked(NamedTuple):
    """What was typed: the names of alarms, and what is to be done about them. `for_ns`: how long a silence lasts."""

    names: Sequence[str]
    kind: ActionKind
    comment: str = ""
    for_ns: int = 0
    one_shot: bool = False


def act_on(site_dir: Path, asked: Asked, who: Who, bootstrap: str | None, as_json: bool) -> int:
    """0, or 1 where one is refused.

    ConfigurationError: no such alarm, a text in another encoding, or another site is running there; UnreachableError:
    nobody answers.
    """
    for text in (*asked.names, asked.comment):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ConfigurationError([Finding(repr(text), 0, 0, "is not in UTF-8", "")]) from None
    me = acting(site_dir, who)
    answers = asyncio.run(_act_on(site_dir, asked, me, bootstrap))
    if as_json:
        for one in answers:
            print(orjson.dumps(one._asdict()).decode())
    elif not answers:
        print("nothing to do: no alarm of these names is in such a state")
    else:
        rows = [(one.alarm, one.kind.removeprefix("alarm-"), one.reason) for one in answers]
        print_table(("alarm", "answer", ""), rows)
    is_refused = any(one.reason for one in answers)
    if is_refused and me.key is not None and not me.is_known:
        print(unknown_key(site_dir, me.key), file=sys.stderr)
    return 1 if is_refused else 0


def time_ns(text: str, option: str) -> int:
    """A length of time that was typed, in ns."""
    return round(duration_s(text, option) * 1e9)


async def _act_on(site_dir: Path, asked: Asked, me: Acting, bootstrap: str | None) -> list[Answer]:
    async with running_site(site_dir, bootstrap) as (site, bus):
        await refuse_other_site(bus, site, site_dir)
        reader = await bus.reader([ALARMS.name])
        try:
            alarms = await last_words(bus, reader, site.units)
        finally:
            await reader.close()
        chosen = [one for typed in asked.names for one in _named(typed, alarms, asked.kind, site)]
        wanted = [_wanted(one, asked, me.name, alarms.get(one)) for one in dict.fromkeys(chosen)]
        async with action_sender(bus, site, me.name, me.key) as sender:
            return await asyncio.gather(*map(sender.act, wanted))


def _named(name: str, alarms: Mapping[str, Alarm], kind: ActionKind, site: Site) -> list[str]:
    """The alarms that a name stands for. ConfigurationError: none that there is."""
    if not any(letter in name for letter in "*?["):
        unit, *rest = name.split(":", 1)
        if unit not in site.units or not rest or ":" not in rest[0]:
            hint = (
                nearest(name, list(alarms))
                or "its name is unit:rule:asset, as `headrace alarms --json` has it"
            )
            raise ConfigurationError([Finding(name, 0, 0, "there is no such alarm", hint)])
        return [name]
    found = [key for key in sorted(alarms) if fnmatchcase(key, name)]
    if not found:
        hint = "a pattern is for the whole name, unit:rule:asset, such as 'row-a:gpu-*:R01-*'"
        raise ConfigurationError([Finding(name, 0, 0, "no alarm has such a name", hint)])
    return [key for key in found if _MAKES_SENSE[kind](alarms[key])]


def _wanted(alarm: str, asked: Asked, by: str, known: Alarm | None) -> Wanted:
    occurrence = "" if known is None else known.raised_id
    unit, rule, asset = alarm.split(":", 2)
    return Wanted(asked.kind, unit, rule, asset, by, asked.comment, occurrence, asked.for_ns, asked.one_shot)
