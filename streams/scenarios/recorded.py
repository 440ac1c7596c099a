"""Samples of a recording as a scenario's signal: values, quality and times as they stand in its log.

Rules: what the log holds as backfill is none of it, as no rule sees it; of two samples of one time the first one
counts; units are those of the site that the recording carries; a damaged recording gives nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rules.engine.inputs import Frame, Readings
from rules.errors import ConfigurationError, UndecodableError
from rules.findings import Finding, nearest
from rules.gpu_fields import FIELD_INDEX, GPU_FIELDS
from rules.quality import Quality
from rules.site import units
from streams.recording.recorded_site import recorded_rules
from streams.recording.recording import Recording
from streams.scenarios.model import Trace
from streams.topics import EVENTS
from streams.wire import decode_input


class RecordedSignals:
    """A recording of ours. Raises ConfigurationError when it can't be read, or carries no site."""

    def __init__(self, path: Path) -> None:
        self._recording = Recording(path)
        self._site = recorded_rules(self._recording).load_site(f"{path}:")

    def check(self, name: str, unit: str) -> tuple[str, str]:
        """What is wrong with `ASSET.SIGNAL` as something in `unit`, and a hint; empty texts where nothing is."""
        asset, _, signal = name.rpartition(".")
        if not self._unit(name):
            gpu = {f"{asset}.{one}" for one in FIELD_INDEX} if asset in self._gpus() else set()
            return f"the recorded site has no signal '{name}'", nearest(name, gpu or set(self._site.points))
        if not units.same_dimension(self._unit(name), unit):
            return f"{signal} is in {self._unit(name)}, and what it is given to in {unit}", ""
        return "", ""

    def samples(self, name: str, unit: str, from_ns: int, to_ns: int) -> Trace:
        """Those of `ASSET.SIGNAL` from `from_ns` to before `to_ns`, in `unit`, times since `from_ns`.

        Raises ConfigurationError where there are none, or where the recording is damaged.
        """
        found: dict[int, tuple[float, int]] = {}
        every_ns: list[int] = []
        for at_ns, value, quality in self._said(name):
            every_ns.append(at_ns)
            if from_ns <= at_ns < to_ns:
                found.setdefault(at_ns - from_ns, (value, quality))
        path = str(self._recording.path)
        if self._recording.damage:
            raise ConfigurationError(
                [Finding(path, 0, 0, f"the recording is damaged: {self._recording.damage[0]}")]
            )
        if not found:
            hint = f"it has {len(every_ns)} in all"
            raise ConfigurationError([Finding(path, 0, 0, f"no sample of {name} between these times", hint)])
        times = sorted(found)
        recorded = self._unit(name)
        offset = units.convert(0.0, recorded, unit)
        factor = units.convert(1.0, recorded, unit) - offset
        values = np.array([found[at_ns][0] for at_ns in times]) * factor + offset
        return Trace(np.array(times, np.int64), values, np.array([found[t][1] for t in times], np.uint8))

    def _gpus(self) -> set[str]:
        return {gpu for unit in self._site.units.values() for gpu in unit.gpus}

    def _unit(self, name: str) -> str | None:
        point = self._site.points.get(name)
        if point is not None:
            return point.engineering_unit
        asset, _, signal = name.rpartition(".")
        return (
            GPU_FIELDS[FIELD_INDEX[signal]].unit if asset in self._gpus() and signal in FIELD_INDEX else None
        )

    def _said(self, name: str) -> Iterator[tuple[int, float, int]]:
        """Time, value and quality of each sample, in the order of the log."""
        asset, _, signal = name.rpartition(".")
        for record in self._recording.records({EVENTS.name}):
            try:
                value = decode_input(record.key, record.headers, record.value)
            except UndecodableError:
                continue  # no input, whoever wrote it
            if isinstance(value, Readings) and not value.backfill:
                for place in (place for place, point in enumerate(value.points) if point == name):
                    yield int(value.time_ns[place]), float(value.values[place]), int(value.quality[place])
            elif isinstance(value, Frame) and not value.backfill and signal in FIELD_INDEX:
                yield from self._of_gpu(value, asset, FIELD_INDEX[signal])

    def _of_gpu(self, frame: Frame, gpu: str, column: int) -> Iterator[tuple[int, float, int]]:
        unit = self._site.units.get(frame.unit)
        if unit is None or gpu not in unit.gpu_lane or frame.asset not in unit.gpu_range:
            return
        places = np.flatnonzero(frame.gpu == unit.gpu_lane[gpu] - unit.gpu_range[frame.asset][0])
        for place in places[:1]:
            for at_ns, value, quality in zip(
                frame.time_ns, frame.values[:, place, column], frame.quality[:, place], strict=True
            ):
                missing = quality == Quality.GOOD and np.isnan(value)
                yield int(at_ns), float(value), int(Quality.MISSING if missing else quality)
