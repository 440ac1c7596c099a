"""The recording that `headrace bench replay` replays: the simulated plant of a site in event time, as a worker has it.

Rules: no clock; the site's own rules; inputs, facts and outputs stand in the file as a live run would leave them, so
that the replay has something to compare; every GPU source gives one frame a second for each rack, of one sample or ten.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from mcap.writer import CompressionType

from gateways.bench.event_time_run import Step, write_run
from gateways.sim.event_time import STEP_NS, EventTimePlant
from gateways.sim.faults import parse_faults
from rules.engine.inputs import Frame, Input
from rules.errors import UnreachableError
from rules.site.model import Site
from streams.rule_sets.rule_set import RuleSet, rule_set_of
from streams.site_folder import SITE_FILE, load_site

FAULTS: Final = "pump_trip@30s, ~pump_trip@45s"
"""So that there are alarms and commands to say."""
_STEPS: Final = 1_000_000_000 // STEP_NS
_FAST: Final = re.compile(r"\bperiod: 100 ms\b")


def rules_at(site_dir: Path, samples: int) -> RuleSet:
    """The site with every source that samples each 100 ms at so many `samples` a second, 1 or 10.

    UnreachableError without any such source.
    """
    files = dict(rule_set_of(site_dir, load_site(site_dir)).files)
    text, count = _FAST.subn("period: 1 s", files[SITE_FILE])
    if not count:
        raise UnreachableError(
            f"{site_dir / SITE_FILE} has no source with 'period: 100 ms', the bench needs one"
        )
    return RuleSet({**files, SITE_FILE: text} if samples == 1 else files)


def record_run(
    rule_set: RuleSet, seconds: int, path: Path, compression: CompressionType = CompressionType.LZ4
) -> None:
    """Write `seconds` of event time to `path`; a chunk ends with each second, as a recorder ends it."""
    write_run(path, rule_set, _steps(rule_set.load_site(), seconds), compression=compression)


def _steps(site: Site, seconds: int) -> Iterator[Step]:
    plant = EventTimePlant(site, seed=1)
    for fault in parse_faults(FAULTS):
        plant.inject(fault)
    frames = _Frames()
    for step in range(seconds * _STEPS):
        is_last = step % _STEPS == _STEPS - 1
        inputs = {unit: frames.of_a_second(found, is_last) for unit, found in plant.step().items()}
        yield plant.now_ns, inputs


class _Frames:
    """Puts the frames of a rack together, as a gateway does that sends once a second."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str, str], list[Frame]] = {}
        self._sequences: Counter[tuple[str, str]] = Counter()

    def of_a_second(self, inputs: list[Input], is_last: bool) -> list[Input]:
        """The inputs of a step of one unit; its frames only at the last one of a second, behind the ticks."""
        out: list[Input] = []
        unit = ""
        for value in inputs:
            unit = value.unit
            if isinstance(value, Frame):
                key = unit, value.identity.source, value.asset
                self._waiting.setdefault(key, []).append(value)
            else:
                out.append(value)
        if is_last:
            for key in [key for key in self._waiting if key[0] == unit]:
                out.append(self._together(self._waiting.pop(key)))
        return out

    def _together(self, frames: list[Frame]) -> Frame:
        last = frames[-1]
        source = last.unit, last.identity.source
        self._sequences[source] += 1
        return replace(
            last,
            identity=replace(last.identity, sequence=self._sequences[source]),
            time_ns=np.concatenate([frame.time_ns for frame in frames]),
            values=np.concatenate([frame.values for frame in frames]),
            quality=np.concatenate([frame.quality for frame in frames]),
            energy_mj=np.concatenate([frame.energy_mj for frame in frames]),
        )
