"""What the processes cost: CPU seconds and proportional set size (PSS), from /proc.

PSS divides a shared page among those that map it, so that the sum over processes is what they take together.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

import psutil


def memory_mb(pid: int) -> tuple[float, float]:
    """(proportional set size, anonymous part of it) in MB (10^6 bytes); zeros for a process that has ended."""
    found = {"Pss": 0.0, "Anonymous": 0.0}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0]) * 1024 / 1e6
    return found["Pss"], found["Anonymous"]


def cpu_s(pid: int) -> float:
    """User and system CPU seconds of a process, 0.0 once it has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def open_files(pid: int) -> int:
    """Files, sockets and pipes that a process has open; 0 once it has ended."""
    try:
        return int(psutil.Process(pid).num_fds())
    except psutil.Error:
        return 0


@dataclass(frozen=True, slots=True)
class MemorySample:
    """Memory of one process at one moment since the start; a role that was started again is another process."""

    at_s: float
    role: str
    pid: int
    pss_mb: float
    anonymous_mb: float
    """What no other process shares: a slope of it says nothing of libraries that others begin or end to use."""


@dataclass(slots=True)
class Resources:
    """The highest memory seen, and each sample for a slope."""

    broker_mb_max: float = 0.0
    others_mb_max: float = 0.0
    broker_mb: float = 0.0
    others_mb: float = 0.0
    samples: list[MemorySample] = field(default_factory=list)

    def sample(self, at_s: float, broker_pid: int | None, others: dict[str, int]) -> None:
        """Take one sample; `others` maps role to pid, this process included."""
        taken = [MemorySample(at_s, role, pid, *memory_mb(pid)) for role, pid in others.items()]
        broker = MemorySample(
            at_s, "broker", broker_pid or 0, *(memory_mb(broker_pid) if broker_pid else (0.0, 0.0))
        )
        self.broker_mb = broker.pss_mb
        self.others_mb = sum(sample.pss_mb for sample in taken)
        self.broker_mb_max = max(self.broker_mb_max, self.broker_mb)
        self.others_mb_max = max(self.others_mb_max, self.others_mb)
        self.samples += [*taken, broker] if broker_pid else taken
