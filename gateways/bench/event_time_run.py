"""A run in event time as a recording: inputs, what the engines say to them, and what units tell each other.

Rules: no clock; all stands in the file as a live run would leave it, so that a replay has something to compare; the
same rule set and steps give the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mcap.writer import CompressionType

from rules.engine.engine import Engine
from rules.engine.inputs import Fact, Input
from streams.record import Message, Record
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.recording import RecordingWriter
from streams.rule_sets.rule_set import RuleSet, rule_set_message
from streams.wire import encode_input, encode_output

PARTITIONS: Final = 6
_S: Final = 1_000_000_000

Step = tuple[int, Mapping[str, Sequence[Input]]]
"""A time of the recorder in ns, and what came until then, by unit in the order of the log; without facts."""


def write_run(
    path: Path,
    rule_set: RuleSet,
    steps: Iterable[Step],
    *,
    others: Sequence[RuleSet] = (),
    chunk_s: int = 1,
    compression: CompressionType = CompressionType.LZ4,
) -> None:
    """Run the steps with the rules of `rule_set` and write all of it to `path`; a chunk ends every `chunk_s`.

    `others`: rule sets that activations among the inputs name. A fact reaches its unit with the next step.
    """
    site, program = rule_set.load()
    engines = {unit: Engine(program, site, unit, rule_set.digest) for unit in site.units}
    for other in others:
        compiled = other.compiled_for(site.digest, site.units)
        for unit, engine in engines.items():
            engine.offer(other.digest, compiled if isinstance(compiled, str) else compiled[unit])
    attachments = site_attachments(rule_set)
    with RecordingWriter(
        path,
        attachments=attachments,
        metadata=recording_metadata(site, attachments),
        compression=compression,
    ) as writer:
        log, told = _Log(writer), list[Fact]()
        unpublished = [rule_set, *others] if others else []
        now_ns = 0
        for now_ns, inputs in steps:
            while unpublished:
                log.add(rule_set_message(unpublished.pop(0)), now_ns)
            told = _step(engines, inputs, told, log, now_ns)
            if now_ns % (chunk_s * _S) == 0:
                writer.flush()
        _step(engines, {}, told, log, now_ns)


def _step(
    engines: Mapping[str, Engine],
    inputs: Mapping[str, Sequence[Input]],
    facts: Sequence[Fact],
    log: _Log,
    now_ns: int,
) -> list[Fact]:
    """What came, after the facts of the step before; the facts that come of it."""
    told = []
    for unit, engine in engines.items():
        values = [*(fact for fact in facts if fact.unit == unit), *inputs.get(unit, ())]
        for value in values:
            log.add(encode_input(value, PARTITIONS), now_ns)
        for output in engine.step(values):
            if isinstance(output, Fact):
                told.append(output)
            else:
                log.add(encode_output(output, PARTITIONS), now_ns)
    return told


class _Log:
    """Gives messages their offsets."""

    def __init__(self, writer: RecordingWriter) -> None:
        self._writer = writer
        self._next: Counter[tuple[str, int]] = Counter()

    def add(self, message: Message, time_ns: int) -> None:
        place = message.topic, message.partition
        record = Record(
            *place, self._next[place], time_ns // 1_000_000, message.key, message.value, message.headers
        )
        self._next[place] += 1
        self._writer.write(record, time_ns)
