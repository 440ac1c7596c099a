"""GPUs as their driver shows them: the 24 fields of a frame, and the state that the simulated NVML reads.

Rules: temperatures and clocks are whole numbers, as NVML gives them, in frames too, so that a GPU looks the same
whichever way it is read; counters only grow; the NVML state's limits are read back before every step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateways.nvml.state import NvmlState
from gateways.sim.physics_gpus import SLOWDOWN_C
from gateways.sim.plant import Plant
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX

MEMORY_OVER_GPU_K = 6.0
CLOCK_MAX_MHZ = 1920.0
MEMORY_CLOCK_MHZ = 3996.0
MEMORY_USED_MIB = 262_144.0
PCIE_KB_S = 2.4e6
NVLINK_KB_S = 4.0e8
STORM_ERRORS_PER_S = 40.0
IDLE, SW_POWER_CAP, HW_SLOWDOWN, HW_THERMAL = 0x1, 0x4, 0x8, 0x40
RECOVERY_RESET = 1


class Telemetry:
    """What the GPUs show now; `update` after every step. `values` (N, 24) float32, `energy_mj` (N,) int64."""

    def __init__(self, plant: Plant, state: NvmlState | None = None) -> None:
        count = len(plant.gpus.power_w)
        self.values = np.zeros((count, FIELD_COUNT), dtype=np.float32)
        self.energy_mj = np.zeros(count, dtype=np.int64)
        self._plant = plant
        self._state = state
        self._nvlink_errors = np.zeros(count)
        self._xid_shown = np.zeros(count, dtype=np.int64)
        self._sent_kb = np.zeros(count)
        self._limit_mw = np.round(plant.gpus.limit_w * 1000.0).astype(np.int64)
        self._column("memory_clock", MEMORY_CLOCK_MHZ)
        self._column("memory_used", MEMORY_USED_MIB)

    def take_limits(self) -> list[tuple[int, float, float]]:
        """Read the limits that setters wrote; returns (GPU, old, new) in W for each that changed."""
        if self._state is None:
            return []
        limits = self._state.field("power_limit_mw").astype(np.int64)
        changed = np.flatnonzero(limits != self._limit_mw)
        if len(changed) == 0:
            return []
        changes = [(int(gpu), int(self._limit_mw[gpu]) / 1000, int(limits[gpu]) / 1000) for gpu in changed]
        self._plant.gpus.limit_w[changed] = limits[changed] / 1000.0
        self._limit_mw = limits
        return changes

    def update(self, dt_s: float) -> None:
        """Take the plant's state of now."""
        plant, gpus = self._plant, self._plant.gpus
        work = gpus.power_w / np.maximum(gpus.demand_w, 1.0) * (gpus.powered > 0)
        busy = np.clip(gpus.demand_w / 1310.0, 0.0, 1.0) * (gpus.powered > 0)
        hot = gpus.temperature_c > SLOWDOWN_C
        capped = gpus.limit_w < gpus.demand_w - 1.0
        reasons = np.where(capped, SW_POWER_CAP, 0) | np.where(hot, HW_SLOWDOWN | HW_THERMAL, 0)
        reasons = np.where(busy < 0.2, IDLE, reasons)
        self._nvlink_errors += np.where(plant.xid > 0, STORM_ERRORS_PER_S * dt_s, 0.0)
        self._sent_kb += PCIE_KB_S * work * dt_s
        self.energy_mj = np.round(gpus.energy_j * 1000.0).astype(np.int64)
        self._column("power_instant", gpus.power_w)
        self._column("power_mean", gpus.mean_power_w)
        self._column("energy", gpus.energy_j / 1000.0)
        temperature = np.round(gpus.temperature_c)
        self._column("temperature", temperature)
        self._column("memory_temperature", temperature + MEMORY_OVER_GPU_K)
        self._column("temperature_margin", SLOWDOWN_C - temperature)
        self._column("enforced_power_limit", gpus.limit_w)
        # dynamic power goes with the cube of the clock, as voltage follows it
        self._column("sm_clock", np.round(CLOCK_MAX_MHZ * np.cbrt(np.clip(work, 0.0, 1.0))))
        self._column("gpu_utilization", np.round(98.0 * busy))
        self._column("memory_utilization", np.round(62.0 * busy * work))
        self._column("event_reasons", reasons)
        self._column("xid", plant.xid)
        self._column("pcie_sent", PCIE_KB_S * work)
        self._column("pcie_received", 0.9 * PCIE_KB_S * work)
        self._column("nvlink_throughput", NVLINK_KB_S * work)
        self._column("nvlink_errors", np.floor(self._nvlink_errors))
        self._column("recovery_action", np.where(plant.xid > 0, RECOVERY_RESET, 0))
        if self._state is not None:
            self._show(self._state, dt_s)

    def _column(self, name: str, value: Any) -> None:
        self.values[:, FIELD_INDEX[name]] = value

    def _field(self, name: str) -> NDArray[np.float32]:
        return self.values[:, FIELD_INDEX[name]]

    def _show(self, state: NvmlState, dt_s: float) -> None:
        """Write the state that the simulated NVML reads. Limits are the setters': never written here."""
        for name, value in (
            ("energy_mj", self.energy_mj),
            ("memory_used_bytes", self._field("memory_used") * float(1 << 20)),
            ("event_reasons", self._field("event_reasons")),
            ("pcie_sent_bytes", self._sent_kb * 1000.0),
            ("pcie_received_bytes", self._sent_kb * 900.0),
            ("nvlink_sent_kib", self._sent_kb * (NVLINK_KB_S / PCIE_KB_S / 2.048)),
            ("nvlink_received_kib", self._sent_kb * (NVLINK_KB_S / PCIE_KB_S / 2.048)),
            ("nvlink_errors", self._field("nvlink_errors")),
            ("power_mw", np.round(self._plant.gpus.power_w * 1000.0)),
            ("power_mean_mw", np.round(self._plant.gpus.mean_power_w * 1000.0)),
            ("temperature_c", self._field("temperature")),
            ("memory_temperature_c", self._field("memory_temperature")),
            ("temperature_margin_c", self._field("temperature_margin")),
            ("sm_clock_mhz", self._field("sm_clock")),
            ("gpu_utilization_pct", self._field("gpu_utilization")),
            ("memory_utilization_pct", self._field("memory_utilization")),
            ("recovery_action", self._field("recovery_action")),
        ):
            state.field(name)[:] = value
        state.header["clock_ns"] = self._plant.time_ns
        raised = np.flatnonzero((self._plant.xid > 0) & (self._plant.xid != self._xid_shown))
        for gpu in raised:
            state.raise_xid(int(gpu), int(self._plant.xid[gpu]))
        self._xid_shown = self._plant.xid.copy()
