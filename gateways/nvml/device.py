"""One GPU as NVML shows it: prepared arguments, what it is known not to have, and one read of its 24 fields.

Rules: a field that NVML does not give is NaN, never 0; an answer 'not supported' is remembered and asked again
once a minute; nothing is allocated on the fast path, because ctypes' cost is in making its objects; times are
arguments.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pynvml
from numpy.typing import NDArray

from gateways.nvml.fields import (
    CALL_READS,
    ENERGY,
    FIELD_READS,
    RATES,
    SCALES,
    VALUE_FORMATS,
    FieldRead,
)
from gateways.nvml.gpm import METRICS, GpmRates
from gateways.nvml.library import NO_DRIVER_CODES, NOT_SUPPORTED_CODES, Nvml, handle_of
from gateways.nvml.state import GPU_IS_LOST, SUCCESS
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX, GPU_FIELDS

RETRY_UNSUPPORTED_NS: Final = 60_000_000_000
LOST_CODES: Final = NO_DRIVER_CODES | {
    GPU_IS_LOST,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
    pynvml.NVML_ERROR_UNKNOWN,
}
"""Answers of a call that say something about the GPU or its handle, not about the one field."""


@dataclass(slots=True)
class _Call:
    function: Callable[..., int]
    arguments: tuple[Any, ...]
    result: Any
    members: tuple[tuple[Callable[[Any], int], int], ...]
    """What takes a member out of the result, and the column that it is for."""
    fast: bool
    retry_ns: int = 0


class GpuDevice:
    """Device `index` of a host. `energy_mj`: the counter of the last read, -1 where it did not ask or had none."""

    def __init__(self, nvml: Nvml, index: int) -> None:
        self.index = index
        self.energy_mj = -1
        self.handle = ctypes.c_void_p()
        self._nvml = nvml
        self._field_values = nvml.function("nvmlDeviceGetFieldValues")
        self._held: NDArray[np.float32] = np.full(FIELD_COUNT, np.nan, np.float32)
        self._calls: list[_Call] = []
        self._unsupported: dict[FieldRead, int] = {}
        self._reads: list[FieldRead] = []
        self._values: Any = None
        self._fast_count = ctypes.c_int(0)
        self._all_count = ctypes.c_int(0)
        self._counters: dict[int, tuple[int, int]] = {}
        self._gpm = GpmRates(nvml)

    def connect(self) -> int:
        """Get the handle and prepare every call on it; NVML's return code."""
        code, self.handle = handle_of(self._nvml, self.index)
        if code == SUCCESS:
            self._unsupported.clear()
            self._counters.clear()
            self._held.fill(np.nan)
            self._prepare_fields()
            self._gpm.connect(self.handle)
            self._calls = [self._prepare_call(position) for position in range(len(CALL_READS))]
        return code

    def not_available(self) -> list[str]:
        """The names of the fields that this GPU is known not to have."""
        answered = {read.field for read in FIELD_READS if read not in self._unsupported}
        missing = {read.field for read in self._unsupported} - answered
        missing |= {
            GPU_FIELDS[column].name for call in self._calls if call.retry_ns for _, column in call.members
        }
        return sorted(missing | {GPU_FIELDS[column].name for column in self._gpm.missing})

    def read(self, now_ns: int, slow: bool, row: NDArray[np.float32]) -> int:
        """Fill `row` (24,) with this GPU's values; `slow`: ask for the slow fields too. NVML's return code."""
        held = self._held
        if slow:
            held.fill(np.nan)
            self._retry_unsupported(now_ns)
        row[:] = held
        self.energy_mj = -1
        if self._reads:
            count = self._all_count if slow else self._fast_count
            code = self._field_values(self.handle, count, self._values)
            if code in LOST_CODES:
                return code
            if code == SUCCESS:
                self._take_fields(now_ns, count.value, row)
        for call in self._calls:
            if not (call.fast or slow) or call.retry_ns > now_ns:
                continue
            code = call.function(*call.arguments)
            if code == SUCCESS:
                call.retry_ns = 0
                for member, column in call.members:
                    value = member(call.result) * SCALES[column]
                    row[column] = value
                    if not call.fast:
                        held[column] = value
            elif code in LOST_CODES:
                return code
            elif code in NOT_SUPPORTED_CODES:
                call.retry_ns = now_ns + RETRY_UNSUPPORTED_NS
        if slow:
            code = self._gpm.read(self.handle, held)
            if code in LOST_CODES:
                return code
            for _, column in METRICS:
                row[column] = held[column]
        return SUCCESS

    def _take_fields(self, now_ns: int, count: int, row: NDArray[np.float32]) -> None:
        totals: dict[int, int] = {}
        refused: list[FieldRead] = []
        # Unpacked, not read by attributes: those of nvidia-ml-py's structures were half the cost of a sample.
        answers = _SLOT.iter_unpack(memoryview(self._values).cast("B")[: count * _SLOT.size])
        for read, (kind, code, raw) in zip(self._reads[:count], answers, strict=True):
            if code == SUCCESS and kind in VALUE_FORMATS:
                column = read.column
                totals[column] = totals.get(column, 0) + VALUE_FORMATS[kind].unpack_from(raw)[0]
            elif code == SUCCESS or code in NOT_SUPPORTED_CODES or code == pynvml.NVML_ERROR_INVALID_ARGUMENT:
                refused.append(read)
        for column, total in totals.items():
            if column in RATES:
                value = self._rate(column, total, now_ns)
            elif column == ENERGY and total == 0:
                continue  # a counter that some GPUs have and never count: not available, not 'no energy'
            else:
                value = total * SCALES[column]
            row[column] = value
            if column not in _FAST_COLUMNS:
                self._held[column] = value
        self.energy_mj = totals.get(ENERGY, 0) or -1
        if refused:
            for read in refused:
                self._unsupported[read] = now_ns + RETRY_UNSUPPORTED_NS
                self._counters.pop(read.column, None)
            self._prepare_fields()

    def _rate(self, column: int, total: int, now_ns: int) -> float:
        """The counter's growth since the last read in kB/s; NaN at the first read and after a reset."""
        before = self._counters.get(column)
        self._counters[column] = (total, now_ns)
        if before is None or total < before[0] or now_ns <= before[1]:
            return float("nan")
        return (total - before[0]) * RATES[column] * 1e9 / (now_ns - before[1])

    def _retry_unsupported(self, now_ns: int) -> None:
        due = [read for read, retry_ns in self._unsupported.items() if retry_ns <= now_ns]
        if due:
            for read in due:
                del self._unsupported[read]
            self._prepare_fields()

    def _prepare_fields(self) -> None:
        """The array of the batched call: fast ids first, so that a fast sample asks for a shorter array."""
        reads = [read for read in FIELD_READS if read not in self._unsupported]
        self._reads = sorted(reads, key=lambda read: not read.fast)
        self._values = (pynvml.c_nvmlFieldValue_t * max(1, len(reads)))()
        for read, slot in zip(self._reads, self._values, strict=False):
            slot.fieldId = read.field_id
            slot.scopeId = read.scope
        self._fast_count = ctypes.c_int(sum(read.fast for read in reads))
        self._all_count = ctypes.c_int(len(reads))

    def _prepare_call(self, position: int) -> _Call:
        read = CALL_READS[position]
        result = read.result()
        arguments = (self.handle, *read.arguments, ctypes.byref(result))
        # The descriptors themselves: nvidia-ml-py's structures look every attribute up in Python.
        members = tuple(
            (getattr(type(result), member).__get__, FIELD_INDEX[field]) for member, field in read.members
        )
        return _Call(self._nvml.function(read.function), arguments, result, members, read.fast)


_SLOT: Final = struct.Struct("=24xIi8s")
"""nvmlFieldValue_t (nvml.h): after id, scope, timestamp and latency the value's type, return code and union."""
assert _SLOT.size == ctypes.sizeof(pynvml.c_nvmlFieldValue_t)

_FAST_COLUMNS: Final = frozenset(read.column for read in FIELD_READS if read.fast)
