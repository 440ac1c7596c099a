"""A signal as rules read it, and what measures it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rules.gpu_fields import FIELD_INDEX, GPU_FIELDS
from rules.language.terms import Term


class Sensor(NamedTuple):
    """What measures a signal: its unit and its range in that unit."""

    unit: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal as a rule's assets read it.

    `unit` is the one to compute in: that of the first asset, or degC for all temperatures. `sensors`: by asset.
    `alike`: all have the same unit and range. `plain`: the term that reads it, for all assets of `sensors`.
    """

    name: str
    unit: str
    sensors: Mapping[str, Sensor]
    plain: Term
    alike: bool = True


def gpu_sensor(name: str) -> Sensor:
    """What measures a field of any GPU."""
    of = GPU_FIELDS[FIELD_INDEX[name]]
    return Sensor(of.unit, of.low, of.high)
