"""NVML as a table of C functions, whichever of its three faces is behind it.

    driver          nvidia-ml-py over the machine's own libnvidia-ml.so.1
    fake library    nvidia-ml-py over the project's fake library (fake.py), built here
    simulated       Python functions with the same names, arguments and return codes (simulated.py)

Rules: a face is called the way C is (a handle, arguments, a reference to fill; the return code comes back), so
that one sampler and one setter serve all three; what decides is `HEADRACE_FAKE_NVML_STATE`: with it no driver is
ever touched, without it nothing is simulated.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import pynvml

from gateways.nvml import fake
from gateways.nvml.simulated import SimulatedNvml
from gateways.nvml.state import ENVIRONMENT, GPU_IS_LOST, SUCCESS, Face
from rules.errors import UnreachableError

NOT_SUPPORTED_CODES: Final = frozenset(
    {
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
        pynvml.NVML_ERROR_DEPRECATED,
    }
)
"""Answers that will be the same for a while: the field is remembered as not available and seldom asked again."""

NO_DRIVER_CODES: Final = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)
"""Answers about the host rather than about a GPU."""

_HELP: Final = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        "this machine has no libnvidia-ml.so.1: install the NVIDIA driver, "
        f"or set {ENVIRONMENT} for the simulated host"
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "the NVIDIA driver was updated: reboot, or reload its modules",
    GPU_IS_LOST: "the GPU is lost: it fell off the bus; reset it or restart the host",
    pynvml.NVML_ERROR_NO_PERMISSION: "no permission: setting a power limit needs root",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "not supported by this GPU",
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "invalid argument",
}


def explain(code: int) -> str:
    """What an NVML return code means, and what to do about it."""
    return _HELP.get(code, f"NVML error {code}")


class Nvml(Protocol):
    """One NVML host."""

    face: Face

    def start(self) -> None:
        """Initialise; may be called again after a failure. Raises UnreachableError and says why."""
        ...

    def function(self, name: str) -> Callable[..., int]:
        """The C function `name`; one that the library lacks answers FUNCTION_NOT_FOUND."""
        ...


class LibraryNvml:
    """NVML through nvidia-ml-py, over the driver's library or the fake one.

    The functions are nvidia-ml-py's own bindings without its wrappers, which allocate their arguments anew on
    every call: at 10 Hz that is most of the cost.
    """

    def __init__(self, fake_library: Path | None) -> None:
        self.face: Face = "driver"
        if fake_library is not None:
            self.face = "fake library"
            fake.preload(fake_library)

    def start(self) -> None:
        """Load and initialise the library."""
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise UnreachableError(f"NVML: {explain(error.value)}") from None
        # The library that is loaded says what it is; the actuators' guard relies on this.
        is_fake = hasattr(pynvml.nvmlLib, "headrace_fake_nvml")
        if is_fake != (self.face == "fake library"):
            raise UnreachableError("NVML: another libnvidia-ml.so.1 was loaded before; start a new process")

    def function(self, name: str) -> Callable[..., int]:
        """As C has it: no argument types are declared, callers pass ctypes objects."""
        try:
            found: Callable[..., int] = getattr(pynvml.nvmlLib, name)
        except AttributeError:
            return lambda *arguments: pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
        return found


def open_nvml(run_dir: Path, first: int = 0, count: int | None = None) -> Nvml:
    """The NVML of this process, not yet started.

    `first` and `count` say which GPUs of a simulated plant this host has; they mean nothing to a driver, and the
    environment's own window (`PATH#FIRST:COUNT`) goes before them.
    """
    named = os.environ.get(ENVIRONMENT)
    if not named:
        return LibraryNvml(None)
    if "#" not in named and count is not None:
        named = os.environ[ENVIRONMENT] = f"{named}#{first}:{count}"
    library = fake.build(run_dir)
    return SimulatedNvml(named) if library is None else LibraryNvml(library)


def handle_of(nvml: Nvml, index: int) -> tuple[int, ctypes.c_void_p]:
    """(return code, handle) of device `index`."""
    handle = ctypes.c_void_p()
    code = nvml.function("nvmlDeviceGetHandleByIndex_v2")(ctypes.c_uint(index), ctypes.byref(handle))
    return code, handle


def uuid_of(nvml: Nvml, handle: ctypes.c_void_p) -> str:
    """The device's UUID, empty when it does not tell."""
    text = ctypes.create_string_buffer(96)
    code = nvml.function("nvmlDeviceGetUUID")(handle, text, ctypes.c_uint(len(text)))
    return text.value.decode() if code == SUCCESS else ""


def read_uint(function: Callable[..., int], handle: ctypes.c_void_p) -> tuple[int, int]:
    """(return code, value) of a call that fills one unsigned int."""
    value = ctypes.c_uint()
    code: Any = function(handle, ctypes.byref(value))
    return code, value.value
