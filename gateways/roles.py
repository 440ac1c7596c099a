"""The roles of a site. The only place that knows which module carries which."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

ROLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "plant": "gateways.sim.role",
        "opcua": "gateways.opcua.role",
        "nvml": "gateways.nvml.role",
        "ticker": "streams.ticker",
        "worker": "streams.worker.role",
        "actuators": "gateways.actuators.role",
        "scada": "gateways.scada.role",
        "recorder": "streams.recorder.recorder",
        "alerts": "gateways.alerts.role",
    }
)
