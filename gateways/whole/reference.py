"""The undisturbed run beside the disturbed one: engines that read the same log, never crash, and are asked at the end.

Rules: it reads the log in the order of its offsets and cuts it in batches of its own; it hears of nothing but the log.
What it says, the workers must have said, id by id and byte by byte, however often they were killed; and nothing else.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import orjson

from gateways.whole.activations import RuleSets
from gateways.whole.tap import Accepted, handed
from rules.engine.engine import Engine
from rules.engine.inputs import FACT_SOURCE, Fact, Gap, Input, Receipt
from rules.engine.outputs import Command, Output
from rules.errors import UndecodableError
from rules.site.model import Site
from streams.bus.memory import MemoryBus
from streams.record import Record, TopicPartition
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL, OWNERS, STATUS, TOPICS
from streams.wire import decode_input, decode_output, encode_output, is_head

OUTPUT_TOPICS: Final = (ALARMS.name, COMMANDS.name, JOURNAL.name)
BATCH: Final = 23
"""Inputs of one unit a step: nothing that a worker's fetches would come to."""


class Steps(Protocol):
    """The face of an engine that is asked here."""

    counters: Counter[str]

    def step(self, inputs: list[Input]) -> Sequence[Output]:
        """React to inputs, in order."""
        ...


def undisturbed_engines(site: Site, rules: RuleSets) -> Callable[[str], Engine]:
    """The production engine by unit: it begins with the site's own rules, and knows what all others mean."""

    def engine(unit: str) -> Engine:
        own = rules.sets["own"].digest
        meanings = {
            digest: meaning if isinstance(meaning, str) else meaning[unit]
            for digest, meaning in rules.meanings.items()
        }
        begun = meanings[own]
        assert not isinstance(begun, str)
        made = Engine(begun, site, unit, own)
        for digest, meaning in meanings.items():
            made.offer(digest, meaning)
        return made

    return engine


class Word(NamedTuple):
    """On the log since when, and up to when its worker had worked on the unit then."""

    on_log_ns: int
    alive_ns: int


@dataclass(slots=True)
class Told:
    """A receipt on the log."""

    status: str
    on_log_ns: int
    sequence: tuple[int, int]


@dataclass(slots=True)
class Reference:
    """What the log holds so far. `follow` takes in what has come; `finish` ends it."""

    bus: MemoryBus
    accepted: Accepted
    undisturbed: Callable[[str], Steps]
    engines: dict[str, Steps] = field(default_factory=dict)
    expected: dict[str, bytes] = field(default_factory=dict)
    """What the engines say, by id."""
    said: dict[str, bytes] = field(default_factory=dict)
    """What the workers said, by id."""
    commands: dict[str, Command] = field(default_factory=dict)
    receipts: dict[str, list[Told]] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    alive: dict[str, list[Word]] = field(default_factory=dict)
    """By unit, what workers say of how far they are with it; never going back."""
    counts: Counter[str] = field(default_factory=Counter)
    contradictions: list[str] = field(default_factory=list)
    _now_ns: dict[tuple[str, str], int] = field(default_factory=dict)
    """The highest that a role has said of a unit."""
    _positions: dict[TopicPartition, int] = field(default_factory=dict)
    _waiting: dict[str, list[Input]] = field(default_factory=dict)
    _heard: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    _digests: dict[TopicPartition, Any] = field(default_factory=dict)

    def follow(self) -> None:
        """Take in what the log has got since the last time."""
        for topic in TOPICS:
            for record in self._new_records(topic.name):
                if topic.name == EVENTS.name:
                    self._take_event(record)
                elif topic.name in OUTPUT_TOPICS:
                    self._take_output(record)
                elif topic.name == STATUS.name:
                    self._take_word(record)

    def finish(self) -> None:
        """The log has ended: step what waits for a full batch."""
        self.follow()
        for unit in list(self._waiting):
            self._step(unit)

    def position(self, place: TopicPartition) -> int:
        """The next offset."""
        return self._positions.get(place, 0)

    def digest(self) -> str:
        """SHA-256 over every record of every topic, in the order of offsets, with key, headers and timestamp.

        But for `owners`: a claim names the host and the process.
        """
        whole = hashlib.sha256()
        for place in sorted(place for place in self._digests if place.topic != OWNERS.name):
            whole.update(f"{place.topic} {place.partition} ".encode() + self._digests[place].digest())
        return whole.hexdigest()

    def _new_records(self, topic: str) -> Iterator[Record]:
        for place in self.bus.places(topic):
            records = self.bus.records_from(place, self._positions.get(place, 0))
            if not records:
                continue
            self._positions[place] = records[-1].offset + 1
            digest = self._digests.setdefault(place, hashlib.sha256())
            for record in records:
                headers = [part for name, value in record.headers for part in (name.encode(), value)]
                said = b"%d %d " % (record.offset, record.timestamp_ms), record.key or b"-", *headers
                digest.update(b"".join((*said, record.value or b"-")))
            yield from records

    def _take_event(self, record: Record) -> None:
        self.counts["events"] += 1
        try:
            value = decode_input(record.key, record.headers, record.value)
        except UndecodableError:
            self.counts["undecodable"] += 1
            return
        one = handed(value)
        if one is not None:
            self.accepted.arrived(one)
        identity = value.identity
        known, number = (value.unit, identity.source), (identity.epoch, identity.sequence)
        is_new = number > self._heard.get(known, (-1, 0))
        self.counts["repeats"] += not is_new
        if is_new:
            self._heard[known] = number
            self._note(value, record)
        if isinstance(value, Fact):
            self._said(value.id, record.value or b"")
        waiting = self._waiting.setdefault(value.unit, [])
        waiting.append(value)
        if len(waiting) >= BATCH:
            self._step(value.unit)

    def _note(self, value: Input, record: Record) -> None:
        if isinstance(value, Receipt):
            identity = value.identity
            told = Told(value.status, record.timestamp_ms * 1_000_000, (identity.epoch, identity.sequence))
            self.receipts.setdefault(value.command, []).append(told)
        elif isinstance(value, Gap):
            self.gaps.append(value)
            self.counts[f"gap {value.reason}"] += 1

    def _step(self, unit: str) -> None:
        inputs = self._waiting.pop(unit)
        engine = self.engines.get(unit)
        if engine is None:
            engine = self.engines[unit] = self.undisturbed(unit)
        for output in engine.step(inputs):
            self.expected[output.id] = encode_output(output, 1).value or b""

    def _take_output(self, record: Record) -> None:
        if is_head(record.headers):
            return
        value = record.value or b""
        self._said(orjson.loads(value)["id"], value)
        if record.topic == COMMANDS.name:
            command = decode_output(record.headers, value)
            if isinstance(command, Command):
                self.commands.setdefault(command.id, command)

    def _take_word(self, record: Record) -> None:
        said = orjson.loads(record.value or b"{}")
        for unit, now_ns in said.get("metrics", {}).get("now_ns", {}).items():
            role = said["role"], unit
            if now_ns <= self._now_ns.get(role, 0):
                continue  # it stands still, though a ticker whose clock was ahead may have left it in the future
            self._now_ns[role] = now_ns
            words = self.alive.setdefault(unit, [])
            on_log_ns = record.timestamp_ms * 1_000_000
            alive_ns = min(now_ns, on_log_ns)
            if not words or alive_ns > words[-1].alive_ns:
                words.append(Word(on_log_ns, alive_ns))

    def _said(self, name: str, value: bytes) -> None:
        if self.said.setdefault(name, value) != value:
            self.contradictions.append(name)


def is_fact(name: str) -> bool:
    """Whether an output's id is that of a fact."""
    return f":{FACT_SOURCE}" in name
