"""Replay: a recording through the engine that ran it, unit by unit, in the order of the log.

Rules: the site and rules are those that the recording carries, unless others are given; nothing here knows the
time; outputs depend on the inputs on `events` alone, so that a copy without its outputs gives the same ones; what
can't be decoded is counted by its reason. Outputs that the recording holds are compared by id and bytes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from rules.engine.engine import Engine
from rules.engine.inputs import Frame, Gap, Input, Readings
from rules.engine.outputs import Alarm, Command, Output
from rules.errors import UndecodableError
from rules.language.program import Program
from rules.quality import Quality
from rules.site.model import Site
from streams.recorded_site import recorded_site
from streams.recording import Recording
from streams.rule_folder import load_program
from streams.site_folder import load_site
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL
from streams.wire import decode_input, decode_output, encode_output

OUTPUT_TOPICS: Final = (ALARMS.name, COMMANDS.name, JOURNAL.name)
BATCH: Final = 512
"""Inputs per call of the engine: how they are cut changes no output."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first output of a unit and topic that differs. `recorded` or `replayed` is empty where there is none."""

    topic: str
    id: str
    recorded: str
    replayed: str


@dataclass(slots=True)
class Verification:
    """Recorded against replayed outputs. `after_end`: replayed, and later than the last recorded one."""

    compared: int = 0
    after_end: int = 0
    differences: int = 0
    first: Divergence | None = None


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
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    outputs: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    """Bytes by id, in the order of the engine, by (topic, unit)."""

    alarms: dict[str, Alarm] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    verification: Verification | None = None
    damage: list[str] = field(default_factory=list)

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


def choose_site(recording: Recording, site_dir: Path | None, rules: Path | None) -> tuple[Site, Program]:
    """The recorded site and rules, or those of `site_dir`, or other `rules` (a folder or file) for either."""
    if site_dir is not None:
        site = load_site(site_dir)
        return site, load_program(site_dir, site, rules)
    site, program = recorded_site(recording)
    return site, (program if rules is None else load_program(Path(), site, rules))


def replay(recordings: Sequence[Recording], site: Site, program: Program, verify: bool) -> Replay:
    """Run the recordings, one after the other as one log; `verify`: compare the outputs that they hold, if any."""
    result = Replay(site, program)
    engines = {unit: Engine(program, site, unit) for unit in site.units}
    for unit, inputs in _batches(_events(recordings, result), result):
        for output in engines[unit].step(inputs):
            _keep(output, result)
    result.counters = {unit: dict(engine.counters) for unit, engine in engines.items()}
    result.damage = [line for recording in recordings for line in recording.damage]
    if verify:
        result.verification = _verify(_recorded_outputs(recordings), result)
    return result


def _events(recordings: Iterable[Recording], result: Replay) -> Iterator[Input]:
    for recording in recordings:
        for record in recording.records({EVENTS.name}):
            try:
                value = decode_input(record.key, record.headers, record.value)
            except UndecodableError as error:
                result.undecodable[error.reason] += 1
                continue
            if value.unit not in result.site.units:
                result.undecodable["unknown-unit"] += 1
                continue
            yield value


def _batches(inputs: Iterable[Input], result: Replay) -> Iterator[tuple[str, list[Input]]]:
    waiting: dict[str, list[Input]] = {unit: [] for unit in result.site.units}
    last: dict[tuple[str, str], tuple[int, int]] = {}
    for value in inputs:
        identity = value.identity
        place, number = (value.unit, identity.source), (identity.epoch, identity.sequence)
        if number > last.get(place, (-1, 0)):  # what comes twice is counted once, as the engine takes it once
            last[place] = number
            _count(value, result)
        batch = waiting[value.unit]
        batch.append(value)
        if len(batch) >= BATCH:
            yield value.unit, batch
            waiting[value.unit] = []
    yield from waiting.items()


def _count(value: Input, result: Replay) -> None:
    if isinstance(value, Readings | Frame) and len(value.time_ns):
        first_ns, last_ns = int(value.time_ns.min()), int(value.time_ns.max())
        result.first_ns = first_ns if result.first_ns is None else min(result.first_ns, first_ns)
        result.last_ns = last_ns if result.last_ns is None else max(result.last_ns, last_ns)
    if isinstance(value, Readings):
        missing = int(np.count_nonzero(value.quality == Quality.MISSING))
        result.not_available += missing
        result.readings += len(value.points) - missing
    elif isinstance(value, Frame):
        missing = int(np.count_nonzero(np.isnan(value.values)))
        result.frames += 1
        result.not_available += missing
        result.readings += value.values.size - missing
    elif isinstance(value, Gap):
        result.gaps.append(value)


def _keep(output: Output, result: Replay) -> None:
    message = encode_output(output, 1)
    result.outputs.setdefault((message.topic, output.unit), {})[output.id] = message.value or b""
    if isinstance(output, Alarm):
        result.alarms[output.raised_id] = output
    elif isinstance(output, Command):
        result.commands.append(output)


def _recorded_outputs(recordings: Iterable[Recording]) -> dict[tuple[str, str], dict[str, set[bytes]]]:
    """What the run said, by (topic, unit) and id. At least once: an id may come again, with equal bytes."""
    said: dict[tuple[str, str], dict[str, set[bytes]]] = {}
    for recording in recordings:
        for record in recording.records(set(OUTPUT_TOPICS)):
            if record.value is None:
                continue
            try:
                output = decode_output(record.headers, record.value)
            except UndecodableError:
                continue  # garbage on an output topic is no word of the engine
            said.setdefault((record.topic, output.unit), {}).setdefault(output.id, set()).add(record.value)
    return said


def _verify(
    recorded: Mapping[tuple[str, str], Mapping[str, set[bytes]]], result: Replay
) -> Verification | None:
    if not recorded:
        return None
    found = Verification()
    for topic, unit in sorted(recorded.keys() | result.outputs.keys()):
        was, now = recorded.get((topic, unit), {}), result.outputs.get((topic, unit), {})
        order = list(now)
        common = [index for index, id_ in enumerate(order) if id_ in was]
        end = common[-1] + 1 if common else 0
        # The recording may end before the worker had said what follows from its last inputs.
        found.after_end += len(order) - end
        found.compared += len(common)
        for id_ in [*order[:end], *(id_ for id_ in was if id_ not in now)]:
            if was.get(id_) != {now.get(id_)}:
                found.differences += 1
                found.first = found.first or Divergence(
                    topic, id_, _text(sorted(was.get(id_, ()))), _text([now[id_]] if id_ in now else [])
                )
    return found


def _text(values: Sequence[bytes]) -> str:
    return "\n".join(value.decode("utf-8", "replace") for value in values)
