"""The 24 fields of a GPU, in the order in which every frame carries them.

Sources: NVML's nvml.h (NVML_FI_* field ids) and its per-device calls. Field ids are the key: DCGM renamed
fields between versions. `field_id` None means that the value comes from a call of its own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GpuField:
    """One column of a frame: `unit` as pint reads it, `scale` turns NVML's integer into that unit."""

    name: str
    unit: str
    field_id: int | None
    scale: float = 1.0
    low: float = 0.0
    high: float = float("inf")


GPU_FIELDS: tuple[GpuField, ...] = (
    GpuField("power_instant", "W", 186, 1e-3, 0, 3000),
    GpuField("power_mean", "W", 185, 1e-3, 0, 3000),
    GpuField("energy", "kJ", 83, 1e-6),
    GpuField("temperature", "degC", None, 1.0, -20, 150),
    GpuField("memory_temperature", "degC", 82, 1.0, -20, 150),
    GpuField("temperature_margin", "K", None, 1.0, -50, 150),
    GpuField("enforced_power_limit", "W", None, 1e-3, 0, 3000),
    GpuField("sm_clock", "MHz", None, 1.0, 0, 5000),
    GpuField("memory_clock", "MHz", None, 1.0, 0, 10000),
    GpuField("gpu_utilization", "percent", None, 1.0, 0, 100),
    GpuField("memory_utilization", "percent", None, 1.0, 0, 100),
    GpuField("memory_used", "MiB", None, 1.0 / (1 << 20)),
    GpuField("event_reasons", "", None),
    GpuField("xid", "", None),
    GpuField("ecc_corrected", "", None),
    GpuField("ecc_uncorrected", "", None),
    GpuField("remapped_rows", "", None),
    GpuField("pcie_sent", "kB/s", None),
    GpuField("pcie_received", "kB/s", None),
    GpuField("pcie_replays", "", None),
    GpuField("nvlink_throughput", "kB/s", None),
    GpuField("nvlink_errors", "", None),
    GpuField("power_smoothing_floor", "percent", None, 1.0, 0, 100),
    GpuField("recovery_action", "", None, 1.0, 0, 7),
)
"""`energy` is float32 for rules; a frame's `energy_mj` column carries the exact counter for the ledger."""

FIELD_COUNT = len(GPU_FIELDS)
FIELD_INDEX: dict[str, int] = {field.name: index for index, field in enumerate(GPU_FIELDS)}
