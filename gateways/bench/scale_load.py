"""The load of `headrace bench scale`: the simulated plant in event time, and what one undisturbed engine says to it.

Rules: a recording with all that units tell each other, so that the log is the same whoever works on it, and with it
every output; one GPU of each unit makes a rule go off and clear with every sample, so that each sample of each unit has
an output from which its way can be timed.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter, deque
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from gateways.bench.event_time_run import Step, write_run
from gateways.sim.event_time import START_NS, STEP_NS, EventTimePlant
from rules.engine.inputs import Frame, Input, Readings
from rules.errors import UnreachableError
from rules.gpu_fields import FIELD_INDEX
from rules.site.model import Site
from streams.bus.bus import Producer
from streams.record import Message, header
from streams.recording.recording import Recording
from streams.rule_sets.rule_set import activation, rule_set_of
from streams.site_folder import load_site
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL, partition_of
from streams.wire import decode_input

OUTPUTS: Final = (ALARMS.name, COMMANDS.name, JOURNAL.name)
RULES: Final = """
rules:
  bench-pulse:
    for: GPU
    when: pcie_sent > 1000000000 kB/s
    severity: low
    message: "{asset}"
    cause: none, this is a bench
    response: none
"""
_HIGH_KB_S: Final = 2e9
_NO_WAIT_NS: Final = 1_000_000
UNACKNOWLEDGED: Final = 2000
"""Records that are sent ahead of the broker's word."""


def event_ns(at_s: float) -> int:
    """Event time (ns) so many seconds after the plant's start."""
    return START_NS + round(at_s * 1e9)


class Timed(NamedTuple):
    """A message of `events`, the event time (ns) of its step, and how many readings it holds.

    `cause`: how the ids of outputs begin that it causes, "" for what is no frame.
    """

    time_ns: int
    message: Message
    readings: int
    cause: str


@dataclass(frozen=True, slots=True)
class Load:
    """`site_dir` has the same site and rules as the recording; `outputs`: bytes by id, of an engine on its own."""

    site_dir: Path
    site: Site
    recording: Path
    outputs: Mapping[str, bytes]

    @property
    def gpus(self) -> int:
        """Of the whole site."""
        return sum(len(unit.gpus) for unit in self.site.units.values())

    def first_rules(self, partitions: int) -> Iterator[Timed]:
        """What says which rules each unit begins with: it has to be on the log before a worker is."""
        return (one for one in self._events(partitions) if _is_activation(one.message))

    def between(self, from_s: float, to_s: float, partitions: int) -> Iterator[Timed]:
        """What the plant sent in these seconds, in its order."""
        from_ns, to_ns = event_ns(from_s), event_ns(to_s)
        for one in self._events(partitions):
            if one.time_ns > to_ns:
                return
            if one.time_ns > from_ns and not _is_activation(one.message):
                yield one

    def _events(self, partitions: int) -> Iterator[Timed]:
        for time_ns, record in Recording(self.recording).timed_records({EVENTS.name}):
            assert record.key is not None
            place = partition_of(record.key.decode(), partitions)
            message = Message(record.topic, place, record.key, record.value, record.headers)
            yield Timed(time_ns, message, *_content(message))


def make_load(site_dir: Path, folder: Path, seconds: float) -> Load:
    """Run the plant of a site (a copy with the bench's rules) for so long. ConfigurationError; UnreachableError."""
    site = load_site(site_dir)
    if not any(unit.gpus for unit in site.units.values()):
        raise UnreachableError("this site has no GPUs: the bench needs some")
    rule_set = rule_set_of(site_dir, site)
    recording = folder / "load.mcap"
    write_run(recording, rule_set, _steps(site, rule_set.digest, round(seconds * 1e9) // STEP_NS))
    outputs = {
        orjson.loads(record.value or b"")["id"]: record.value or b""
        for record in Recording(recording).records(OUTPUTS)
    }
    return Load(site_dir, site, recording, outputs)


def _steps(site: Site, digest: str, steps: int) -> Iterator[Step]:
    plant, pulses = EventTimePlant(site, seed=1), Counter[str]()
    first: dict[str, list[Input]] = {unit: [activation(site, unit, digest, START_NS)] for unit in site.units}
    for _ in range(steps):
        found = plant.step()
        yield (
            plant.now_ns,
            {unit: [*first.pop(unit, ()), *_pulsing(found[unit], unit, pulses)] for unit in found},
        )


def _pulsing(inputs: Sequence[Input], unit: str, pulses: Counter[str]) -> list[Input]:
    """The inputs of a step; the last GPU of the first frame is high in every second sample of its unit."""
    pulsing = list(inputs)
    for place, value in enumerate(inputs):
        if isinstance(value, Frame):
            values = value.values.copy()
            values[:, -1, FIELD_INDEX["pcie_sent"]] = 0.0 if pulses[unit] % 2 else _HIGH_KB_S
            pulses[unit] += 1
            pulsing[place] = dataclasses.replace(value, values=values)
            break
    return pulsing


def _is_activation(message: Message) -> bool:
    return header(message.headers, "schema") == b"activation/1"


def _content(message: Message) -> tuple[int, str]:
    """How many readings, and the cause."""
    if header(message.headers, "schema") not in (b"frame/1", b"readings/1"):
        return 0, ""
    value = decode_input(message.key, message.headers, message.value)
    if isinstance(value, Frame):
        return value.values.size, cause_of(value)
    return len(value.points) if isinstance(value, Readings) else 0, ""


def cause_of(value: Input) -> str:
    """How the ids of outputs begin that an input causes."""
    return ":".join((value.unit, *map(str, value.identity)))


@dataclass(slots=True)
class Sent:
    """What a sender has brought onto the log. `bytes`: of values, not compressed; `due_ns`: by cause, of its sample."""

    begun_ns: int
    records: int = 0
    readings: int = 0
    bytes: int = 0
    seconds: float = 0.0
    late_ns_max: int = 0
    due_ns: dict[str, int] = field(default_factory=dict)


async def send(producer: Producer, load: Iterable[Timed], speed: float = 0.0) -> Sent:
    """Send the load at `speed` times its own pace, or as fast as it goes (0); return when the broker has all of it.

    At a pace, the records of a step are spread over it: sources of a plant do not all sample at one moment.
    UnreachableError.
    """
    sent = Sent(time.time_ns())
    waiting: deque[Awaitable[int]] = deque()
    first_ns: int | None = None
    for time_ns, step in groupby(load, key=lambda one: one.time_ns):
        first_ns = time_ns if first_ns is None else first_ns
        records = list(step)
        for place, one in enumerate(records):
            now_ns = time.time_ns()
            since_ns = time_ns - first_ns + place * STEP_NS // len(records)
            due_ns = sent.begun_ns + round(since_ns / speed) if speed else now_ns
            if due_ns > now_ns + _NO_WAIT_NS:
                await asyncio.sleep((due_ns - now_ns) / 1e9)
            sent.late_ns_max = max(sent.late_ns_max, time.time_ns() - due_ns)
            waiting.append(await producer.send(one.message))
            sent.records += 1
            sent.readings += one.readings
            sent.bytes += len(one.message.value or b"")
            if one.cause:
                sent.due_ns[one.cause] = due_ns
            if len(waiting) > UNACKNOWLEDGED:
                await waiting.popleft()
    for acknowledged in waiting:
        await acknowledged
    sent.seconds = (time.time_ns() - sent.begun_ns) / 1e9
    return sent
