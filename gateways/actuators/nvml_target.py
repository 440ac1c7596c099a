"""Power limits through NVML.

Rules: NVML's first setter (the second version loses its return code in nvidia-ml-py), then the limit is read
back; a driver is refused, and so is a device that is not the actuator's GPU; the calls block, so they run in a
thread. One that does not return leaves its command `unknown`, and what was to follow it is not written any more; nor
is a command that has expired by the time its turn comes.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Callable, Sequence
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
    """All GPUs of the simulated plant; an actuator's address is the device index.

    `clock`: the role's, by which commands expire.
    """

    def __init__(self, nvml: Nvml, clock: Callable[[], int]) -> None:
        self.face = nvml.face
        self.refusal = DRIVER_REFUSED if nvml.face == "driver" else ""
        self._nvml = nvml
        self._clock = clock
        self._handles: dict[str, ctypes.c_void_p] = {}
        self._started = False
        self._thread = ThreadPoolExecutor(1, "nvml power limits")

    async def write(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Set and read back, in order."""
        if self.refusal:
            return [Outcome("refused", None, self.refusal)] * len(tasks)
        batch = _Batch(tasks)
        call = asyncio.get_running_loop().run_in_executor(self._thread, self._write_all, batch)
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await asyncio.shield(call)
        except TimeoutError:
            return batch.given_up()
        return batch.outcomes

    async def close(self) -> None:
        """Nothing is held but the thread, and a call that hangs can't be waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _write_all(self, batch: _Batch) -> None:
        why_not = ""
        if not self._started:
            try:
                self._nvml.start()
                self._started = True
            except UnreachableError as error:
                why_not = str(error)
        for task in batch.tasks:
            if not batch.begins():
                return
            if why_not:
                batch.outcomes.append(Outcome("failed", None, why_not))
            elif self._clock() > task.command.expires_ns:
                batch.outcomes.append(Outcome("expired", None, "while NVML was busy"))
            else:
                batch.outcomes.append(self._write(task))

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


class _Batch:
    """Tasks and their outcomes, in order: the thread adds them until the batch is given up."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks
        self.outcomes: list[Outcome] = []
        self._lock = threading.Lock()
        self._begun = 0
        self._is_given_up = False

    def begins(self) -> bool:
        """Whether the next task may be written: the thread asks before each."""
        with self._lock:
            self._begun += not self._is_given_up
            return not self._is_given_up

    def given_up(self) -> list[Outcome]:
        """What is known by now; from here on nothing more begins."""
        with self._lock:
            self._is_given_up = True
            known, begun = list(self.outcomes), self._begun
        why = f"NVML did not answer within {ANSWER_WITHIN_S:g} s"
        in_hand = [Outcome("unknown", None, why)] * (begun - len(known))
        return [
            *known,
            *in_hand,
            *[Outcome("failed", None, f"not written: {why}")] * (len(self.tasks) - begun),
        ]
