"""The site of the bad rule files: small, with what they need to be wrong about."""

from __future__ import annotations

from functools import cache

from rules.site.model import Site
from rules.site.parse import parse_site

SITE = """
name: small
tick: 100 ms
sources:
  plant:
    kind: opcua
    endpoint: opc.tcp://127.0.0.1:4840/plant
    address: ns=2;s={point}
    period: 1 s
  gpus: {kind: simulator, assets: "R[1..2]", period: 100 ms}
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
      RackLiquidSupplyTemperature: 0..100 degC
      RackPower: 0..200 kW
      RackLeakDetect:
    contains: {"-T1": tray}
  pump:
    type: Pump
    points: {PumpSpeed: 0..100 %}
    actuators:
      PumpSpeed: {range: 30..100 %, default: 80 %}
units:
  row:
    assets:
      R1: {is: rack, constants: {only_here: 3 kW}}
      R2: {is: rack, constants: {design_flow: 50 L/min}}
      CDU-1:
        type: CDU
        points: {LiquidFlow: 0..1500 L/min, Status: }
        feeds: [R1, R2]
        contains: {-P1: pump}
      CDU-2:
        type: CDU
        points: {LiquidFlow: 0..1500 L/min}
        feeds: R2
      M1: {type: PowerMeter, points: {ActivePower: 0..200 kW}}
      M2: {type: PowerMeter, points: {ActivePower: 0..200000 W, Voltage: 0..500 V}}
      M3: {type: PowerMeter, points: {Frequency: 45..55 Hz}}
      S1: {type: Sensor, points: {LiquidTemperature: 0..100 degC}}
      S2: {type: Sensor, points: {LiquidTemperature: 273.15..373.15 K, AirTemperature: 0..50 degC}}
      T1: {type: Sensor, part_of: CDU-1, process_area: Primary Supply, points: {LiquidTemperature: 0..100 degC}}
      T2: {type: Sensor, part_of: CDU-1, process_area: Primary Return, points: {LiquidTemperature: 0..100 degC}}
      T3: {type: Sensor, part_of: CDU-1, process_area: Primary Return, points: {LiquidTemperature: 0..100 degC}}
  hall:
    assets:
      UPS-1: {type: UPS, points: {ActivePower: 0..1500 kW}, feeds: [R1, R2]}
"""


@cache
def site() -> Site:
    """The site, parsed once."""
    parsed, findings = parse_site(SITE, "site.yaml")
    assert parsed is not None, [str(finding) for finding in findings]
    return parsed
