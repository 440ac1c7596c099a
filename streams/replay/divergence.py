"""The first divergence of a replay, explained: which field, of which input, and the samples of its asset before it.

Rules: looked for only where something differs, in one more reading of the recordings; an output's id names its cause
(rules/engine/outputs.py): an input, or a deadline, which the first tick at or behind it fires.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from rules.engine.inputs import Frame, Input, Readings, Tick
from rules.errors import UndecodableError
from rules.gpu_fields import GPU_FIELDS
from rules.site.model import Unit
from streams.recording.recording import Recording
from streams.replay.verification import Divergence
from streams.topics import EVENTS
from streams.wire import decode_input

SAMPLES: Final = 5
"""How many are shown."""


class Differing(NamedTuple):
    """A field of the output; None where there is none."""

    name: str
    recorded: Any
    replayed: Any


class Sample(NamedTuple):
    """What one input said of the asset at a time; without what was not available."""

    time_ns: int
    values: Mapping[str, float]


class Explanation(NamedTuple):
    """The fields that differ, where the cause stands on `events` (None where it isn't found), and the samples."""

    fields: tuple[Differing, ...]
    partition: int | None
    offset: int | None
    time_ns: int | None
    """Event time of the cause: its newest sample, or the tick."""

    samples: tuple[Sample, ...]
    """The last ones up to the cause, of the asset that the output is about."""


def explain(recordings: Sequence[Recording], units: Mapping[str, Unit], found: Divergence) -> Explanation:
    """What differs, and what came before it."""
    was, now = _fields(found.recorded), _fields(found.replayed)
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)] if was and now else []
    fields = tuple(Differing(name, was.get(name), now.get(name)) for name in names)
    unit = units.get(found.unit)
    if unit is None:
        return Explanation(fields, None, None, None, ())
    asset = str((now or was).get("asset", ""))
    samples: deque[Sample] = deque(maxlen=SAMPLES)
    for partition, offset, value in _inputs(recordings, found.unit):
        samples.extend(_samples(value, unit, asset))
        if _causes(value, found.id):
            return Explanation(fields, partition, offset, _time_of(value), tuple(samples))
    return Explanation(fields, None, None, None, ())


def _fields(text: str) -> dict[str, Any]:
    """The body of an output, flat; the first of several that were recorded under one id."""
    if not text:
        return {}
    body: dict[str, Any] = orjson.loads(text.split("\n", 1)[0])["body"]
    flat = {}
    for name, value in body.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": one for inner, one in value.items()})
        else:
            flat[name] = value
    return flat


def _inputs(recordings: Sequence[Recording], unit: str) -> Iterator[tuple[int, int, Input]]:
    for recording in recordings:
        for _, place, offset, _, value in recording.stored({EVENTS.name}):
            if place.key == unit.encode():
                try:
                    yield place.partition, offset, decode_input(place.key, place.headers, value)
                except UndecodableError:
                    continue


def _causes(value: Input, output_id: str) -> bool:
    identity = value.identity
    if output_id.startswith(f"{value.unit}:{identity.source}:{identity.epoch}:{identity.sequence}:"):
        return True
    middle = output_id.rsplit(":", 2)[-2:-1]
    is_deadline = bool(middle) and len(middle[0]) >= len("1000000000000000000")
    return (
        isinstance(value, Tick) and is_deadline and middle[0].isdecimal() and value.time_ns >= int(middle[0])
    )


def _time_of(value: Input) -> int | None:
    if isinstance(value, Tick):
        return value.time_ns
    if isinstance(value, Frame | Readings) and len(value.time_ns):
        return int(value.time_ns.max())
    return None


def _samples(value: Input, unit: Unit, asset: str) -> Iterator[Sample]:
    if isinstance(value, Readings):
        said = {
            point: (int(time_ns), float(number))
            for point, time_ns, number in zip(value.points, value.time_ns, value.values, strict=True)
            if point.startswith(f"{asset}.")
        }
        if said:
            newest_ns = max(time_ns for time_ns, _ in said.values())
            yield Sample(newest_ns, {point: number for point, (_, number) in said.items()})
    elif isinstance(value, Frame) and value.asset in unit.gpu_range:
        low, high = unit.gpu_range[value.asset]
        below = unit.gpus[low:high]
        for place, gpu in enumerate(value.gpu.tolist()):
            if gpu < len(below) and below[gpu] == asset:
                for time_ns, row in zip(value.time_ns.tolist(), value.values[:, place].tolist(), strict=True):
                    named = zip(GPU_FIELDS, row, strict=True)
                    yield Sample(
                        time_ns, {one.name: number for one, number in named if math.isfinite(number)}
                    )
