"""What the worker has done since it started, as its status record says it."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final

from rules.engine.inputs import Fact, Frame, Input, Readings
from rules.engine.outputs import Alarm, Command, Output


class Latencies:
    """Milliseconds of the last minute, and of 5,000 outputs at most: what is long over says nothing about now."""

    KEPT_NS: Final = 60 * 1_000_000_000

    def __init__(self) -> None:
        self._at_ns: deque[int] = deque(maxlen=5000)
        self._values_ms: deque[float] = deque(maxlen=5000)

    def add(self, now_ns: int, value_ms: float) -> None:
        """One output's."""
        self._at_ns.append(now_ns)
        self._values_ms.append(value_ms)

    def percentiles(self, now_ns: int) -> dict[str, float]:
        """p50 and p99; empty without any output."""
        while self._at_ns and self._at_ns[0] < now_ns - self.KEPT_NS:
            self._at_ns.popleft()
            self._values_ms.popleft()
        ordered = sorted(self._values_ms)
        return {
            f"p{share}": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 2)
            for share in (50, 99)
            if ordered
        }


@dataclass(slots=True)
class Counts:
    """Counters and gauges. Nothing that the worker leaves out goes uncounted."""

    records: int = 0
    readings: int = 0
    inputs: Counter[str] = field(default_factory=Counter)
    outputs: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    redelivered: int = 0
    """Records that the transport brought a second time."""
    skipped_offsets: int = 0
    """Offsets that retention had taken before the worker came to them: input that is lost."""
    facts_left_to_replay: int = 0
    """Facts that were not sent, because the recording that is fed into the log holds them."""
    assignments: int = 0
    """How often the group has given this worker partitions, or said that it keeps what it has."""
    alarms_said_again: int = 0
    """Last words on alarms that a stale one had buried."""
    heads: int = 0
    """Signed heads of the journal."""
    steps: int = 0
    snapshots: int = 0
    snapshot_bytes: int = 0
    snapshot_pause_ms_max: float = 0.0
    snapshot_at_s: float = 0.0
    activation_pause_ms_max: float = 0.0
    """The longest step in which a rule set was activated."""
    restores: int = 0
    restores_of_other_rules: int = 0
    restores_on_other_log: int = 0
    restores_refused: int = 0
    site_files_replaced: int = 0
    """Units that went on under this site file, which had another one (`worker.replaces_site`)."""
    snapshots_rejected: Counter[str] = field(default_factory=Counter)
    event_to_acknowledged: Latencies = field(default_factory=Latencies)
    record_to_acknowledged: Latencies = field(default_factory=Latencies)

    def input(self, value: Input) -> None:
        """Count an input that goes to an engine."""
        self.inputs[type(value).__name__.lower()] += 1
        if isinstance(value, Frame):
            self.readings += value.values.size
        elif isinstance(value, Readings):
            self.readings += len(value.points)

    def acknowledged(self, output: Output, now_ns: int, record_ms: int) -> None:
        """An output is on the log. `record_ms`: when the oldest record of its batch was written."""
        if (event_ns := _event_ns(output)) > 0:  # what is said before the first tick has no time
            self.event_to_acknowledged.add(now_ns, (now_ns - event_ns) / 1e6)
        self.record_to_acknowledged.add(now_ns, now_ns / 1e6 - record_ms)

    def metrics(self, now_s: float, now_ns: int) -> dict[str, Any]:
        """As the status record has them; `now_s` is the clock of `snapshot_at_s`, `now_ns` that of the events."""
        return {
            "records": self.records,
            "readings": self.readings,
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "dead_letters": self.dead_letters.total(),
            "dead_letter_reasons": dict(self.dead_letters),
            "redelivered": self.redelivered,
            "skipped_offsets": self.skipped_offsets,
            "facts_left_to_replay": self.facts_left_to_replay,
            "assignments": self.assignments,
            "alarms_said_again": self.alarms_said_again,
            "heads": self.heads,
            "steps": self.steps,
            "snapshots": {
                "written": self.snapshots,
                "bytes": self.snapshot_bytes,
                "age_s": round(now_s - self.snapshot_at_s, 1) if self.snapshots else None,
                "pause_ms_max": round(self.snapshot_pause_ms_max, 2),
                "rejected": dict(self.snapshots_rejected),
            },
            "restores": self.restores,
            "activation_pause_ms_max": round(self.activation_pause_ms_max, 1),
            "restores_of_other_rules": self.restores_of_other_rules,
            "restores_on_other_log": self.restores_on_other_log,
            "restores_refused": self.restores_refused,
            "site_files_replaced": self.site_files_replaced,
            "latency_ms": {
                "event_to_acknowledged": self.event_to_acknowledged.percentiles(now_ns),
                "record_to_acknowledged": self.record_to_acknowledged.percentiles(now_ns),
            },
        }


def _event_ns(output: Output) -> int:
    """The event time of what the output says."""
    if isinstance(output, Command):
        return output.cause_ns
    if isinstance(output, Alarm):
        return output.at_ns
    return output.time_ns if isinstance(output, Fact) else output.at_ns
