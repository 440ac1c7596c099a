"""What an operator does about alarms from the command line: `headrace ack`, `shelve` and their like.

Rules: an action is an input of the unit's engine, which decides; its answer is read from the journal, where everybody
finds it. A pattern finds alarms of which the action makes sense; an alarm that is named in full is asked for in any
case, so that the reason of a refusal is told.
"""

from __future__ import annotations

import asyncio
import getpass
import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from gateways.cli.alarm_list import last_words, running_site
from gateways.cli.durations import duration_s
from gateways.cli.tables import print_table
from rules.alarms.life_cycle import NEEDS_ACKNOWLEDGEMENT
from rules.engine.inputs import ACTION_SOURCE, Action, ActionKind, Identity
from rules.engine.outputs import Alarm, Entry
from rules.errors import ConfigurationError, UndecodableError, UnreachableError
from rules.findings import Finding, nearest
from rules.site.model import Site
from streams.bus import Bus, Reader
from streams.log_limit import silence_logs
from streams.replay_mark import replay_of
from streams.topics import ALARMS, EVENTS, JOURNAL
from streams.wire import decode_output, encode_input

ANSWER_S: Final = 10.0
_READ_S: Final = 0.2

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


class Wanted(NamedTuple):
    """What is to be done, by whom and why; `for_ns`: of a silence, how long it lasts."""

    kind: ActionKind
    by: str
    comment: str = ""
    for_ns: int = 0
    one_shot: bool = False


class Answer(NamedTuple):
    """What the engine said of one alarm: `kind` of its entry, `reason` of a refusal."""

    alarm: str
    kind: str
    reason: str


def act_on(site_dir: Path, names: Sequence[str], wanted: Wanted, bootstrap: str | None, as_json: bool) -> int:
    """0, or 1 where one is refused. ConfigurationError: no such alarm; UnreachableError: nobody answers."""
    silence_logs()
    answers = asyncio.run(_act_on(site_dir, names, wanted, bootstrap))
    if as_json:
        for one in answers:
            print(orjson.dumps(one._asdict()).decode())
    elif not answers:
        print("nothing to do: no alarm of these names is in such a state")
    else:
        rows = [(one.alarm, one.kind.removeprefix("alarm-"), one.reason) for one in answers]
        print_table(("alarm", "answer", ""), rows)
    return 1 if any(one.reason for one in answers) else 0


def who(by: str | None) -> str:
    """Who acts: the name that is given, or that of the account. ConfigurationError: it has odd characters."""
    name = by or getpass.getuser()
    if not name.isprintable() or ":" in name or "/" in name or len(name) > 64:
        text = f"'{name}' is no name: printable, without ':' and '/', 64 characters at most"
        raise ConfigurationError([Finding("--by", 0, 0, text, "")])
    return name


def time_ns(text: str, option: str) -> int:
    """A length of time that was typed, in ns."""
    return round(duration_s(text, option) * 1e9)


async def _act_on(
    site_dir: Path, names: Sequence[str], wanted: Wanted, bootstrap: str | None
) -> list[Answer]:
    async with running_site(site_dir, bootstrap) as (site, bus):
        if (replay := await replay_of(bus)) is not None:
            raise UnreachableError(f"a replay of {replay.recording} runs there: nobody takes actions")
        reader = await bus.reader([ALARMS.name])
        try:
            alarms = await last_words(bus, reader, site.units)
        finally:
            await reader.close()
        chosen = [one for name in names for one in _named(name, alarms, wanted.kind, site)]
        actions = _actions(list(dict.fromkeys(chosen)), alarms, wanted)
        return await _sent(bus, actions) if actions else []


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


def _actions(keys: Sequence[str], alarms: Mapping[str, Alarm], wanted: Wanted) -> dict[str, Action]:
    """By alarm. Sequences are counted per unit; the epoch is now, so that each call is a writer of its own."""
    epoch, counts, actions = time.time_ns(), dict[str, int](), dict[str, Action]()
    for key in keys:
        unit, rule, asset = key.split(":", 2)
        counts[unit] = counts.get(unit, 0) + 1
        known = alarms.get(key)
        actions[key] = Action(
            unit,
            Identity(f"{ACTION_SOURCE}{wanted.by}", epoch, counts[unit]),
            wanted.kind,
            rule,
            asset,
            wanted.by,
            epoch,
            known.raised_id if known else "",
            epoch + wanted.for_ns if wanted.for_ns else 0,
            wanted.one_shot,
            wanted.comment,
        )
    return actions


async def _sent(bus: Bus, actions: Mapping[str, Action]) -> list[Answer]:
    partitions = await bus.partitions(EVENTS.name)
    journal = await bus.reader([JOURNAL.name], await bus.ends(JOURNAL.name))
    producer = await bus.producer("alarm-actions")
    try:
        for action in actions.values():
            await producer.send(encode_input(action, partitions))
        await producer.flush()
        return await _answers(journal, actions)
    finally:
        await producer.close()
        await journal.close()


async def _answers(journal: Reader, actions: Mapping[str, Action]) -> list[Answer]:
    """In the order of the actions."""
    waiting = {":".join(map(str, (action.unit, *action.identity))): key for key, action in actions.items()}
    answers: dict[str, Answer] = {}
    until_s = time.monotonic() + ANSWER_S
    while waiting:
        if time.monotonic() > until_s:
            raise UnreachableError(
                f"said, but no answer within {ANSWER_S:.0f} s on {', '.join(sorted(waiting.values())[:5])}: "
                "is its worker running? `headrace alarms` shows what has become of it"
            )
        for record in await journal.read(_READ_S):
            try:
                entry = decode_output(record.headers, record.value)
            except UndecodableError:
                continue
            key = waiting.pop(entry.id.rpartition(":")[0], None) if isinstance(entry, Entry) else None
            if key is not None and isinstance(entry, Entry):
                answers[key] = Answer(key, entry.kind, str(entry.detail.get("reason", "")))
    return [answers[key] for key in actions]
