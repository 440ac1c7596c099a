"""Samples of all GPUs of one host: what is lost, what comes back, counters that go back, XIDs.

Rules: blocking and single-threaded (the gateway runs it in a thread of its own); times are arguments, so that
tests need no clock, and of one that nobody sets, so that what is due is not put off by hours; a GPU that fails is
quality bad with no values and is tried again, the others go on; only when the host itself has no driver does sampling
stop, with UnreachableError. Slow reads take turns: those of a tray's GPUs at once would make a sample late.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pynvml
from numpy.typing import NDArray

from gateways.nvml.device import GpuDevice
from gateways.nvml.fields import XID
from gateways.nvml.library import NO_DRIVER_CODES, Nvml, explain, uuid_of
from gateways.nvml.state import SUCCESS, gpu_uuid
from rules.errors import UnreachableError
from rules.gpu_fields import FIELD_COUNT
from rules.quality import Quality

log = logging.getLogger(__name__)

RETRY_FIRST_NS: Final = 1_000_000_000
RETRY_LAST_NS: Final = 30_000_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """G GPUs at one moment: values (G, 24) float32, quality (G,) uint8, energy_mj (G,) int64, -1 where not read."""

    values: NDArray[np.float32]
    quality: NDArray[np.uint8]
    energy_mj: NDArray[np.int64]


@dataclass(slots=True)
class Counts:
    """What happened since the start; the gateway shows it in its status."""

    samples: int = 0
    xids: int = 0
    energy_resets: int = 0
    gpus_lost: int = 0
    gpus_returned: int = 0
    lost: dict[str, str] = field(default_factory=dict)
    """GPU id to why, for those that are lost now."""
    not_available: dict[str, list[str]] = field(default_factory=dict)
    """GPU id to the fields that it does not have; 'energy' is among them when its counter stays 0."""


@dataclass(slots=True)
class _Gpu:
    id: str
    device: GpuDevice
    connected: bool = False
    retry_ns: int = 0
    slow_ns: int = 0
    """When the slow fields were read, or are taken to have been read."""

    backoff_ns: int = RETRY_FIRST_NS
    energy_mj: int = -1
    has_events: bool = False
    xid: int = 0
    xid_ns: int = 0


class Sampler:
    """`gpu_ids` are the GPUs of the host in device index order.

    `slow_period_ns`: how often the slow fields (fields.py) are read. `xid_hold_ns`: how long the field `xid` says
    the code of the last XID event before it is 0 again: an event between two samples must not go unseen.
    """

    def __init__(
        self,
        nvml: Nvml,
        gpu_ids: Sequence[str],
        slow_period_ns: int = 1_000_000_000,
        xid_hold_ns: int = 60_000_000_000,
    ) -> None:
        self.counts = Counts()
        self._nvml = nvml
        self._gpus = [_Gpu(gpu_id, GpuDevice(nvml, index)) for index, gpu_id in enumerate(gpu_ids)]
        self._slow_period_ns = slow_period_ns
        self._xid_hold_ns = xid_hold_ns
        self._events = ctypes.c_void_p()
        self._event = pynvml.c_nvmlEventData_t()
        self._wait: Any = None

    def start(self) -> None:
        """Initialise NVML and find the GPUs. Raises UnreachableError: no library, no driver, another plant."""
        self._nvml.start()
        for gpu in self._gpus:
            gpu.device = GpuDevice(self._nvml, gpu.device.index)
            gpu.connected, gpu.retry_ns, gpu.backoff_ns = False, 0, RETRY_FIRST_NS
        self._events = ctypes.c_void_p()
        code = self._nvml.function("nvmlEventSetCreate")(ctypes.byref(self._events))
        self._wait = self._nvml.function("nvmlEventSetWait_v2") if code == SUCCESS else None

    def stop(self) -> None:
        """Let go of the event set."""
        if self._events.value:
            self._nvml.function("nvmlEventSetFree")(self._events)
            self._events = ctypes.c_void_p()

    def sample(self, now_ns: int) -> Sample:
        """Read every GPU; `now_ns` says what is due. Raises UnreachableError when the host has no driver any more."""
        count = len(self._gpus)
        values = np.full((count, FIELD_COUNT), np.nan, np.float32)
        quality = np.full(count, Quality.BAD, np.uint8)
        energy_mj = np.full(count, -1, np.int64)
        driver_gone = 0
        for position, gpu in enumerate(self._gpus):
            was_connected = gpu.connected
            slow = not was_connected or now_ns - gpu.slow_ns >= self._slow_period_ns
            code = self._read(gpu, now_ns, slow, values[position])
            if code == SUCCESS:
                quality[position] = Quality.GOOD
                energy_mj[position] = self._energy(gpu)
                if slow:
                    turn_ns = 0 if was_connected else self._slow_period_ns * position // count
                    gpu.slow_ns = now_ns - turn_ns
                    self._note_missing(gpu)
            elif code is not None:
                values[position] = np.nan
                driver_gone += code in NO_DRIVER_CODES
                self._lose(gpu, code, now_ns)
        if count and driver_gone == count:
            raise UnreachableError(f"NVML: {explain(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)}")
        self._take_xids(now_ns, values)
        self.counts.samples += 1
        return Sample(values, quality, energy_mj)

    def _read(self, gpu: _Gpu, now_ns: int, slow: bool, row: NDArray[np.float32]) -> int | None:
        """NVML's return code, or None while a lost GPU waits for its next try."""
        if gpu.connected:
            return gpu.device.read(now_ns, slow, row)
        if now_ns < gpu.retry_ns:
            return None
        code = gpu.device.connect()
        if code == SUCCESS:
            code = gpu.device.read(now_ns, True, row)
        if code == SUCCESS:
            self._identify(gpu)
            self._return(gpu)
        return code

    def _identify(self, gpu: _Gpu) -> None:
        """A simulated host must be of this site, or a limit would be read from another GPU than it is set on."""
        if self._nvml.face != "driver" and uuid_of(self._nvml, gpu.device.handle) != gpu_uuid(gpu.id):
            raise UnreachableError(
                f"NVML device {gpu.device.index} is not {gpu.id}: the simulated plant runs another site"
            )

    def _return(self, gpu: _Gpu) -> None:
        gpu.connected, gpu.backoff_ns = True, RETRY_FIRST_NS
        if self._wait is not None:
            code = self._nvml.function("nvmlDeviceRegisterEvents")(
                gpu.device.handle, ctypes.c_ulonglong(pynvml.nvmlEventTypeXidCriticalError), self._events
            )
            gpu.has_events = code == SUCCESS
        if self.counts.lost.pop(gpu.id, None) is not None:
            self.counts.gpus_returned += 1
            log.warning("%s is back", gpu.id)

    def _lose(self, gpu: _Gpu, code: int, now_ns: int) -> None:
        gpu.connected = False
        gpu.retry_ns = now_ns + gpu.backoff_ns
        gpu.backoff_ns = min(2 * gpu.backoff_ns, RETRY_LAST_NS)
        if gpu.id not in self.counts.lost:
            self.counts.gpus_lost += 1
            log.error("%s: %s; its readings are bad until it is back", gpu.id, explain(code))
        self.counts.lost[gpu.id] = explain(code)

    def _energy(self, gpu: _Gpu) -> int:
        """The counter as it is. One that went back was reset with its driver: what follows is the new base."""
        energy_mj = gpu.device.energy_mj
        if 0 <= energy_mj < gpu.energy_mj:
            self.counts.energy_resets += 1
            log.warning("%s: energy counter went back from %d to %d mJ", gpu.id, gpu.energy_mj, energy_mj)
        if energy_mj >= 0:
            gpu.energy_mj = energy_mj
        return energy_mj

    def _note_missing(self, gpu: _Gpu) -> None:
        """After a read of the slow fields."""
        missing = gpu.device.not_available()
        if gpu.device.energy_mj < 0 and "energy" not in missing:
            missing = [*missing, "energy"]
        if not gpu.has_events:
            missing = [*missing, "xid"]
        before = self.counts.not_available.get(gpu.id, [])
        if missing != before:
            log.warning("%s: not available: %s", gpu.id, ", ".join(missing) or "nothing any more")
        self.counts.not_available[gpu.id] = missing

    def _take_xids(self, now_ns: int, values: NDArray[np.float32]) -> None:
        """XIDs that came since the last sample; the newest of a GPU is what its field says."""
        event = ctypes.byref(self._event)
        no_wait = ctypes.c_uint(0)
        while self._wait is not None and self._wait(self._events, event, no_wait) == SUCCESS:
            address = ctypes.cast(self._event.device, ctypes.c_void_p).value
            for gpu in self._gpus:
                if gpu.device.handle.value == address:
                    gpu.xid, gpu.xid_ns = int(self._event.eventData), now_ns
                    self.counts.xids += 1
                    log.warning("%s: XID %d", gpu.id, gpu.xid)
        for position, gpu in enumerate(self._gpus):
            if gpu.connected and gpu.has_events:
                held = now_ns - gpu.xid_ns < self._xid_hold_ns
                values[position, XID] = gpu.xid if held else 0
