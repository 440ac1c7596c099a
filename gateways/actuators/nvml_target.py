"""Power limits through NVML.

Rules: NVML's first setter (the second version loses its return code in nvidia-ml-py), then the limit is read
back; a driver is refused, and so is a device that is not the actuator's GPU; the calls block, so they run in a
thread, and one that does not return leaves its commands `unknown`.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from gateways.actuators.outcome import Outcome, Task, agrees
from gateways.nvml.library import Nvml, explain, handle_of, read_uint, uuid_of
from gateways.nvml.state import SUCCESS, gpu_uuid
from rules.errors import UnreachableError
from rules.site.model import Actuator

ANSWER_WITHIN_S: Final = 5.0
DRIVER_REFUSED: Final = (
    "actuators set no limits on real GPUs yet, only on the simulated plant's "
    "(the fake library, or simulated NVML)"
)


class NvmlTarget:
    """All GPUs of the simulated plant; an actuator's address is the device index."""

    def __init__(self, nvml: Nvml) -> None:
        self.face = nvml.face
        self._nvml = nvml
        self._handles: dict[str, ctypes.c_void_p] = {}
        self._started = False
        self._thread = ThreadPoolExecutor(1, "nvml power limits")

    async def write(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Set and read back, in order."""
        if self.face == "driver":
            return [Outcome("refused", None, DRIVER_REFUSED)] * len(tasks)
        call = asyncio.get_running_loop().run_in_executor(self._thread, self._write_all, tasks)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await asyncio.shield(call)
        except TimeoutError:
            return [Outcome("unknown", None, f"NVML did not answer within {ANSWER_WITHIN_S:g} s")] * len(
                tasks
            )

    async def close(self) -> None:
        """Nothing is held but the thread, and a call that hangs can't be waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _write_all(self, tasks: Sequence[Task]) -> list[Outcome]:
        if not self._started:
            try:
                self._nvml.start()
            except UnreachableError as error:
                return [Outcome("failed", None, str(error))] * len(tasks)
            self._started = True
        return [self._write(task) for task in tasks]

    def _write(self, task: Task) -> Outcome:
        handle, why_not = self._handle(task.actuator)
        if handle is None:
            return Outcome("failed", None, why_not)
        limit = ctypes.c_uint(round(task.command.value * 1000))
        code = self._nvml.function("nvmlDeviceSetPowerManagementLimit")(handle, limit)
        if code != SUCCESS:
            return self._failed(task, code)
        code, limit_mw = read_uint(self._nvml.function("nvmlDeviceGetPowerManagementLimit"), handle)
        if code != SUCCESS:
            self._handles.pop(task.actuator.id, None)
            return Outcome("unknown", None, f"written, but not read back: {explain(code)}")
        read_back = limit_mw / 1000
        if not agrees(limit.value / 1000, read_back):
            return Outcome("failed", read_back, f"the GPU has {read_back:g} W")
        return Outcome("done", read_back)

    def _failed(self, task: Task, code: int) -> Outcome:
        self._handles.pop(task.actuator.id, None)
        return Outcome("failed", None, explain(code))

    def _handle(self, actuator: Actuator) -> tuple[ctypes.c_void_p | None, str]:
        """The device's handle, or None and why there is none."""
        handle = self._handles.get(actuator.id)
        if handle is not None:
            return handle, ""
        if not actuator.address.isdecimal():
            return None, f"address '{actuator.address}' is no device index"
        code, handle = handle_of(self._nvml, int(actuator.address))
        if code != SUCCESS:
            return None, explain(code)
        if uuid_of(self._nvml, handle) != gpu_uuid(actuator.asset):
            return (
                None,
                f"NVML device {actuator.address} is not {actuator.asset}: the plant runs another site",
            )
        self._handles[actuator.id] = handle
        return handle, ""
