"""The state of a simulated NVML host: a memory-mapped file that the plant writes and NVML's stand-ins read.

Rules: the layout is one table (`GPU_LAYOUT`), and the C header of the fake library is generated from it;
every number is aligned, little-endian and no wider than 8 bytes, so that one store is atomic for the other
processes; the file never shrinks and keeps its inode, so that a mapping made before `create` stays good.

Who writes what: the simulated plant writes telemetry, setters (fake library or simulated face) write
`power_limit_mw`, `enforced_power_limit_mw`, `limit_writes` and `limit_written_ns`, tests write faults.
"""

from __future__ import annotations

import mmap
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from rules.errors import UnreachableError
from rules.gpu_fields import GPU_FIELDS

ENVIRONMENT: Final = "HEADRACE_FAKE_NVML_STATE"
"""Names the state file, optionally a window of it: `PATH`, or `PATH#FIRST:COUNT` for one host of several."""

FILE_NAME: Final = "nvml.state"
"""The name of the state file in `run_dir` that `headrace up` and the simulated plant agree on."""

Face = Literal["driver", "fake library", "simulated"]
"""What is behind NVML's functions (library.py)."""

MAGIC: Final = 0x4C4D564E44414548  # "HEADNVML", little-endian
VERSION: Final = 2
XID_RING: Final = 8

SUCCESS: Final = 0
NO_PERMISSION: Final = 4
GPU_IS_LOST: Final = 15

_LAYOUT_ENTRY = tuple[str, str]
HEADER_LAYOUT: Final[tuple[_LAYOUT_ENTRY, ...]] = (
    ("magic", "u8"),
    ("version", "u4"),
    ("gpu_bytes", "u4"),
    ("count", "u4"),
    ("driver_loaded", "u4"),
    ("call_delay_us", "u4"),
    ("reserved", "u4"),
    ("clock_ns", "u8"),
)
"""`driver_loaded` 0: every call answers DRIVER_NOT_LOADED. `call_delay_us`: a device call takes so long.
`clock_ns`: when the plant wrote what the GPUs show, by its own clock: GPM's samples are stamped with it."""

GPU_LAYOUT: Final[tuple[_LAYOUT_ENTRY, ...]] = (
    ("energy_mj", "u8"),
    ("memory_used_bytes", "u8"),
    ("memory_total_bytes", "u8"),
    ("event_reasons", "u8"),
    ("ecc_corrected", "u8"),
    ("ecc_uncorrected", "u8"),
    ("pcie_sent_bytes", "u8"),
    ("pcie_received_bytes", "u8"),
    ("nvlink_sent_kib", "u8"),
    ("nvlink_received_kib", "u8"),
    ("nvlink_errors", "u8"),
    ("not_supported", "u8"),
    ("limit_written_ns", "u8"),
    ("return_code", "u4"),
    ("set_return_code", "u4"),
    ("power_mw", "u4"),
    ("power_mean_mw", "u4"),
    ("power_limit_mw", "u4"),
    ("enforced_power_limit_mw", "u4"),
    ("power_limit_min_mw", "u4"),
    ("power_limit_max_mw", "u4"),
    ("power_limit_default_mw", "u4"),
    ("limit_writes", "u4"),
    ("temperature_c", "i4"),
    ("memory_temperature_c", "i4"),
    ("temperature_margin_c", "i4"),
    ("sm_clock_mhz", "u4"),
    ("memory_clock_mhz", "u4"),
    ("gpu_utilization_pct", "u4"),
    ("memory_utilization_pct", "u4"),
    ("remapped_rows_corrected", "u4"),
    ("remapped_rows_uncorrected", "u4"),
    ("pcie_replays", "u4"),
    ("power_smoothing_floor_pct", "u4"),
    ("recovery_action", "u4"),
    ("xid_count", "u4"),
    ("reserved", "u4"),
    ("xids", f"{XID_RING}u4"),
    ("uuid", "S48"),
    ("asset", "S48"),
)
"""Counters (`energy_mj`, `pcie_*_bytes`, `nvlink_*_kib`) only grow; a rate is their difference.

`return_code` is what every call on this GPU answers (15 GPU lost, 999 unknown), `set_return_code` what its
setters answer (4 no permission). `not_supported`: bit i set means that field i of `rules.gpu_fields` is not
supported. `xid_count` counts XIDs since the start, the last 8 are in `xids[count % 8]`: use `raise_xid`.
"""


def _dtype(layout: Sequence[_LAYOUT_ENTRY]) -> np.dtype[Any]:
    return np.dtype([(name, kind if kind.startswith("S") else _little(kind)) for name, kind in layout])


def _little(kind: str) -> Any:
    count = kind[:-2]
    return ("<" + kind[-2:], (int(count),)) if count else "<" + kind


HEADER: Final = _dtype(HEADER_LAYOUT)
GPU: Final = _dtype(GPU_LAYOUT)


def gpu_uuid(gpu_id: str) -> str:
    """The UUID that the simulated host gives the GPU with this asset id: the same on every run."""
    return f"GPU-{uuid.uuid5(uuid.NAMESPACE_URL, f'urn:headrace:gpu:{gpu_id}')}"


class NvmlState:
    """The mapped file. `header` is a 0-d record, `gpus` a record per GPU; both are live views, not copies."""

    def __init__(self, path: Path, mapping: mmap.mmap) -> None:
        self.path = path
        self._mapping = mapping
        self.header: Any = np.frombuffer(mapping, HEADER, 1)
        count = int(self.header["count"][0])
        self.gpus: NDArray[Any] = np.frombuffer(mapping, GPU, count, HEADER.itemsize)

    @classmethod
    def create(
        cls,
        path: Path,
        gpu_ids: Sequence[str],
        minimum_w: float = 500.0,
        maximum_w: float = 1600.0,
        default_w: float = 1400.0,
    ) -> NvmlState:
        """A host with these GPUs (asset ids, in device index order), idle, its limits at the default.

        A file that exists is set back in place, as if the host had been started anew: mappings stay good.
        """
        for gpu_id in gpu_ids:
            if len(gpu_id.encode()) > GPU["asset"].itemsize:
                raise ValueError(f"GPU id {gpu_id!r} is longer than {GPU['asset'].itemsize} bytes")
        size = HEADER.itemsize + GPU.itemsize * len(gpu_ids)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            size = max(size, os.fstat(descriptor).st_size)
            os.ftruncate(descriptor, size)
            mapping = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        header = np.frombuffer(mapping, HEADER, 1)
        header["driver_loaded"] = 0
        header["count"] = len(gpu_ids)
        state = cls(path, mapping)
        state._reset(gpu_ids, round(minimum_w * 1000), round(maximum_w * 1000), round(default_w * 1000))
        header["gpu_bytes"] = GPU.itemsize
        header["call_delay_us"] = header["clock_ns"] = 0
        header["version"] = VERSION
        header["magic"] = MAGIC
        header["driver_loaded"] = 1
        return state

    def _reset(self, gpu_ids: Sequence[str], minimum_mw: int, maximum_mw: int, default_mw: int) -> None:
        gpus = self.gpus
        gpus[:] = np.zeros(len(gpus), GPU)
        gpus["asset"] = [gpu_id.encode() for gpu_id in gpu_ids]
        gpus["uuid"] = [gpu_uuid(gpu_id).encode() for gpu_id in gpu_ids]
        gpus["power_limit_min_mw"] = minimum_mw
        gpus["power_limit_max_mw"] = maximum_mw
        for name in ("power_limit_default_mw", "power_limit_mw", "enforced_power_limit_mw"):
            gpus[name] = default_mw
        gpus["energy_mj"] = 1
        gpus["power_mw"] = gpus["power_mean_mw"] = 200_000
        gpus["temperature_c"] = 30
        gpus["memory_temperature_c"] = 32
        gpus["temperature_margin_c"] = 57
        gpus["sm_clock_mhz"] = 345
        gpus["memory_clock_mhz"] = 3996
        gpus["memory_total_bytes"] = 288 << 30
        gpus["event_reasons"] = 1

    @classmethod
    def open(cls, path: Path) -> NvmlState:
        """Map an existing state file, for reading and writing. Raises UnreachableError when there is none."""
        try:
            with path.open("r+b") as file:
                mapping = mmap.mmap(file.fileno(), 0)
        except (OSError, ValueError) as error:
            raise UnreachableError(
                f"no NVML state at {path}: {error}; the simulated plant creates it"
            ) from None
        if len(mapping) < HEADER.itemsize:
            raise UnreachableError(f"{path} is not an NVML state yet")
        header = np.frombuffer(mapping, HEADER, 1)[0]
        fits = len(mapping) >= HEADER.itemsize + int(header["count"]) * GPU.itemsize
        if (int(header["magic"]), int(header["version"]), int(header["gpu_bytes"])) != (
            MAGIC,
            VERSION,
            GPU.itemsize,
        ) or not fits:
            raise UnreachableError(
                f"{path} is no NVML state of version {VERSION}: delete it and start the plant"
            )
        return cls(path, mapping)

    def __len__(self) -> int:
        return len(self.gpus)

    def field(self, name: str) -> NDArray[Any]:
        """A live, writeable view (count,) of one field of every GPU, e.g. `field("temperature_c")[:] = …`."""
        return self.gpus[name]

    def raise_xid(self, index: int, xid: int) -> None:
        """An XID event on GPU `index`, delivered once by every event set that watches it."""
        gpu = self.gpus[index]
        count = int(gpu["xid_count"])
        gpu["xids"][count % XID_RING] = xid
        gpu["xid_count"] = count + 1

    def set_driver_loaded(self, loaded: bool) -> None:
        """Load or unload the simulated driver: without it every call answers DRIVER_NOT_LOADED."""
        self.header["driver_loaded"] = int(loaded)

    def set_call_delay_us(self, delay_us: int) -> None:
        """Make every device call take this long: a driver that hangs."""
        self.header["call_delay_us"] = delay_us


def c_header() -> str:
    """The layout as a C header, generated so that the two can't differ."""
    names = {"u8": "uint64_t", "u4": "uint32_t", "i4": "int32_t"}

    def member(name: str, kind: str) -> str:
        if kind.startswith("S"):
            return f"    char {name}[{kind[1:]}];"
        count = kind[:-2]
        return f"    {names[kind[-2:]]} {name}{f'[{count}]' if count else ''};"

    header = "\n".join(member(name, kind) for name, kind in HEADER_LAYOUT)
    gpu = "\n".join(member(name, kind) for name, kind in GPU_LAYOUT)
    fields = "\n".join(
        f"#define FIELD_{field.name.upper()} {index}" for index, field in enumerate(GPU_FIELDS)
    )
    return f"""#include <stdint.h>
#define STATE_ENVIRONMENT "{ENVIRONMENT}"
#define STATE_MAGIC {MAGIC:#x}ULL
#define STATE_VERSION {VERSION}
#define XID_RING {XID_RING}
{fields}
typedef struct {{
{header}
}} StateHeader;
typedef struct {{
{gpu}
}} StateGpu;
_Static_assert(sizeof(StateHeader) == {HEADER.itemsize}, "header layout");
_Static_assert(sizeof(StateGpu) == {GPU.itemsize}, "GPU layout");
"""
