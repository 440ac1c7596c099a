"""Site texts that several tests share: one OPC UA source, and as little plant as there can be."""

from __future__ import annotations

OPENING = """
name: small
tick: 1 s
rules: [rules]
sources:
  plc: {kind: opcua, endpoint: "opc.tcp://127.0.0.1:4840", address: "ns=2;s={point}"}
units:
"""
"""What comes before the units."""
HALL = OPENING + "  hall:\n    assets:\n      P-1: {type: Pump, points: {PumpSpeed: {range: 0..100 %}}}\n"
"""A pump."""
RACKS = (
    OPENING
    + """\
  site:
    assets: {M: {type: PowerMeter, points: {ActivePower: 0..100 kW}, feeds: [R1, R2]}}
  row:
    assets: {"R[1..2]": {type: Rack, points: {RackPower: 0..100 kW}}}
"""
)
"""Two racks in one unit, and in another one the meter that they hang on."""
RACKS_DRAW_MUCH = """
rules:
  racks-draw-much:
    for: PowerMeter
    when: sum(Rack.RackPower) > 100 kW
    severity: high
    message: "{asset}: {value:.0f} kW"
"""
"""A rule for `RACKS` that needs facts."""
