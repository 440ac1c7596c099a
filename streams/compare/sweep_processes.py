"""A sweep on two cores: each process has half of the units, and decodes what is theirs.

Rules: each input is decoded in one process only; both pass by the whole file. Where units tell each other facts, where
only one has the rule, or where the recording is small, a second process can't help. Ctrl-C ends both at the same
moment of event time.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Collection, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, Protocol

from rules.engine.facts import parts_of
from rules.errors import InvariantError
from rules.language.program import Program
from rules.site.model import Site
from streams.compare.episodes import cut_behind
from streams.compare.sweep import Swept, run_side_by_side, units_of
from streams.recording.recording import Recording
from streams.recording.segments import open_recordings
from streams.replay.inputs import Watch

LARGE_BYTES: Final = 512 << 20
"""From here on a second process, which takes two seconds to start on a large site, is quicker for certain."""
_LOOK_S: Final = 0.2
_NEVER_NS: Final = (1 << 63) - 1


class _Until(Protocol):
    """Shared memory: the event time (ns) from which on the second process reads no further."""

    value: int


def sweep(
    recordings: Sequence[Recording],
    site: Site,
    program: Program,
    watch: Watch,
    large_bytes: int = LARGE_BYTES,
) -> Swept:
    """`run_side_by_side`, in one process or in two."""
    units = units_of(program, site)
    size = sum(recording.path.stat().st_size for recording in recordings)
    if size < large_bytes or len(units) < 2 or parts_of(program, site).facts():
        return cut_off(run_side_by_side(recordings, site, program, units, watch))
    ours, theirs = halves(units, site)
    spawn = multiprocessing.get_context("spawn")
    until: _Until = spawn.RawValue("q", _NEVER_NS)
    here, there = spawn.Pipe(duplex=False)
    paths = [recording.path for recording in recordings]
    other = spawn.Process(target=_other, args=(there, until, paths, site, program, theirs), daemon=True)
    other.start()
    there.close()  # so that its end is seen

    def both(event_ns: int) -> bool:
        goes_on = watch(event_ns)
        if not goes_on:
            until.value = event_ns
        return goes_on

    swept = run_side_by_side(recordings, site, program, ours, both)
    try:
        while not here.poll(_LOOK_S):
            if not swept.is_partial and not watch(swept.now_ns):
                until.value = 0  # ours is whole: theirs ends where it is
        found: Swept = here.recv()
    except EOFError:
        raise InvariantError("the second process of the sweep has ended without its answer") from None
    other.join()
    return cut_off(_joined(swept, found))


def halves(units: Collection[str], site: Site) -> tuple[frozenset[str], frozenset[str]]:
    """Two parts with about as many GPUs and points each."""
    parts: tuple[list[str], list[str]] = ([], [])
    weights = [0, 0]
    sizes = {unit: len(site.units[unit].gpus) + len(site.units[unit].points) for unit in units}
    for unit in sorted(units, key=lambda one: (-sizes[one], one)):
        lighter = weights.index(min(weights))
        parts[lighter].append(unit)
        weights[lighter] += sizes[unit]
    return frozenset(parts[0]), frozenset(parts[1])


def _other(
    pipe: Connection, until: _Until, paths: list[Path], site: Site, program: Program, units: Collection[str]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it, and says when to stop
    recordings = open_recordings(paths)
    pipe.send(run_side_by_side(recordings, site, program, units, lambda event_ns: event_ns < until.value))


def _joined(one: Swept, other: Swept) -> Swept:
    both = [*zip(one.episodes, other.episodes, strict=True)]
    firsts = [swept.first_ns for swept in (one, other) if swept.first_ns is not None]
    lasts = [swept.last_ns for swept in (one, other) if swept.last_ns is not None]
    return Swept(
        [sorted([*ours, *theirs], key=lambda episode: episode.raised_ns) for ours, theirs in both],
        min(firsts, default=None),
        max(lasts, default=None),
        [*one.gaps, *other.gaps],
        one.inputs + other.inputs,
        one.is_partial or other.is_partial,
        min(one.now_ns, other.now_ns),
        [*one.lacks, *(line for line in other.lacks if line not in one.lacks)],
    )


def cut_off(swept: Swept) -> Swept:
    """Where it was ended early: up to where all units have come."""
    if not swept.is_partial:
        return swept
    end_ns = swept.now_ns
    swept.episodes = [list(cut_behind(episodes, lambda _: end_ns)) for episodes in swept.episodes]
    if swept.first_ns is not None and swept.last_ns is not None:
        swept.last_ns = max(min(swept.last_ns, end_ns), swept.first_ns)
    return swept
