"""`headrace replay`: what a recording does to the engine, as a table or as one JSON object."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from gateways.cli.replay_pace import paced, speed_of
from gateways.cli.replay_part import part_of
from gateways.cli.tables import print_table
from gateways.plain import plain_alarm, plain_gap
from gateways.printable import printable
from rules.engine.outputs import Alarm, Command
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.recording.missing import Missing
from streams.recording.recorded_site import refuse_two_sites
from streams.recording.recording import Recording
from streams.recording.segments import open_recordings
from streams.replay.divergence import Explanation, explain
from streams.replay.processes import jobs_for
from streams.replay.replay import BATCH
from streams.replay.replay import replay as run_replay
from streams.replay.replayed import OUTPUT_TOPICS, Replay
from streams.replay.rules import choose_site
from streams.replay.start import WHOLE
from streams.replay.verification import Verification
from streams.times import iso_utc

SHOWN = 40
INTERRUPTED = 130
"""The exit code of a command that Ctrl-C has ended."""


def replay_recordings(
    paths: list[Path],
    site_dir: Path | None,
    rules: Path | None,
    verify: bool,
    as_json: bool,
    part: tuple[str | None, str | None, list[str]] = (None, None, []),
    speed: str = "max",
    jobs: int | None = None,
) -> int:
    """0, or 1 where recorded outputs differ, inputs are missing or another site lacks some of its units.

    `part`: where it begins and ends, as typed, and the units. `jobs`: processes, None for as many as pay. Other rules
    give other outputs: then nothing is compared. 130 where Ctrl-C has ended it: the answer is of what was read.
    ConfigurationError: a file, a folder, a moment or a speed is wrong. UnreachableError: a process has died.
    """
    recordings = open_recordings(paths)
    refuse_two_sites(recordings)
    chosen = choose_site(recordings[0], site_dir, rules)
    of = part_of(recordings, *part, chosen.site.units)
    times = speed_of(speed)
    batch, count = (BATCH, jobs_for(recordings, of, jobs)) if times is None else (1, 1)
    with paced(recordings, of, times) as pace:
        verifies = verify and chosen.recorded is not None
        result = run_replay(recordings, chosen, verifies, of, pace, batch, jobs=count)
    if site_dir is not None:
        refuse_foreign(recordings[0], site_dir, result)
    first = result.verification.first if result.verification is not None else None
    explanation = None if first is None else explain(recordings, chosen.site.units, first)
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(as_dict(result, explanation)) + b"\n")
    else:
        _print(result)
        _print_part(result)
        _print_explanation(explanation)
    differs = result.verification is not None and result.verification.differences > 0
    if result.is_partial:
        return INTERRUPTED
    leaves_out = site_dir is not None and bool(result.unknown_units)
    lacks = result.damage or result.missing or result.missed
    return 1 if differs or lacks or leaves_out else 0


def refuse_foreign(recording: Recording, site_dir: Path, result: Replay) -> None:
    """ConfigurationError when a site that was given knows nothing of what was recorded."""
    if not result.is_foreign:
        return
    units = ", ".join(sorted(result.unknown_units)[:SHOWN])
    what = f"has none of its units ({units})" if units else "has none of its points and GPUs"
    of_site = f" of site '{recording.metadata['site']}'" if "site" in recording.metadata else ""
    text = f"{recording.path} is a recording{of_site}: site '{result.site.name}' {what}"
    hint = "without --site it is replayed with the site that it carries"
    raise ConfigurationError([Finding(str(site_dir), 0, 0, text, hint)])


def as_dict(result: Replay, explanation: Explanation | None = None) -> dict[str, Any]:
    """The result as plain data; the same recording gives the same bytes."""
    found, part = result.verification, result.part
    return {
        "site": result.site.name,
        "site_digest": result.site.digest,
        "rules_digest": result.program.digest,
        "from": None if result.first_ns is None else iso_utc(result.first_ns),
        "to": None if result.last_ns is None else iso_utc(result.last_ns),
        "partial": result.is_partial,
        "part": None
        if part == WHOLE
        else {
            "from": iso_utc(part.from_ns) if part.from_ns else None,
            "to": None if part.to_ns is None else iso_utc(part.to_ns),
            "units": sorted(part.units or result.site.units),
            "snapshots": {unit: iso_utc(begin.now_ns) for unit, begin in sorted(result.begins.items())},
        },
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
                **_explained(explanation),
            },
        },
        "damage": result.damage,
        "missed": result.missed,
        "facts_made": result.facts_made,
        "missing": plain_missing(result.missing),
    }


def plain_missing(missing: Mapping[tuple[str, int], Missing]) -> list[dict[str, Any]]:
    """Inputs that the recordings lack, by partition."""
    return [
        {
            "partition": one.partition,
            "records": one.records,
            "first_offset": one.first_offset,
            "last_offset": one.last_offset,
            "from": iso_utc(one.from_ns),
            "to": iso_utc(one.to_ns),
        }
        for _, one in sorted(missing.items())
    ]


def _explained(found: Explanation | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "fields": [one._asdict() for one in found.fields],
        "cause": None
        if found.offset is None
        else {
            "partition": found.partition,
            "offset": found.offset,
            "at": None if found.time_ns is None else iso_utc(found.time_ns),
        },
        "samples": [{"at": iso_utc(one.time_ns), "values": one.values} for one in found.samples],
    }


def _print_explanation(found: Explanation | None) -> None:
    if found is None:
        return
    for field in found.fields:
        print(printable(f"  {field.name}: recorded {field.recorded}, replayed {field.replayed}"))
    if found.offset is not None:
        at = "" if found.time_ns is None else f", {iso_utc(found.time_ns)}"
        print(f"  caused by offset {found.offset} of partition {found.partition}{at}")
    if found.samples:
        print("  the asset's last samples up to there:")
    for sample in found.samples:
        values = ", ".join(f"{name} {number:g}" for name, number in sample.values.items())
        print(printable(f"    {iso_utc(sample.time_ns)}  {values}"))


def _print_part(result: Replay) -> None:
    """From where the engines ran to come to the state at the beginning of the part."""
    if result.part.from_ns and result.begins:
        oldest_ns = min(begin.now_ns for begin in result.begins.values())
        print(f"run from snapshots on, the oldest of {iso_utc(oldest_ns)}")
    elif result.part.from_ns:
        print("run from the beginning: no snapshots before it that can be used")


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
    if result.is_partial:
        print(f"ended by Ctrl-C at {iso_utc(result.now_ns)}: partial")
    if result.unknown_units:
        print(
            f"{result.undecodable['unknown-unit']:,} inputs are of units that the site lacks: "
            f"{printable(', '.join(sorted(result.unknown_units)[:SHOWN]))}"
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
        print(printable(f"the recording is damaged: {line}"))
    for line in result.missed:
        print(printable(line))
    print_missing(result.missing)
    for line in _comparison(result.verification):
        print(printable(line))


def print_missing(missing: Mapping[tuple[str, int], Missing]) -> None:
    """A line for each partition that lacks inputs."""
    for _, one in sorted(missing.items()):
        print(
            f"inputs are missing: {one.records} of partition {one.partition}, offsets "
            f"{one.first_offset} to {one.last_offset}, recorded between {iso_utc(one.from_ns)} "
            f"and {iso_utc(one.to_ns)}"
        )


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
