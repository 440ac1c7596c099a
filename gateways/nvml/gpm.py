"""Rates of a GPU out of GPM, the driver's own performance monitoring: PCIe traffic in both directions.

Rules: a rate is between two samples that the driver stamped itself; the first read has none, and what the GPU has not
is NaN, never 0. NVML's own PCIe counters (field ids 197 and 198) are 32 bits wide: at full speed they turn over 13
times a second, so their difference says nothing (docs/nvml.md). GPM needs a GPU of the Hopper generation or later.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

import numpy as np
import pynvml
from numpy.typing import NDArray

from gateways.nvml.library import Nvml
from gateways.nvml.state import SUCCESS
from rules.gpu_fields import FIELD_INDEX

METRICS: Final = (
    (pynvml.NVML_GPM_METRIC_PCIE_TX_PER_SEC, FIELD_INDEX["pcie_sent"]),
    (pynvml.NVML_GPM_METRIC_PCIE_RX_PER_SEC, FIELD_INDEX["pcie_received"]),
)
"""GPM's number of each rate (MiB/s), and the column that it is for."""
KB_PER_MIB: Final = 1048.576


class GpmRates:
    """The rates of one GPU since the last read. `missing`: columns that it is known not to have."""

    def __init__(self, nvml: Nvml) -> None:
        self.missing: set[int] = set()
        self._support = nvml.function("nvmlGpmQueryDeviceSupport")
        self._alloc = nvml.function("nvmlGpmSampleAlloc")
        self._free = nvml.function("nvmlGpmSampleFree")
        self._take = nvml.function("nvmlGpmSampleGet")
        self._rates = nvml.function("nvmlGpmMetricsGet")
        self._question = pynvml.c_nvmlGpmMetricsGet_t()
        self._question.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        self._question.numMetrics = len(METRICS)
        for metric, (number, _) in zip(self._question.metrics, METRICS, strict=False):
            metric.metricId = number
        self._samples: list[Any] = []
        self._has_before = False

    def connect(self, handle: ctypes.c_void_p) -> None:
        """Ask whether this GPU has it."""
        self.close()
        support = pynvml.c_nvmlGpmSupport_t()
        support.version = pynvml.NVML_GPM_SUPPORT_VERSION
        if self._support(handle, ctypes.byref(support)) == SUCCESS and support.isSupportedDevice:
            samples = [pynvml.c_nvmlGpmSample_t() for _ in range(2)]
            if all(self._alloc(ctypes.byref(sample)) == SUCCESS for sample in samples):
                self._samples = samples
        self.missing = set() if self._samples else {column for _, column in METRICS}

    def close(self) -> None:
        """Let go of the samples."""
        for sample in self._samples:
            self._free(sample)
        self._samples, self._has_before = [], False

    def read(self, handle: ctypes.c_void_p, row: NDArray[np.float32]) -> int:
        """Fill the rates' columns of `row` (24,), kB/s; NVML's return code."""
        if not self._samples:
            return SUCCESS
        before, now = self._samples
        code = self._take(handle, now)
        if code != SUCCESS:
            self._has_before = False
            return code
        self._samples = [now, before]
        if self._has_before:
            self._question.sample1, self._question.sample2 = before, now
            if self._rates(ctypes.byref(self._question)) == SUCCESS:
                self._fill(row)
        self._has_before = True
        return SUCCESS

    def _fill(self, row: NDArray[np.float32]) -> None:
        for metric, (_, column) in zip(self._question.metrics, METRICS, strict=False):
            if metric.nvmlReturn == SUCCESS:
                row[column] = metric.value * KB_PER_MIB
            if metric.nvmlReturn == pynvml.NVML_ERROR_NOT_SUPPORTED:
                self.missing.add(column)
            else:
                self.missing.discard(column)
