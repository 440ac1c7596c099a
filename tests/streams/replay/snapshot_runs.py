"""A worker's run of 90 s with its snapshots: other rules, late and repeated samples, perhaps a rolled log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rules.engine.engine import Engine
from rules.engine.inputs import Fact, Identity, Input, Readings, Tick
from rules.engine.outputs import Output
from streams.facts import Courier
from streams.record import Message, Record, TopicPartition
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.recording import Recording, RecordingWriter
from streams.recording.segments import head, segment_name, segments_in
from streams.rule_sets.rule_set import RuleSet, activation, rule_set_message, rule_set_of
from streams.site_folder import load_site
from streams.snapshots import LOG_KEY, Snapshot, snapshot_messages
from streams.topics import SNAPSHOTS
from streams.wire import encode_input, encode_output
from tests.support.small_sites import RACKS_DRAW_MUCH

S = 1_000_000_000
T0 = 1_767_225_600 * S
LOG = "log-of-the-run"
SECONDS = 90
RULES = (
    RACKS_DRAW_MUCH
    + """\
  rack-hot:
    for: Rack
    when: RackPower > 55 kW
    deadband: 1 kW
    on_delay: 3 s
    severity: low
    message: "{asset}: {value:.0f} kW"
"""
)
MORE = (
    RULES
    + """
  rack-warm:
    for: Rack
    when: avg(RackPower, 5 s) > 45 kW
    severity: low
    message: "{asset}"
"""
)


@dataclass
class Run:
    """A worker's log: each message has its offset; what it says comes `lag` messages later in the file."""

    site_dir: Path
    partitions: int = 2
    every_s: int = 7
    log: list[Record] = field(default_factory=list)
    said: dict[str, list[Output]] = field(default_factory=dict)
    snapshots: list[tuple[str, int, int]] = field(default_factory=list)
    """Unit, its time, how many outputs it had said."""

    rolls_at: int = -1
    """The second before which the log is rolled to a fresh one, with the snapshots carried over."""

    log_id: str = LOG
    rolled: int = 0
    """Where in `log` the fresh one begins."""

    _next: Counter[tuple[str, int]] = field(default_factory=Counter)

    def add(self, message: Message) -> int:
        place = message.topic, message.partition
        self.log.append(Record(*place, self._next[place], 1, message.key, message.value, message.headers))
        self._next[place] += 1
        return self._next[place]

    def run(self, *, lag: int = 5) -> None:
        site = load_site(self.site_dir)
        first = rule_set_of(self.site_dir, site)
        other = RuleSet({**first.files, "rules/racks.yaml": MORE})
        engines = {unit: Engine(first.load()[1], site, unit, first.digest) for unit in site.units}
        made = other.compiled_for(site.digest, site.units)
        assert not isinstance(made, str)
        for unit, engine in engines.items():
            engine.offer(other.digest, made[unit])
        self._begin_log([first, other])
        waiting: list[Message] = []
        courier, numbers = Courier(), Counter[str]()
        offsets: dict[str, int] = {}
        for second, value in self._inputs(site, other.digest):
            if second == self.rolls_at and self.log_id == LOG:
                for message in waiting:
                    self.add(message)
                carried: list[Message] = []
                for unit, engine in engines.items():
                    numbers[unit] += 1
                    self.snapshots.append((unit, engine.now_ns, len(self.said[unit])))
                    carried += self._snapshot(unit, numbers[unit], offsets[unit], engine, site.digest)
                self.log_id, self.rolled, waiting = "log-after-it", len(self.log), []
                self._next.clear()
                self._begin_log([first, other])
                for message in carried:
                    self.add(message)
            for one in (*courier.due(value), value):
                message = encode_input(one, self.partitions)
                offsets[one.unit] = self.add(message)
                outputs = engines[one.unit].step([one])
                courier.take(outputs)
                told = [output for output in outputs if not isinstance(output, Fact)]
                self.said.setdefault(one.unit, []).extend(told)
                waiting += [encode_output(output, self.partitions) for output in told]
            unit = value.unit
            if isinstance(value, Tick) and second % self.every_s == (3 if unit == "row" else 5):
                numbers[unit] += 1
                engine = engines[unit]
                self.snapshots.append((unit, engine.now_ns, len(self.said[unit])))
                waiting += self._snapshot(unit, numbers[unit], offsets[unit], engine, site.digest)
            while len(waiting) > lag:
                self.add(waiting.pop(0))
        for message in waiting:
            self.add(message)

    def _begin_log(self, rule_sets: list[RuleSet]) -> None:
        name = self.log_id.encode()
        self.add(Message(SNAPSHOTS.name, 0, LOG_KEY + name, name, (("schema", b"log/1"),)))
        for rule_set in rule_sets:
            self.add(rule_set_message(rule_set))

    def _snapshot(
        self, unit: str, number: int, offset: int, engine: Engine, site_digest: str
    ) -> list[Message]:
        made = Snapshot(
            unit, number, offset, self.log_id, engine.rules_digest, site_digest, engine.snapshot()
        )
        chunks, manifest = snapshot_messages(made, self.partitions)
        return [*chunks, manifest]

    def _inputs(self, site: object, other: str) -> Iterator[tuple[int, Input]]:
        for second in range(SECONDS):
            now_ns = T0 + second * S
            for unit in ("site", "row"):
                yield second, Tick(unit, Identity("ticker", 0, now_ns // S), now_ns)
                if second == 40:
                    yield second, activation(site, unit, other, now_ns)  # type: ignore[arg-type]
            kw = 60.0 if second % 20 >= 10 else 40.0
            sample = self._powers(second, kw, now_ns - (30 * S if second % 13 == 12 else -1000))
            yield second, sample
            if second % 11 == 10:
                yield second, sample

    @staticmethod
    def _powers(second: int, kw: float, time_ns: int) -> Readings:
        times, zero = np.full(2, time_ns), np.zeros(2, np.int64)
        return Readings(
            "row", Identity("plc", 5, second + 1), time_ns, ("R1.RackPower", "R2.RackPower"), times, zero,
            np.array([kw, kw - 2]), zero.astype(np.uint8), zero.astype(np.uint32),
        )  # fmt: skip

    def write(self, path: Path, records: list[Record] | None = None, *, chunk: int = 9) -> Recording:
        """`chunk` records in each chunk; the recorder had all of them in one second, as one that catches up."""
        site = load_site(self.site_dir)
        attachments = site_attachments(rule_set_of(self.site_dir, site))
        metadata = recording_metadata(site, attachments)
        with RecordingWriter(path, attachments=attachments, metadata=metadata) as writer:
            for number, record in enumerate(self.log if records is None else records):
                writer.write(record, T0 + 500 * S + number)
                if number % chunk == chunk - 1:
                    writer.flush()
        return Recording(path)

    def write_segments(self, folder: Path, *, size: int = 61, chunk: int = 9) -> list[Recording]:
        """Segments of `size` records; the fresh log of a roll begins another one."""
        folder.mkdir()
        site = load_site(self.site_dir)
        attachments = site_attachments(rule_set_of(self.site_dir, site))
        metadata = recording_metadata(site, attachments)
        ends = {TopicPartition("events", number): 0 for number in range(self.partitions)}
        begins = sorted({*range(0, len(self.log), size), self.rolled})
        for begin, end in zip(begins, [*begins[1:], len(self.log)], strict=True):
            is_fresh = bool(self.rolled) and begin >= self.rolled
            if begin == self.rolled:
                ends = dict.fromkeys(ends, 0)
            path = folder / segment_name(T0 + begin * S)
            own = head(ends, [self.log_id if is_fresh else LOG], "")
            with RecordingWriter(path, attachments=attachments, metadata=metadata | own) as writer:
                for number, record in enumerate(self.log[begin:end]):
                    writer.write(record, T0 + 500 * S + (begin + number) * S // 4)
                    ends[TopicPartition(record.topic, record.partition)] = record.offset + 1
                    if number % chunk == chunk - 1:
                        writer.flush()
        return [Recording(path) for path in segments_in(folder)]
