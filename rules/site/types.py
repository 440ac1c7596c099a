"""Object types and point types: the words that a site file may use.

Source: the object and point types of NVIDIA's DSX Exchange BMS catalogue. DSX has no type for hydro,
heat-pump and heat-sink equipment, for a tray or for a GPU, and none for a few signals that the rules need:
those additions stand apart below. A GPU has no points: its 24 fields (`rules/gpu_fields.py`) come in frames.
"""

from __future__ import annotations

from collections.abc import Mapping

STATE = ""
"""The unit of a point type that is a state (0 off, open, good; 1 on, closed, detected) or a plain number."""

POINT_UNITS: Mapping[str, str] = {
    "ActivePower": "kW",
    "ApparentPower": "kVA",
    "Available": STATE,
    "Current": "A",
    "CurrentLimit": "A",
    "Frequency": "Hz",
    "LeakDetect": STATE,
    "LiquidDifferentialPressure": "kPa",
    "LiquidFlow": "L/min",
    "LiquidPressure": "kPa",
    "LiquidTemperature": "degC",
    "LiquidTemperatureSpRequest": "degC",
    "PhaseCurrent": "A",
    "PowerFactor": STATE,
    "PumpSpeed": "percent",
    "RackControlValvePosition": "percent",
    "RackElectricalIsolationRequest": STATE,
    "RackElectricalIsolationStatus": STATE,
    "RackLeakDetect": STATE,
    "RackLeakDetectTray": STATE,
    "RackLeakSensorFault": STATE,
    "RackLiquidDifferentialPressure": "kPa",
    "RackLiquidDifferentialPressureSp": "kPa",
    "RackLiquidFlow": "L/min",
    "RackLiquidIsolationRequest": STATE,
    "RackLiquidIsolationStatus": STATE,
    "RackLiquidReturnTemperature": "degC",
    "RackLiquidSupplyTemperature": "degC",
    "RackPower": "kW",
    "Status": STATE,
    "ValvePosition": "percent",
    "Voltage": "V",
    # Additions of ours.
    "ActuatorsInFallback": STATE,
    "AirTemperature": "degC",
    "CoefficientOfPerformance": STATE,
    "DeadChannels": STATE,
    "DewPoint": "degC",
    "FreeSpace": "GB",
    "GatePosition": "percent",
    "Head": "m",
    "HeatPower": "kW",
    "LiquidLevel": "percent",
    "RackControlValvePositionSp": "percent",
    "ShaftSpeed": "rpm",
    "StateOfCharge": "percent",
    "Temperature": "degC",
    "ValvePositionSp": "percent",
    "Vibration": "mm/s",
}
"""Each point type with a unit of its dimension; a site file may use any unit of the same dimension."""

GPU = "GPU"
GPU_ACTUATORS: Mapping[str, str] = {"power_limit": "W"}
"""What can be set on a GPU through NVML, and its unit."""

_ELECTRICAL = frozenset(
    {
        "Voltage",
        "PowerFactor",
        "Frequency",
        "ApparentPower",
        "ActivePower",
        "Current",
        "CurrentLimit",
        "PhaseCurrent",
        "Status",
        "Available",
    }
)
_LIQUID = frozenset(
    {
        "LiquidTemperature",
        "LiquidDifferentialPressure",
        "LiquidFlow",
        "LiquidPressure",
        "Status",
        "Available",
        "ValvePosition",
        "ValvePositionSp",
        "PumpSpeed",
        "LeakDetect",
        "LiquidTemperatureSpRequest",
        "Current",
        "ActivePower",
    }
)
_HEAT = _LIQUID | {"HeatPower", "CoefficientOfPerformance"}
_AIR = frozenset({"AirTemperature", "DewPoint", "Status", "Available", "ActivePower", "ValvePosition"})
_MOTION = frozenset({"Status", "Available", "ActivePower", "Current"})

OBJECT_TYPES: Mapping[str, frozenset[str]] = {
    "Rack": frozenset(
        name for name in POINT_UNITS if name.startswith("Rack") and name != "RackLeakDetectTray"
    ),
    "PowerMeter": _ELECTRICAL,
    "BESS": _ELECTRICAL | {"StateOfCharge"},
    "UPS": _ELECTRICAL | {"StateOfCharge"},
    "ATS": _ELECTRICAL,
    "Generator": _ELECTRICAL,
    "Shunt": _ELECTRICAL,
    "Breaker": _ELECTRICAL,
    "CDU": _LIQUID | {"LiquidLevel"},
    "CoolingTower": _HEAT,
    "HX": _HEAT,
    "CRAH": _AIR | _LIQUID,
    "CRAC": _AIR | _LIQUID,
    "AHU": _AIR | _LIQUID,
    "Chiller": _HEAT,
    "Valve": _LIQUID,
    "Pump": _LIQUID,
    "Fan": _MOTION,
    "Damper": _MOTION,
    "Sensor": _LIQUID | _AIR | {"LiquidLevel"},
    "Tank": _LIQUID | {"LiquidLevel"},
    "GenericObject": frozenset(POINT_UNITS),
    "System": frozenset(POINT_UNITS),
    # Additions of ours.
    "HydroUnit": _ELECTRICAL | {"GatePosition", "Head", "LiquidFlow", "ShaftSpeed", "Vibration"},
    "HeatPump": _HEAT,
    "HeatSink": _HEAT,
    "Tray": frozenset({"RackLeakDetectTray"}),
    GPU: frozenset(),
}
"""Each object type with the point types that it may have."""
