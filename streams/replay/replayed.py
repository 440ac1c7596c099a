"""What a replay has found: what came in, what came of it, and between what it can be compared.

Rules: what comes twice is counted once; a fact is known by what it says, not by its number, as a recording that began
later counts its sender's facts otherwise.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from rules.engine.inputs import Fact, Frame, Gap, Identity, Input, Readings
from rules.engine.outputs import Alarm, Command, Output
from rules.language.program import Program
from rules.quality import Quality
from rules.site.model import Site
from streams.recording.missing import Missing
from streams.replay.verification import InputsBegin, InputsEnd, Verification
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL
from streams.wire import encode_input, encode_output

OUTPUT_TOPICS: Final = (ALARMS.name, COMMANDS.name, JOURNAL.name)


@dataclass(slots=True)
class Replay:
    """What came in, and what came of it. `readings`: values that were there, without `not_available`."""

    site: Site
    program: Program
    frames: int = 0
    readings: int = 0
    not_available: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    gaps: list[Gap] = field(default_factory=list)
    undecodable: Counter[str] = field(default_factory=Counter)
    unknown_units: set[str] = field(default_factory=set)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    outputs: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    """Bytes by id, in the order of the engine, by (topic, unit)."""

    raised: dict[str, Alarm] = field(default_factory=dict)
    alarms: dict[str, Alarm] = field(default_factory=dict)
    """First and last word on each occurrence of an alarm, by the id of its raising."""

    commands: list[Command] = field(default_factory=list)
    ends: dict[str, InputsEnd] = field(default_factory=dict)
    begins: dict[str, InputsBegin] = field(default_factory=dict)
    """Of the units that were restored from a snapshot: all else here is of what came behind it."""

    silent: set[str] = field(default_factory=set)
    """Points of which no engine took in a sample, neither here nor in the snapshot that it began with."""

    verification: Verification | None = None
    damage: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    """What nobody recorded of logs that were replaced by fresh ones."""

    missing: Mapping[tuple[str, int], Missing] = field(default_factory=dict)
    """Records of `events` that are missing, by topic and partition."""

    facts_recorded: dict[tuple[str, str], dict[str, Fact]] = field(default_factory=dict)
    """Told while it was recorded, by what they say, by (topic, who told whom)."""

    facts_made: int | None = None
    """How many reached their units anew; None where the recorded ones, if any, were the inputs."""

    is_partial: bool = False
    """Whether it was ended before the end: all here is of what was read until then."""

    behind_damage: int = 0
    """Records of `events` that follow the first damage."""

    def digest(self, topic: str) -> str:
        """SHA-256 of a topic's outputs in the order of their ids."""
        outputs: dict[str, bytes] = {}
        for (name, _), said in self.outputs.items():
            outputs.update(said if name == topic else {})
        lines = (id_.encode() + b"\0" + outputs[id_] + b"\n" for id_ in sorted(outputs))
        return hashlib.sha256(b"".join(lines)).hexdigest()

    def counter(self, name: str) -> int:
        """An engine's counter, summed over the units."""
        return sum(counters[name] for counters in self.counters.values())

    @property
    def is_foreign(self) -> bool:
        """Whether the site knows none of the recorded units, or none of their points and GPUs."""
        unknown = self.counter("unknown_points") + self.counter("unknown_gpus")
        not_evaluated = self.counter("backfill") + self.counter("before_first_tick")
        known = self.counter("readings") - not_evaluated - unknown
        return known <= 0 < unknown + self.undecodable["unknown-unit"]


def count(value: Input, result: Replay) -> None:
    """Add an input."""
    if isinstance(value, Frame):
        missing = int(np.count_nonzero(np.isnan(value.values)))
        result.frames += 1
        result.not_available += missing
        result.readings += value.values.size - missing
        _note_times(value.time_ns.tolist(), result)
    elif isinstance(value, Readings):
        missing = int(np.count_nonzero(value.quality == Quality.MISSING))
        result.not_available += missing
        result.readings += len(value.points) - missing
        if len(value.points):
            _note_times([int(value.time_ns.min()), int(value.time_ns.max())], result)
    elif isinstance(value, Gap):
        result.gaps.append(value)
    elif isinstance(value, Fact):
        note_fact(value, result)


def note_fact(fact: Fact, result: Replay) -> None:
    """Add what one unit has told another, as it was recorded."""
    result.facts_recorded.setdefault(_told_to(fact), {})[_name_of(fact)] = fact


def _note_times(times_ns: list[int], result: Replay) -> None:
    if times_ns:
        first_ns, last_ns = min(times_ns), max(times_ns)
        result.first_ns = first_ns if result.first_ns is None else min(result.first_ns, first_ns)
        result.last_ns = last_ns if result.last_ns is None else max(result.last_ns, last_ns)


def keep(output: Output, result: Replay) -> None:
    """Add an output."""
    if isinstance(output, Fact):
        result.outputs.setdefault(_told_to(output), {})[_name_of(output)] = content_of(output)
        return
    message = encode_output(output, 1)
    result.outputs.setdefault((message.topic, output.unit), {})[output.id] = message.value or b""
    if isinstance(output, Alarm):
        result.raised.setdefault(output.raised_id, output)
        result.alarms[output.raised_id] = output
    elif isinstance(output, Command):
        result.commands.append(output)


def _told_to(fact: Fact) -> tuple[str, str]:
    return EVENTS.name, f"{fact.unit}:{fact.identity.source}"


def _name_of(fact: Fact) -> str:
    """What is told, and when: a recording that began later counts the sender's facts otherwise."""
    return f"{fact.unit}:{fact.identity.source}:{fact.name}:{fact.time_ns}"


def content_of(fact: Fact) -> bytes:
    """What it says, without its number."""
    return encode_input(replace(fact, identity=Identity(fact.identity.source, 0, 0)), 1).value or b""
