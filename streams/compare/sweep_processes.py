"""A sweep by several processes, each with a share of the units (`streams/replay/processes.py`).

Rules: each input is decoded in one process only. Where units tell each other facts, which are made anew, or where only
one has the rule, a second process can't help.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce

from rules.engine.facts import parts_of
from rules.language.program import Program
from rules.site.model import Site
from streams.compare.episodes import cut_behind
from streams.compare.sweep import Swept, run_side_by_side, units_of
from streams.recording.recording import Recording
from streams.replay.inputs import Watch
from streams.replay.processes import shares_of, side_by_side


def sweep(
    recordings: Sequence[Recording], site: Site, program: Program, watch: Watch | None = None, jobs: int = 1
) -> Swept:
    """`run_side_by_side` in at most `jobs` processes. UnreachableError where one of them has died."""
    makes_facts = bool(parts_of(program, site).facts())
    shares = shares_of(units_of(program, site), site, 1 if makes_facts else jobs)
    work = partial(run_side_by_side, site=site, program=program)
    return cut_off(reduce(_joined, side_by_side(work, recordings, shares, watch)))


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
