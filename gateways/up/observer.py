"""What `headrace up` sees of the log: the same topics that anyone can read, and nothing else.

Rules: an alarm, command or receipt is counted once, by its id; the same id with other bytes is a broken invariant
and is counted as such. Latencies are those of the first time that an id stood on the log. What was on the log before
the run is no part of it: of that, only the topics `RECALLED` are read, for the alarms that stand, for what must not
be counted as new when it is said again, and for where the engines' own counts began.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rules.alarms.annunciation import is_annunciated
from rules.engine.inputs import AccessList, Action, Activation, Fact, Frame, Gap, Readings, Receipt, Tick
from rules.engine.outputs import Alarm, Command, Entry
from rules.errors import UndecodableError
from rules.gpu_fields import FIELD_INDEX
from rules.quality import Quality
from rules.site.model import Site
from streams.record import Record, TopicPartition
from streams.role import Status, as_status
from streams.sequences import SequenceTracker
from streams.topics import ALARMS, COMMANDS, DEAD_LETTERS, EVENTS, JOURNAL, STATUS
from streams.wire import decode_input, decode_output, is_head

RECALLED: Final = (ALARMS.name, COMMANDS.name, STATUS.name)
"""Read from their start, whatever run began there. They are short; `events` and `journal` are not."""
_TEMPERATURE = FIELD_INDEX["temperature"]
_POWER = FIELD_INDEX["power_instant"]
_LIMIT = FIELD_INDEX["enforced_power_limit"]


@dataclass(slots=True)
class SeenCommand:
    """A command on the log, and its receipt once there is one."""

    command: Command
    at_ns: int
    receipt: Receipt | None = None


@dataclass(slots=True)
class UnitGpus:
    """The last word on every GPU of a unit, by lane; NaN where nothing is known."""

    temperature_degc: NDArray[np.float32]
    power_w: NDArray[np.float32]
    limit_w: NDArray[np.float32]
    max_degc: float = float("nan")


@dataclass(slots=True)
class Observer:
    """Counts and last values, fed record by record."""

    site: Site
    readings: int = 0
    """Values that were there, without `not_available`: as `headrace replay` counts them."""
    not_available: int = 0
    frames: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    """Records by topic that are none of ours, other than events (the worker puts those into dead-letters)."""
    journal: Counter[str] = field(default_factory=Counter)
    tracker: SequenceTracker = field(default_factory=SequenceTracker)
    raised: dict[str, Alarm] = field(default_factory=dict)
    alarms: dict[str, Alarm] = field(default_factory=dict)
    """First and last word on every occurrence, by the id of its raise."""
    standing: dict[str, Alarm] = field(default_factory=dict)
    """By the same, the last word on those that stood before the run, and of which it has said nothing yet."""
    annunciated: set[str] = field(default_factory=set)
    """The ids of those that operators heard: not shelved, suppressed or out of service all the time."""
    commands: dict[str, SeenCommand] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    """The first of each command, by the command's id."""
    status: dict[str, Status] = field(default_factory=dict)
    came_up: set[str] = field(default_factory=set)
    """Roles that have been ready."""
    ticks: dict[str, Tick] = field(default_factory=dict)
    """The last one of each unit."""
    points: dict[str, tuple[float, int]] = field(default_factory=dict)
    gpus: dict[str, UnitGpus] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    readings_by_source: Counter[str] = field(default_factory=Counter)
    broken_ids: int = 0
    longest_partition: int = 0
    """Records in the longest partition of `events` since the log began."""
    first_reading_at: float | None = None
    began: Mapping[TopicPartition, int] = field(default_factory=dict)
    """The offset of the run's first record, by partition; 0 for one that is not here."""
    counters_before: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """By unit, what its engine had counted before the run: its counts go on from there."""
    _bytes: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for unit in self.site.units.values():
            empty = np.full(len(unit.gpus), np.nan, np.float32)
            self.gpus[unit.id] = UnitGpus(empty, empty.copy(), empty.copy())

    def see(self, record: Record) -> None:
        """Take one record of any topic."""
        if record.offset < self.began.get(TopicPartition(record.topic, record.partition), 0):
            self._recall(record)
            return
        try:
            if record.topic == EVENTS.name:
                self._see_event(record)
            elif record.topic in {ALARMS.name, COMMANDS.name, JOURNAL.name}:
                if not is_head(record.headers):
                    self._see_output(record)
            elif record.topic == DEAD_LETTERS.name:
                reasons = [
                    value.decode(errors="replace")
                    for name, value in record.headers
                    if name == "dead-letter-reason"
                ]
                self.dead_letters[reasons[0] if reasons else "unknown"] += 1
            elif record.topic == STATUS.name and record.value is not None:
                self._see_status(record.value)
        except UndecodableError:
            # an event that can't be read is counted by the worker, in dead-letters
            if record.topic != EVENTS.name:
                self.unreadable[record.topic] += 1

    def begin(self, ends: Mapping[TopicPartition, int], now_ns: int) -> None:
        """The run is what comes behind `ends`, from now on."""
        self.began = ends
        self.tracker.since_ns = now_ns

    def _recall(self, record: Record) -> None:
        """Take a record of before the run."""
        with contextlib.suppress(UndecodableError):
            if record.topic == STATUS.name and record.value is not None:
                engines = _status(record.value)["metrics"].get("engine")
                if isinstance(engines, dict):
                    self.counters_before.update(engines)
            elif record.topic in RECALLED and not is_head(record.headers):
                self._recall_output(record)

    def _recall_output(self, record: Record) -> None:
        output = decode_output(record.headers, record.value)
        assert record.value is not None
        self._bytes.setdefault(f"{record.topic} {output.id}", record.value)
        if not isinstance(output, Alarm) or not output.raised_id:
            return
        if output.cleared_ns is None:
            self.raised.setdefault(output.raised_id, output)
            self.standing[output.raised_id] = output
        else:
            self.raised.pop(output.raised_id, None)
            self.standing.pop(output.raised_id, None)

    def _see_status(self, value: bytes) -> None:
        status = _status(value)
        self.status[status["role"]] = status
        if status["state"] == "ready":
            self.came_up.add(status["role"])

    def _see_event(self, record: Record) -> None:
        self.longest_partition = max(self.longest_partition, record.offset + 1)
        event = decode_input(record.key, record.headers, record.value)
        if not isinstance(event, Tick | Activation | Fact | Action | AccessList):
            # these may have several writers, or forged names; and a worker that starts again tells facts again
            self.tracker.see(event.unit, event.identity, event if isinstance(event, Gap) else None)
        if isinstance(event, Frame):
            self.frames += 1
            missing = int(np.count_nonzero(np.isnan(event.values)))
            self._count(event.values.size, missing, event.identity.source)
            self._see_frame(event)
        elif isinstance(event, Readings):
            missing = int(np.count_nonzero(event.quality == Quality.MISSING))
            self._count(len(event.points), missing, event.identity.source)
            for point, value, quality in zip(event.points, event.values, event.quality, strict=True):
                self.points[point] = (float(value), int(quality))
        elif isinstance(event, Receipt):
            # topics are read side by side: a receipt may be seen before its command
            first = self.receipts.setdefault(event.command, event)
            if event.command in self.commands:
                self.commands[event.command].receipt = first
        elif isinstance(event, Gap):
            self.gaps.append(event)
        elif isinstance(event, Tick):
            self.ticks[event.unit] = event

    def _count(self, values: int, missing: int, source: str) -> None:
        if self.first_reading_at is None:
            self.first_reading_at = time.monotonic()
        self.not_available += missing
        self.readings += values - missing
        self.readings_by_source[source] += values - missing

    def _see_frame(self, frame: Frame) -> None:
        gpus = self.gpus.get(frame.unit)
        unit = self.site.units.get(frame.unit)
        if gpus is None or unit is None or frame.asset not in unit.gpu_range or frame.backfill:
            return
        low, high = unit.gpu_range[frame.asset]
        lanes = low + frame.gpu.astype(np.int64)
        if not len(lanes) or lanes.max() >= high:
            return
        last = frame.values[-1]
        gpus.temperature_degc[lanes] = last[:, _TEMPERATURE]
        gpus.power_w[lanes] = last[:, _POWER]
        gpus.limit_w[lanes] = last[:, _LIMIT]
        known = last[frame.quality[-1] == Quality.GOOD, _TEMPERATURE]
        if known.size:
            gpus.max_degc = float(np.fmax(gpus.max_degc, np.nanmax(known)))

    def _see_output(self, record: Record) -> None:
        output = decode_output(record.headers, record.value)
        assert record.value is not None
        name = f"{record.topic} {output.id}"
        known = self._bytes.setdefault(name, record.value)
        if known is not record.value:
            self.broken_ids += known != record.value
            return
        if isinstance(output, Alarm):
            if output.raised_id:
                self.raised.setdefault(output.raised_id, output)
                stood = self.standing.pop(output.raised_id, None)
                if is_annunciated(self.alarms.get(output.raised_id, stood), output):
                    self.annunciated.add(output.raised_id)
                self.alarms[output.raised_id] = output
        elif isinstance(output, Command):
            self.commands[output.id] = SeenCommand(
                output, record.timestamp_ms * 1_000_000, self.receipts.get(output.id)
            )
        elif isinstance(output, Entry):
            self.journal[output.kind] += 1

    @property
    def active(self) -> list[Alarm]:
        """Alarms that stand, most severe first."""
        order = {"urgent": 0, "high": 1, "medium": 2, "low": 3}
        standing = [
            alarm for alarm in (*self.standing.values(), *self.alarms.values()) if alarm.cleared_ns is None
        ]
        return sorted(standing, key=lambda alarm: (order[alarm.severity], alarm.raised_ns, alarm.key))


def _status(value: bytes) -> Status:
    """Anyone can write to the topic: what isn't a status is an UndecodableError, and never ends the watching."""
    status = as_status(value)
    if status is None:
        raise UndecodableError("status", "it says nothing of a role")
    return status
