"""Recordings read by several processes at once: each has a share of the units, and passes by what is of others.

Rules: what a share says depends on its units alone, so the number of processes changes no answer. All read the same
bytes of the files, and none is further ahead of the slowest than `AHEAD_NS` of event time: so an end that is asked for
lies before all of them, at one record. A process that dies ends the work with an error.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Collection, MutableSequence, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Final, Generic, TypeVar

from rules.errors import UnreachableError
from rules.site.model import Site
from streams.interrupts import unheard
from streams.recording.recording import Recording
from streams.recording.ticks import begin_of_log_ns, end_of_log_ns
from streams.replay.inputs import Watch
from streams.replay.start import Part, Share

AHEAD_NS: Final = 10_000_000_000
STEP_NS: Final = 1_000_000_000
"""How much event time a process reads before it looks at the others again."""
LARGE_BYTES: Final = 512 << 20
"""From here on more processes, which take two seconds to start on a large site, are quicker for certain."""
_LOOK_S: Final = 0.005
_NEVER_NS: Final = (1 << 63) - 1

T = TypeVar("T")
Work = Callable[[Sequence[Recording], Share, Watch | None], T]
"""What one process does: reads recordings for its share of the units, as long as it is told to read on."""

_File = tuple[Path, int] | Recording
"""A file and how much of it is read; a segment that can't be read is what it is."""

_Reached = MutableSequence[int]
"""Shared memory: up to which event time (ns) each process has read; last, from where on nobody reads."""


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def jobs_for(recordings: Sequence[Recording], part: Part, asked: int | None) -> int:
    """How many processes: as asked, else one for each usable core, or a single one where the recording is small."""
    if asked is not None:
        return asked
    size = sum(one.path.stat().st_size for one in recordings)
    begin_ns, end_ns = begin_of_log_ns(recordings), end_of_log_ns(recordings)
    if begin_ns is not None and end_ns is not None and end_ns > begin_ns:
        from_ns = max(part.from_ns, begin_ns)
        to_ns = end_ns if part.to_ns is None else min(part.to_ns, end_ns)
        size = size * max(to_ns - from_ns, 0) // (end_ns - begin_ns)
    return usable_cores() if size >= LARGE_BYTES else 1


def shares_of(units: Collection[str], site: Site, jobs: int) -> list[Share]:
    """At most `jobs` parts with about as many GPUs and points each, and none without a unit."""
    count = max(min(jobs, len(units)), 1)
    parts: list[list[str]] = [[] for _ in range(count)]
    weights = [0] * count
    sizes = {unit: len(site.units[unit].gpus) + len(site.units[unit].points) for unit in units}
    for unit in sorted(units, key=lambda one: (-sizes[one], one)):
        lightest = min(range(count), key=lambda part: (weights[part], len(parts[part])))
        parts[lightest].append(unit)
        weights[lightest] += sizes[unit]
    return [Share(frozenset(part), is_first=not number) for number, part in enumerate(parts)]


def _opened(files: Sequence[_File]) -> list[Recording]:
    return [one if isinstance(one, Recording) else Recording(*one) for one in files]


def side_by_side(
    work: Work[T], recordings: Sequence[Recording], shares: Sequence[Share], watch: Watch | None
) -> list[T]:
    """What `work` answers for each share; the first is worked on here. `watch` hears of the slowest.

    Where there are several, work and answer have to be picklable. Raises UnreachableError when a process has died.
    """
    if len(shares) == 1:
        return [work(recordings, shares[0], watch)]
    files = [(one.path, one.path.stat().st_size) if one.is_readable else one for one in recordings]
    spawn = multiprocessing.get_context("spawn")
    reached: _Reached = spawn.RawArray("q", [*(0 for _ in shares), _NEVER_NS])
    processes = list[_Process[T]]()

    def look(slowest_ns: int) -> None:
        for process in processes:
            process.look()
        goes_on = watch is None or slowest_ns == _NEVER_NS or watch(slowest_ns)
        if not goes_on and reached[0] < _NEVER_NS:
            # further than anyone is, as long as this process has not read on: who waits for that sees it then
            reached[-1] = min(reached[-1], reached[0] + AHEAD_NS)

    def pause() -> None:
        wait([process.pipe for process in processes if not process.answers], _LOOK_S)

    try:
        for number in range(1, len(shares)):
            here, there = spawn.Pipe()
            told = there, reached, number, gc.get_threshold()
            processes.append(_Process(spawn.Process(target=_work, args=told, daemon=True), here))
            with unheard():  # Ctrl-C is heard here alone, and `reached` says where to stop
                processes[-1].process.start()
            there.close()  # so that its end is seen
            processes[-1].give(work, files, shares[number])
        first = work(_opened(files), shares[0], _Turns(reached, 0, look, pause))
        reached[0] = _NEVER_NS
        while not all(process.answers for process in processes):
            look(min(reached[:-1]))
            pause()
        return [first, *(process.answers[0] for process in processes)]
    finally:
        for process in processes:
            process.end()


@dataclass(slots=True)
class _Turns:
    """A `Watch` that lets a process read on where it is not too far ahead of the others, until the end that is said."""

    reached: _Reached
    number: int
    look: Callable[[int], None]
    """Hears up to where the slowest process has read."""

    pause: Callable[[], None]
    free_ns: int = 0
    """Up to where it may read without asking."""

    def __call__(self, event_ns: int) -> bool:
        return event_ns < self.free_ns or self._ask(event_ns)

    def _ask(self, event_ns: int) -> bool:
        self.reached[self.number] = event_ns
        while True:
            slowest_ns = min(self.reached[:-1])
            self.look(slowest_ns)
            until_ns = self.reached[-1]  # looked at last: it is said before the first process reads on
            if event_ns >= until_ns:
                return False
            if event_ns + STEP_NS <= slowest_ns + AHEAD_NS:
                self.free_ns = min(event_ns + STEP_NS, until_ns)
                return True
            self.pause()


@dataclass(slots=True)
class _Process(Generic[T]):
    """Another process, and its answer when it is there."""

    process: SpawnProcess
    pipe: Connection
    answers: list[T] = field(default_factory=list)

    def give(self, work: Work[T], files: Sequence[_File], share: Share) -> None:
        """Say what to do. UnreachableError when the process has ended.

        Not with the start: that writes into a pipe whose other end it holds itself, and where more than 64 KiB are to
        be said to a process that is dead, for ever.
        """
        try:
            self.pipe.send((work, files, share))
        except OSError:
            raise self._ended() from None

    def look(self) -> None:
        """Take the answer if it has come. UnreachableError when the process has ended without it."""
        try:
            if not self.answers and self.pipe.poll():
                self.answers.append(self.pipe.recv())
        except (EOFError, OSError):
            raise self._ended() from None

    def _ended(self) -> UnreachableError:
        self.process.join()
        code = self.process.exitcode or 0
        how = f"was ended by signal {-code}" if code < 0 else f"has failed (exit code {code})"
        return UnreachableError(f"a process that had a share of the units {how}: try again, or with --jobs 1")

    def end(self) -> None:
        """However far it is."""
        if self.process.pid is not None:
            self.process.terminate()
            self.process.join()
        self.pipe.close()


def _work(pipe: Connection, reached: _Reached, number: int, collects: tuple[int, int, int]) -> None:
    """The whole life of another process."""
    gc.set_threshold(*collects)
    try:
        work, files, share = pipe.recv()
    except (EOFError, OSError):
        sys.exit("the process that asked for this work is gone")
    parent = multiprocessing.parent_process()
    assert parent is not None

    def look(_slowest_ns: int) -> None:
        if not parent.is_alive():
            sys.exit("the process that asked for this work is gone")

    turns = _Turns(reached, number, look, lambda: parent.join(_LOOK_S))
    answer = work(_opened(files), share, turns)
    reached[number] = _NEVER_NS
    pipe.send(answer)
