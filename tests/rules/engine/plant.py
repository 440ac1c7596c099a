"""A small site and short ways to write inputs, for tests of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from rules.engine.inputs import Frame, Gap, Identity, Readings, Tick
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from rules.language.program import Program
from rules.quality import Quality
from rules.site.model import Site
from rules.site.parse import parse_site

S = 1_000_000_000
MS = 1_000_000
START = 1_700_000_000 * S
UNIT = "row"

SITE = """
name: test
tick: 100 ms
sources:
  plant:
    kind: opcua
    endpoint: opc.tcp://127.0.0.1:4840/plant
    address: ns=2;s={point}
    period: 1 s
  gpus:
    kind: simulator
    assets: R[1..2]
    period: 100 ms
templates:
  gpu:
    type: GPU
    constants: {hot: 55 degC, default_power_limit: 1400 W}
    actuators:
      power_limit: {range: 500..1600 W, default: 1400 W}
  tray:
    type: Tray
    contains: {"-G[1..2]": gpu}
  rack:
    type: Rack
    constants: {design_flow: 100 L/min}
    points:
      RackLiquidFlow: 0..300 L/min
      RackPower: 0..200 kW
    contains: {"-T[1..2]": tray}
  pump:
    type: Pump
    points:
      PumpSpeed: 0..100 %
    actuators:
      PumpSpeed: {range: 30..100 %, default: 80 %}
  valve:
    type: Valve
    points:
      ValvePosition: {range: 0..100 %, period: 2500 ms}
units:
  row:
    assets:
      R1: rack
      R2: {is: rack, constants: {design_flow: 50 L/min}}
      CDU:
        type: CDU
        points:
          LiquidFlow: {range: 0..1500 L/min, period: 200 ms}
        feeds: [R1, R2]
        contains:
          -P1: pump
          -P2: pump
      V1: valve
  hall:
    assets:
      H: {type: PowerMeter, points: {ActivePower: 0..1500 kW}, feeds: [R1, R2, V1, V2]}
      V2: valve
"""


@cache
def site() -> Site:
    """The site, parsed once."""
    parsed, findings = parse_site(SITE, "site.yaml")
    assert parsed is not None, findings
    return parsed


LOW = """
  low:
    for: Rack
    when: RackLiquidFlow < 50 L/min
    on_delay: 1 s
    severity: high
    message: "{asset} {value}"
"""
"""A rule that several tests change, and take away."""


def program(rules: str) -> Program:
    """A program of the text below `rules:`."""
    from rules.language.load import load_rules

    loaded, findings = load_rules({"rules.yaml": "rules:\n" + rules}, site())
    assert loaded is not None, [str(finding) for finding in findings]
    return loaded


def tick(at_ns: int, unit: str = UNIT) -> Tick:
    return Tick(unit, Identity("ticker", 0, at_ns // (100 * MS)), at_ns)


def flow(
    sequence: int,
    at_ns: int,
    *values: float,
    point: str = "R1.RackLiquidFlow",
    quality: Quality = Quality.GOOD,
    ingest_ns: int | None = None,
    epoch: int = 1,
    source: str = "plant",
    step_ns: int = S,
    backfill: bool = False,
) -> Readings:
    """Readings of one point, `step_ns` apart, the last at `at_ns`."""
    n = len(values)
    times = at_ns - step_ns * np.arange(n, dtype=np.int64)[::-1]
    return Readings(
        UNIT,
        Identity(source, epoch, sequence),
        at_ns if ingest_ns is None else ingest_ns,
        (point,) * n,
        times,
        np.zeros(n, np.int64),
        np.array(values, np.float64),
        np.full(n, quality, np.uint8),
        np.zeros(n, np.uint32),
        backfill,
    )


def frame(
    sequence: int,
    at_ns: int,
    temperature: float | Sequence[float],
    asset: str = "R1",
    gpus: Sequence[int] = (0, 1, 2, 3),
    quality: Quality = Quality.GOOD,
    ingest_ns: int | None = None,
    epoch: int = 1,
    source: str = "gpus",
    times_ns: Sequence[int] | None = None,
) -> Frame:
    """A frame of `gpus` of an asset, one temperature for all or one each; other fields are not available."""
    times = np.array([at_ns] if times_ns is None else times_ns, np.int64)
    values = np.full((len(times), len(gpus), FIELD_COUNT), np.nan, np.float32)
    values[:, :, FIELD_INDEX["temperature"]] = temperature
    return Frame(
        UNIT,
        Identity(source, epoch, sequence),
        at_ns if ingest_ns is None else ingest_ns,
        asset,
        times,
        np.array(gpus, np.uint16),
        values,
        np.full((len(times), len(gpus)), quality, np.uint8),
        np.full((len(times), len(gpus)), -1, np.int64),
    )


def gap(sequence: int, reason: str, readings: int = 0, epoch: int = 1, source: str = "plant") -> Gap:
    return Gap(UNIT, Identity(source, epoch, sequence), reason, START, START + S, readings)
