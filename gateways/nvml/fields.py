"""How each of the 24 fields of a GPU is asked of NVML: which field ids and calls, how often, in which unit.

Sources: nvml.h (field ids, units of each call). Rules: what has a field id comes in one batched call, the rest by
calls of their own; *fast* fields are read with every sample, *slow* ones once a slow period and held between; a
counter becomes a rate by its difference, over the time that the gateway measured. Fast is what the driver answers out
of its own memory (15 us on an H200); energy and margin ask the GPU's own processor (3 ms and 1 ms), so they are slow.
PCIe rates come out of GPM (gpm.py).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pynvml

from rules.gpu_fields import FIELD_INDEX, GPU_FIELDS

_ALL_LINKS: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class FieldRead:
    """A field id of the batched call. Several ids of one field add up. `scope` as nvml.h says for the id."""

    field_id: int
    field: str
    fast: bool = False
    scope: int = 0

    @property
    def column(self) -> int:
        """The field's place in a frame."""
        return FIELD_INDEX[self.field]


@dataclass(frozen=True, slots=True)
class CallRead:
    """A call of its own, `function(handle, *arguments, &result)`; `members` of the result go to fields."""

    function: str
    members: tuple[tuple[str, str], ...]
    result: Callable[[], Any]
    arguments: tuple[int, ...] = ()
    fast: bool = False


FIELD_READS: Final[tuple[FieldRead, ...]] = (
    FieldRead(186, "power_instant", fast=True),
    FieldRead(185, "power_mean", fast=True),
    FieldRead(83, "energy"),
    FieldRead(82, "memory_temperature", fast=True),
    FieldRead(3, "ecc_corrected"),
    FieldRead(4, "ecc_uncorrected"),
    FieldRead(142, "remapped_rows"),
    FieldRead(143, "remapped_rows"),
    FieldRead(94, "pcie_replays"),
    FieldRead(138, "nvlink_throughput", scope=_ALL_LINKS),
    FieldRead(139, "nvlink_throughput", scope=_ALL_LINKS),
    FieldRead(38, "nvlink_errors"),
    FieldRead(52, "nvlink_errors"),
    FieldRead(59, "nvlink_errors"),
    FieldRead(219, "nvlink_errors", scope=_ALL_LINKS),
    FieldRead(260, "power_smoothing_floor"),
    FieldRead(230, "recovery_action"),
)
"""ECC: volatile totals since driver load. NVLink errors: flit CRC, replay and recovery up to NVLink 4, effective
errors from NVLink 5. Power smoothing floor: percent of the profile with the number `scope`, 0."""


def _margin() -> Any:
    margin = pynvml.c_nvmlMarginTemperature_v1_t()
    margin.version = pynvml.nvmlMarginTemperature_v1
    return margin


def _memory() -> Any:
    # the first version counts what the driver holds back for itself as used: 615 MiB of an idle H200
    memory = pynvml.c_nvmlMemory_v2_t()
    memory.version = pynvml.nvmlMemory_v2
    return memory


CALL_READS: Final[tuple[CallRead, ...]] = (
    CallRead(
        "nvmlDeviceGetTemperature",
        (("value", "temperature"),),
        pynvml.c_uint,
        (pynvml.NVML_TEMPERATURE_GPU,),
        fast=True,
    ),
    CallRead(
        "nvmlDeviceGetEnforcedPowerLimit", (("value", "enforced_power_limit"),), pynvml.c_uint, fast=True
    ),
    CallRead(
        "nvmlDeviceGetClockInfo", (("value", "sm_clock"),), pynvml.c_uint, (pynvml.NVML_CLOCK_SM,), fast=True
    ),
    CallRead(
        "nvmlDeviceGetUtilizationRates",
        (("gpu", "gpu_utilization"), ("memory", "memory_utilization")),
        pynvml.c_nvmlUtilization_t,
        fast=True,
    ),
    CallRead(
        "nvmlDeviceGetCurrentClocksEventReasons", (("value", "event_reasons"),), pynvml.c_ulonglong, fast=True
    ),
    CallRead("nvmlDeviceGetClockInfo", (("value", "memory_clock"),), pynvml.c_uint, (pynvml.NVML_CLOCK_MEM,)),
    CallRead("nvmlDeviceGetMarginTemperature", (("marginTemperature", "temperature_margin"),), _margin),
    CallRead("nvmlDeviceGetMemoryInfo_v2", (("used", "memory_used"),), _memory),
)

RATES: Final[dict[int, float]] = {FIELD_INDEX["nvlink_throughput"]: 1.024}
"""Columns that are a rate in kB/s of a counter, and what turns the counter's unit (KiB) into kB."""

ENERGY: Final = FIELD_INDEX["energy"]
XID: Final = FIELD_INDEX["xid"]
SCALES: Final[tuple[float, ...]] = tuple(field.scale for field in GPU_FIELDS)

VALUE_FORMATS: Final[dict[int, struct.Struct]] = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: struct.Struct("=d"),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: struct.Struct("=I"),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: struct.Struct("@L"),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: struct.Struct("=Q"),
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: struct.Struct("=q"),
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: struct.Struct("=i"),
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: struct.Struct("=H"),
}
"""NVML's value type of a field to how its union is read."""
