"""What a script's signal is at each of its sample times."""

from __future__ import annotations

import numpy as np

from rules.quality import Quality
from streams.scenarios.model import Script, Step, Trace

_QUALITY = {"bad": Quality.BAD, "uncertain": Quality.UNCERTAIN, "missing": Quality.MISSING}


def trace(script: Script, duration_ns: int) -> Trace:
    """The samples that the script makes from its first step to `duration_ns`, or the recorded ones of that time."""
    if script.recorded is not None:
        all_of_it = script.recorded
        kept = all_of_it.time_ns <= duration_ns
        return Trace(all_of_it.time_ns[kept], all_of_it.values[kept], all_of_it.quality[kept])
    count = duration_ns // script.every_ns + 1
    noise = (
        np.random.default_rng(script.seed).normal(0.0, script.noise, count)
        if script.noise
        else np.zeros(count)
    )
    times: list[int] = []
    values: list[float] = []
    quality: list[int] = []
    for sample in range(count):
        at_ns = sample * script.every_ns
        begun = [step for step in script.steps if step.at_ns <= at_ns]
        if not begun or begun[-1].shape == "silent":
            continue
        shape = begun[-1].shape
        value = float("nan") if shape == "missing" else _value(begun, at_ns) + float(noise[sample])
        times.append(at_ns)
        values.append(value)
        quality.append(_QUALITY.get(shape, Quality.GOOD))
    return Trace(np.array(times, np.int64), np.array(values), np.array(quality, np.uint8))


def _value(begun: list[Step], at_ns: int) -> float:
    """The value of the last step that has one, on its way there while it lasts; NaN when none has."""
    valued = [step for step in begun if step.shape == "value"]
    if not valued:
        return float("nan")
    last = valued[-1]
    since_ns = at_ns - last.at_ns
    if since_ns >= last.over_ns or len(valued) == 1:
        return last.value
    return valued[-2].value + (last.value - valued[-2].value) * since_ns / last.over_ns
