"""`headrace replay`: what a recording does to the engine, as a table or as one JSON object."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from gateways.cli.tables import print_table
from gateways.plain import plain_alarm, plain_gap
from rules.engine.outputs import Alarm, Command
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.recorded_site import refuse_two_sites
from streams.recording import Recording
from streams.replay import OUTPUT_TOPICS, Replay, choose_site
from streams.replay import replay as run_replay
from streams.segments import with_segments
from streams.times import iso_utc
from streams.verification import Verification

SHOWN = 40


def replay_recordings(
    paths: list[Path], site_dir: Path | None, rules: Path | None, verify: bool, as_json: bool
) -> int:
    """0, or 1 where recorded outputs differ, inputs are missing or another site lacks some of its units.

    Other rules give other outputs: then nothing is compared. ConfigurationError: a file or a folder is wrong.
    """
    recordings = [Recording(path) for path in with_segments(paths)]
    refuse_two_sites(recordings)
    chosen = choose_site(recordings[0], site_dir, rules)
    result = run_replay(recordings, chosen, verify and chosen.recorded is not None)
    if site_dir is not None and result.is_foreign:
        raise ConfigurationError([_foreign(recordings[0], site_dir, result)])
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(as_dict(result)) + b"\n")
    else:
        _print(result)
    differs = result.verification is not None and result.verification.differences > 0
    leaves_out = site_dir is not None and bool(result.unknown_units)
    lacks = result.damage or result.missing or result.missed
    return 1 if differs or lacks or leaves_out else 0


def _foreign(recording: Recording, site_dir: Path, result: Replay) -> Finding:
    units = ", ".join(sorted(result.unknown_units)[:SHOWN])
    what = f"has none of its units ({units})" if units else "has none of its points and GPUs"
    of_site = f" of site '{recording.metadata['site']}'" if "site" in recording.metadata else ""
    text = f"{recording.path} is a recording{of_site}: site '{result.site.name}' {what}"
    return Finding(str(site_dir), 0, 0, text, "without --site it is replayed with the site that it carries")


def as_dict(result: Replay) -> dict[str, Any]:
    """The result as plain data; the same recording gives the same bytes."""
    found = result.verification
    return {
        "site": result.site.name,
        "site_digest": result.site.digest,
        "rules_digest": result.program.digest,
        "from": None if result.first_ns is None else iso_utc(result.first_ns),
        "to": None if result.last_ns is None else iso_utc(result.last_ns),
        "inputs": result.counter("inputs"),
        "readings": result.readings,
        "not_available": result.not_available,
        "frames": result.frames,
        "ticks": result.counter("ticks"),
        "lost": result.counter("inputs_missing"),
        "duplicates": result.counter("repeats"),
        "late": result.counter("late"),
        "out_of_order": result.counter("out_of_order"),
        "unknown_units": sorted(result.unknown_units),
        "dead_letters": dict(sorted(result.undecodable.items())),
        "gaps": [plain_gap(gap) for gap in result.gaps],
        "alarms": [plain_alarm(alarm, result.raised[alarm.raised_id]) for alarm in _sorted_alarms(result)],
        "commands": [_command(command) for command in _sorted_commands(result)],
        "counters": result.counters,
        "digests": {topic: result.digest(topic) for topic in OUTPUT_TOPICS},
        "verification": None
        if found is None
        else {
            "compared": found.compared,
            "differences": found.differences,
            "after_end": found.after_end,
            "beyond_the_end": found.beyond_the_end,
            "not_compared": found.not_compared,
            "first": None
            if found.first is None
            else {
                "topic": found.first.topic,
                "id": found.first.id,
                "recorded": found.first.recorded,
                "replayed": found.first.replayed,
            },
        },
        "damage": result.damage,
        "missed": result.missed,
        "facts_made": result.facts_made,
        "missing": [
            {
                "partition": one.partition,
                "records": one.records,
                "first_offset": one.first_offset,
                "last_offset": one.last_offset,
                "from": iso_utc(one.from_ns),
                "to": iso_utc(one.to_ns),
            }
            for _, one in sorted(result.missing.items())
        ],
    }


def _sorted_alarms(result: Replay) -> list[Alarm]:
    return sorted(result.alarms.values(), key=lambda alarm: (alarm.raised_ns, alarm.key))


def _sorted_commands(result: Replay) -> list[Command]:
    return sorted(result.commands, key=lambda command: (command.cause_ns, command.id))


def _command(command: Command) -> dict[str, Any]:
    return {
        "id": command.id,
        "rule": command.rule,
        "unit": command.unit,
        "asset": command.asset,
        "actuator": command.actuator,
        "value": command.value,
        "engineering_unit": command.engineering_unit,
        "cause_at": iso_utc(command.cause_ns),
        "expires_at": iso_utc(command.expires_ns),
    }


def _print(result: Replay) -> None:
    dead = sum(result.undecodable.values())
    print(
        f"{result.site.name}: {result.readings:,} readings in {result.counter('inputs'):,} inputs, "
        f"{len(result.gaps)} gaps, {result.counter('inputs_missing')} lost, "
        f"{result.counter('repeats')} duplicates, {result.counter('late')} late, "
        f"{result.counter('out_of_order')} out of order, {dead} undecodable"
    )
    if result.unknown_units:
        print(
            f"{result.undecodable['unknown-unit']:,} inputs are of units that the site lacks: "
            f"{', '.join(sorted(result.unknown_units)[:SHOWN])}"
        )
    alarms, commands = _sorted_alarms(result), _sorted_commands(result)
    print(f"\n{len(alarms)} alarms")
    if alarms:
        print_table(
            ("raised", "cleared", "severity", "rule", "asset", "message"),
            [_alarm_row(alarm, result) for alarm in alarms[:SHOWN]],
        )
    print(f"\n{len(commands)} commands")
    if commands:
        print_table(
            ("at", "rule", "actuator", "value"), [_command_row(command) for command in commands[:SHOWN]]
        )
    print()
    hidden = (("alarms", len(alarms) - SHOWN), ("commands", len(commands) - SHOWN))
    more = [f"{count} more {what}" for what, count in hidden if count > 0]
    if more:
        print(f"and {' and '.join(more)}: --json has all")
    if result.facts_made is not None:
        print(f"{result.facts_made} facts between units were made anew, none taken from the recording")
    for line in result.damage:
        print(f"the recording is damaged: {line}")
    for line in result.missed:
        print(line)
    for _, missing in sorted(result.missing.items()):
        print(
            f"inputs are missing: {missing.records} of partition {missing.partition}, offsets "
            f"{missing.first_offset} to {missing.last_offset}, recorded between {iso_utc(missing.from_ns)} "
            f"and {iso_utc(missing.to_ns)}"
        )
    for line in _comparison(result.verification):
        print(line)


def _alarm_row(alarm: Alarm, result: Replay) -> tuple[str, ...]:
    cleared = "" if alarm.cleared_ns is None else _to_ms(alarm.cleared_ns)
    message = result.raised[alarm.raised_id].message
    return _to_ms(alarm.raised_ns), cleared, alarm.severity, alarm.rule, alarm.asset, message


def _command_row(command: Command) -> tuple[str, ...]:
    value = f"{command.value:g} {command.engineering_unit}"
    return _to_ms(command.cause_ns), command.rule, command.actuator, value


def _to_ms(time_ns: int) -> str:
    return iso_utc(time_ns)[:23]


def _comparison(found: Verification | None) -> Iterator[str]:
    """What was compared, and how it went, in words."""
    if found is None:
        yield "nothing to compare with"
        return
    if found.first is None and not found.compared:
        yield "nothing could be compared"
    elif found.first is None:
        where = " before the damage" if found.not_compared else ""
        yield f"the {found.compared} recorded outputs{where} are the same, byte for byte"
    if found.first is not None:
        yield f"{found.differences} outputs differ; the first: {found.first.topic} {found.first.id}"
        yield f"  recorded: {found.first.recorded or 'none'}"
        yield f"  replayed: {found.first.replayed or 'none'}"
    if found.after_end:
        yield f"{found.after_end} replayed outputs follow the last recorded one: the recording ends before them"
    if found.beyond_the_end:
        yield f"{found.beyond_the_end} recorded outputs follow from inputs beyond the end of the recording"
    if found.not_compared:
        yield (
            f"{found.not_compared} recorded outputs lie behind the damage: nothing can be compared from there on, "
            "for the engine had inputs that are missing here"
        )
