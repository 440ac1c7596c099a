"""What a replay has found: what came in, what came of it, and between what it can be compared.

Rules: what comes twice is counted once; a fact and a line of the journal are known by what they say, not by their
numbers, as a recording that began later counts them otherwise (`headrace journal verify` is for the chain).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from rules.alarms.annunciation import is_annunciated
from rules.engine.inputs import Fact, Frame, Gap, Identity, Input, Readings
from rules.engine.outputs import Alarm, Command, Entry, Output
from rules.language.program import Program
from rules.quality import Quality
from rules.site.model import Site
from streams.recording.missing import Missing
from streams.replay.start import WHOLE, Part
from streams.replay.verification import InputsBegin, Verification
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL
from streams.wire import encode_input, encode_output

Hear = Callable[[str, str, str, bytes], None]
"""Hears topic, unit, id and bytes of each output; of a fact, who told whom."""

OUTPUT_TOPICS: Final = (ALARMS.name, COMMANDS.name, JOURNAL.name)


@dataclass(slots=True)
class Replay:
    """What came in, and what came of it. `readings`: values that were there, without `not_available`."""

    site: Site
    program: Program
    part: Part = WHOLE
    frames: int = 0
    readings: int = 0
    not_available: int = 0
    first_ns: int | None = None
    last_ns: int | None = None
    gaps: list[Gap] = field(default_factory=list)
    undecodable: Counter[str] = field(default_factory=Counter)
    unknown_units: set[str] = field(default_factory=set)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    sums: Counter[str] = field(default_factory=Counter)
    """By topic the sum of the SHA-256 of each output."""

    raised: dict[str, Alarm] = field(default_factory=dict)
    alarms: dict[str, Alarm] = field(default_factory=dict)
    """First and last word on each occurrence of an alarm, by the id of its raising."""

    annunciated: dict[str, list[int]] = field(default_factory=dict)
    """When each was, by the id of its raising; of what nobody heard nothing."""

    commands: list[Command] = field(default_factory=list)
    ends_ns: dict[str, int] = field(default_factory=dict)
    """The last tick that each unit's engine has heard, 0 before the first."""

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

    files: tuple[int, int] = (0, 0)
    """The first and the last recording that were read, counted from 0."""

    facts_made: int | None = None
    """How many reached their units anew; None where the recorded ones, if any, were the inputs."""

    is_partial: bool = False
    """Whether it was ended before the end: all here is of what was read until then."""

    behind_damage: int = 0
    """Records of `events` that follow the first damage."""

    def add(self, other: Replay) -> None:
        """What another share of the units of the same part has found. What every share finds alike stays as it is."""
        self.frames += other.frames
        self.readings += other.readings
        self.not_available += other.not_available
        self.first_ns = min((ns for ns in (self.first_ns, other.first_ns) if ns is not None), default=None)
        self.last_ns = max((ns for ns in (self.last_ns, other.last_ns) if ns is not None), default=None)
        self.gaps += other.gaps
        self.undecodable += other.undecodable
        self.counters |= other.counters
        self.sums += other.sums
        self.raised |= other.raised
        self.alarms |= other.alarms
        self.annunciated |= other.annunciated
        self.commands += other.commands
        self.ends_ns |= other.ends_ns
        self.begins |= other.begins
        self.silent |= other.silent

    def put_in_order(self) -> None:
        """Units as the site has them, gaps by their time: however it was put together."""
        units = [unit for unit in self.site.units if unit in self.ends_ns]
        self.counters = {unit: self.counters[unit] for unit in units}
        self.ends_ns = {unit: self.ends_ns[unit] for unit in units}
        self.gaps.sort(key=lambda gap: (gap.from_ns, gap.to_ns, gap.unit, gap.identity))

    def digest(self, topic: str) -> str:
        """Of a topic's outputs in any order: the sum of their SHA-256, modulo 2**256."""
        return f"{self.sums[topic] % (1 << 256):064x}"

    def counter(self, name: str) -> int:
        """An engine's counter, summed over the units."""
        return sum(counters[name] for counters in self.counters.values())

    @property
    def now_ns(self) -> int:
        """The last tick that an engine has heard."""
        return max(self.ends_ns.values(), default=0)

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


def _note_times(times_ns: list[int], result: Replay) -> None:
    if times_ns:
        first_ns, last_ns = min(times_ns), max(times_ns)
        result.first_ns = first_ns if result.first_ns is None else min(result.first_ns, first_ns)
        result.last_ns = last_ns if result.last_ns is None else max(result.last_ns, last_ns)


def keep(output: Output, result: Replay, heard_by: Sequence[Hear] = ()) -> None:
    """Add an output, and tell who hears it."""
    if isinstance(output, Fact):
        for hear in heard_by:
            hear(*told(output))
        return
    message = encode_output(output, 1)
    value = message.value or b""
    result.sums[message.topic] += int.from_bytes(hashlib.sha256(value).digest(), "big")
    if heard_by:
        value = compared(output, value)
    for hear in heard_by:
        hear(message.topic, output.unit, output.id, value)
    if isinstance(output, Alarm) and output.raised_id:
        result.raised.setdefault(output.raised_id, output)
        if is_annunciated(result.alarms.get(output.raised_id), output):
            result.annunciated.setdefault(output.raised_id, []).append(output.at_ns)
        result.alarms[output.raised_id] = output
    elif isinstance(output, Command):
        result.commands.append(output)


_PLACE_IN_CHAIN: Final = re.compile(rb',"number":\d+,"previous":"[0-9a-f]*"(?=},"id":)')


def compared(output: Output, value: bytes) -> bytes:
    """The bytes by which an output is known: its `value`, of a line of the journal without its place in the chain."""
    return without_place(value) if isinstance(output, Entry) else value


def without_place(value: bytes) -> bytes:
    """A line of the journal without its place in the chain; other outputs as they are."""
    return _PLACE_IN_CHAIN.sub(b"", value, 1)


def told(fact: Fact) -> tuple[str, str, str, bytes]:
    """A fact as `Hear` has it: its topic, who was told by whom, an id, and what it says without its number.

    The id says what is told, and of when: a recording that began later counts the sender's facts otherwise.
    """
    unnumbered = replace(fact, identity=Identity(fact.identity.source, 0, 0))
    pair = f"{fact.unit}:{fact.identity.source}"
    return EVENTS.name, pair, f"{pair}:{fact.name}:{fact.time_ns}", encode_input(unnumbered, 1).value or b""
