"""NVML's C functions in Python over the same state file as the fake library, for machines without a C compiler.

Rules: names, arguments and return codes are NVML's, so that who calls can't tell the faces apart; references come
as `ctypes.byref(...)` or as the ctypes object itself. tests/gateways/nvml runs one contract over both faces.
"""
# ruff: noqa: N802 - the functions have NVML's own names

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pynvml

from gateways.nvml.state import SUCCESS, XID_RING, Face, NvmlState
from rules.errors import UnreachableError
from rules.gpu_fields import FIELD_INDEX

_UINT: Final = pynvml.NVML_VALUE_TYPE_UNSIGNED_INT
_ULL: Final = pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG
_INT: Final = pynvml.NVML_VALUE_TYPE_SIGNED_INT

_FIELDS: Final[dict[int, tuple[str, str, int]]] = {
    3: ("ecc_corrected", "ecc_corrected", _ULL),
    4: ("ecc_uncorrected", "ecc_uncorrected", _ULL),
    82: ("memory_temperature", "memory_temperature_c", _INT),
    83: ("energy", "energy_mj", _ULL),
    94: ("pcie_replays", "pcie_replays", _UINT),
    138: ("nvlink_throughput", "nvlink_sent_kib", _ULL),
    139: ("nvlink_throughput", "nvlink_received_kib", _ULL),
    142: ("remapped_rows", "remapped_rows_corrected", _UINT),
    143: ("remapped_rows", "remapped_rows_uncorrected", _UINT),
    185: ("power_mean", "power_mean_mw", _UINT),
    186: ("power_instant", "power_mw", _UINT),
    219: ("nvlink_errors", "nvlink_errors", _ULL),
    230: ("recovery_action", "recovery_action", _UINT),
    260: ("power_smoothing_floor", "power_smoothing_floor_pct", _UINT),
}
"""Field id: (field of a frame, field of the state, NVML's value type)."""

_GPM: Final[dict[int, tuple[str, str]]] = {
    pynvml.NVML_GPM_METRIC_PCIE_TX_PER_SEC: ("pcie_sent", "pcie_sent_bytes"),
    pynvml.NVML_GPM_METRIC_PCIE_RX_PER_SEC: ("pcie_received", "pcie_received_bytes"),
}
"""GPM's number of a rate: (field of a frame, counter of the state)."""


def _target(reference: Any) -> Any:
    return getattr(reference, "_obj", reference)


def _address(sample: Any) -> int:
    return ctypes.cast(sample, ctypes.c_void_p).value or 0


class SimulatedNvml:
    """One host: the GPUs of a window `PATH#FIRST:COUNT` of the state file."""

    def __init__(self, named: str) -> None:
        self.face: Face = "simulated"
        path, _, window = named.partition("#")
        first, _, count = window.partition(":")
        self._path = Path(path)
        self._first = int(first or 0)
        self._count = int(count) if count else None
        self._state: NvmlState | None = None
        self._gpus: Any = None
        self._watched: dict[int, int] = {}
        self._samples: dict[int, tuple[int, Any]] = {}
        """GPM's samples by their handle: when the plant wrote them, and a copy of the GPU's record."""

    def start(self) -> None:
        """Map the state file."""
        if self._state is None:
            state = NvmlState.open(self._path)
            last = None if self._count is None else self._first + self._count
            self._gpus = state.gpus[self._first : last]
            self._state = state
        if not self._state.header["driver_loaded"][0]:
            raise UnreachableError("NVML: the simulated driver is not loaded")

    def function(self, name: str) -> Callable[..., int]:
        """The function `name`, or one that answers FUNCTION_NOT_FOUND."""
        found = getattr(self, f"_{name}", None)
        return found if found is not None else lambda *arguments: pynvml.NVML_ERROR_FUNCTION_NOT_FOUND

    def _find(self, handle: Any, field: str | None = None) -> tuple[int, Any]:
        if self._state is None:
            return pynvml.NVML_ERROR_UNINITIALIZED, None
        header = self._state.header[0]
        if header["call_delay_us"]:
            time.sleep(int(header["call_delay_us"]) / 1e6)
        if not header["driver_loaded"]:
            return pynvml.NVML_ERROR_DRIVER_NOT_LOADED, None
        number = handle.value or 0
        if not 1 <= number <= len(self._gpus):
            return pynvml.NVML_ERROR_INVALID_ARGUMENT, None
        gpu = self._gpus[number - 1]
        if gpu["return_code"]:
            return int(gpu["return_code"]), None
        if field is not None and int(gpu["not_supported"]) >> FIELD_INDEX[field] & 1:
            return pynvml.NVML_ERROR_NOT_SUPPORTED, None
        return SUCCESS, gpu

    def _number(self, handle: Any, into: Any, name: str, field: str | None = None) -> int:
        code, gpu = self._find(handle, field)
        if code == SUCCESS:
            _target(into).value = int(gpu[name])
        return code

    def _nvmlDeviceGetCount_v2(self, into: Any) -> int:
        _target(into).value = len(self._gpus)
        return SUCCESS

    def _nvmlDeviceGetHandleByIndex_v2(self, index: Any, into: Any) -> int:
        handle = ctypes.c_void_p(index.value + 1)
        code, _ = self._find(handle)
        if code == SUCCESS:
            _target(into).value = handle.value
        return code

    def _nvmlDeviceGetUUID(self, handle: Any, into: Any, size: Any) -> int:
        code, gpu = self._find(handle)
        if code == SUCCESS:
            into.value = bytes(gpu["uuid"])
        return code

    def _nvmlDeviceGetTemperature(self, handle: Any, sensor: int, into: Any) -> int:
        return self._number(handle, into, "temperature_c", "temperature")

    def _nvmlDeviceGetMarginTemperature(self, handle: Any, into: Any) -> int:
        code, gpu = self._find(handle, "temperature_margin")
        if code == SUCCESS:
            _target(into).marginTemperature = int(gpu["temperature_margin_c"])
        return code

    def _nvmlDeviceGetClockInfo(self, handle: Any, kind: int, into: Any) -> int:
        if kind == pynvml.NVML_CLOCK_MEM:
            return self._number(handle, into, "memory_clock_mhz", "memory_clock")
        return self._number(handle, into, "sm_clock_mhz", "sm_clock")

    def _nvmlDeviceGetUtilizationRates(self, handle: Any, into: Any) -> int:
        code, gpu = self._find(handle, "gpu_utilization")
        if code == SUCCESS:
            _target(into).gpu = int(gpu["gpu_utilization_pct"])
            _target(into).memory = int(gpu["memory_utilization_pct"])
        return code

    def _nvmlDeviceGetMemoryInfo_v2(self, handle: Any, into: Any) -> int:
        code, gpu = self._find(handle, "memory_used")
        if code == SUCCESS:
            _target(into).total = int(gpu["memory_total_bytes"])
            _target(into).reserved = 0
            _target(into).used = int(gpu["memory_used_bytes"])
            _target(into).free = int(gpu["memory_total_bytes"]) - int(gpu["memory_used_bytes"])
        return code

    def _nvmlDeviceGetCurrentClocksEventReasons(self, handle: Any, into: Any) -> int:
        return self._number(handle, into, "event_reasons", "event_reasons")

    def _nvmlDeviceGetEnforcedPowerLimit(self, handle: Any, into: Any) -> int:
        return self._number(handle, into, "enforced_power_limit_mw", "enforced_power_limit")

    def _nvmlDeviceGetPowerManagementLimit(self, handle: Any, into: Any) -> int:
        return self._number(handle, into, "power_limit_mw")

    def _nvmlDeviceSetPowerManagementLimit(self, handle: Any, limit_mw: Any) -> int:
        code, gpu = self._find(handle)
        if code != SUCCESS:
            return code
        if gpu["set_return_code"]:
            return int(gpu["set_return_code"])
        if not gpu["power_limit_min_mw"] <= limit_mw.value <= gpu["power_limit_max_mw"]:
            return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        gpu["limit_written_ns"] = time.time_ns()
        gpu["power_limit_mw"] = gpu["enforced_power_limit_mw"] = limit_mw.value
        gpu["limit_writes"] += 1
        return SUCCESS

    def _nvmlDeviceGetFieldValues(self, handle: Any, count: Any, values: Any) -> int:
        code, gpu = self._find(handle)
        if code != SUCCESS:
            return code
        unsupported = int(gpu["not_supported"])
        for position in range(count.value):
            slot = values[position]
            known = _FIELDS.get(slot.fieldId)
            if known is None or unsupported >> FIELD_INDEX[known[0]] & 1:
                slot.nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED
                continue
            slot.nvmlReturn = SUCCESS
            slot.valueType = known[2]
            member = {_UINT: "uiVal", _INT: "siVal"}.get(known[2], "ullVal")
            setattr(slot.value, member, int(gpu[known[1]]))
        return SUCCESS

    def _nvmlGpmQueryDeviceSupport(self, handle: Any, into: Any) -> int:
        code, _ = self._find(handle)
        if code == SUCCESS:
            _target(into).isSupportedDevice = 1
        return code

    def _nvmlGpmSampleAlloc(self, into: Any) -> int:
        number = max(self._samples, default=0) + 1
        self._samples[number] = (0, None)
        ctypes.cast(into, ctypes.POINTER(ctypes.c_void_p))[0] = number
        return SUCCESS

    def _nvmlGpmSampleFree(self, sample: Any) -> int:
        self._samples.pop(_address(sample), None)
        return SUCCESS

    def _nvmlGpmSampleGet(self, handle: Any, sample: Any) -> int:
        code, gpu = self._find(handle)
        if code == SUCCESS and self._state is not None:
            self._samples[_address(sample)] = int(self._state.header["clock_ns"][0]), gpu.copy()
        return code

    def _nvmlGpmMetricsGet(self, into: Any) -> int:
        question = _target(into)
        before_ns, before = self._samples[_address(question.sample1)]
        now_ns, now = self._samples[_address(question.sample2)]
        for position in range(question.numMetrics):
            metric = question.metrics[position]
            field, counter = _GPM[metric.metricId]
            grown = int(now[counter]) - int(before[counter])
            if int(now["not_supported"]) >> FIELD_INDEX[field] & 1:
                metric.nvmlReturn = pynvml.NVML_ERROR_NOT_SUPPORTED
            elif grown < 0 or now_ns <= before_ns:
                metric.nvmlReturn = pynvml.NVML_ERROR_NO_DATA
            else:
                metric.nvmlReturn = SUCCESS
                metric.value = grown * 1e9 / (now_ns - before_ns) / (1 << 20)
        return SUCCESS

    def _nvmlEventSetCreate(self, into: Any) -> int:
        self._watched = {}
        _target(into).value = 1
        return SUCCESS

    def _nvmlEventSetFree(self, events: Any) -> int:
        self._watched = {}
        return SUCCESS

    def _nvmlDeviceRegisterEvents(self, handle: Any, kinds: Any, events: Any) -> int:
        code, gpu = self._find(handle, "xid")
        if code == SUCCESS:
            self._watched.setdefault(handle.value, int(gpu["xid_count"]))
        return code

    def _nvmlEventSetWait_v2(self, events: Any, into: Any, timeout_ms: Any) -> int:
        for number, seen in self._watched.items():
            gpu = self._gpus[number - 1]
            count = int(gpu["xid_count"])
            if count == seen:
                continue
            position = max(seen, count - XID_RING)
            data = _target(into)
            data.device = ctypes.cast(ctypes.c_void_p(number), type(data.device))
            data.eventType = pynvml.nvmlEventTypeXidCriticalError
            data.eventData = int(gpu["xids"][position % XID_RING])
            self._watched[number] = position + 1
            return SUCCESS
        return int(pynvml.NVML_ERROR_TIMEOUT)
