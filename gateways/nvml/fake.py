"""Builds the fake `libnvidia-ml.so.1` with the machine's own C compiler, and puts it in front of a real one.

Rules: the library's file carries a hash of everything that it was built from, so that an old build is never taken
for a new one; it is written under a name of its own and renamed, so that two processes may build at once.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from gateways.nvml.state import c_header

SOURCE: Final = Path(__file__).with_name("fake_nvml.c")
SONAME: Final = "libnvidia-ml.so.1"
FLAGS: Final = (
    "-shared",
    "-fPIC",
    "-O2",
    "-std=gnu11",
    "-Wall",
    "-Wextra",
    f"-Wl,-soname,{SONAME}",
)

log = logging.getLogger(__name__)


def compiler() -> str | None:
    """The C compiler of this machine: `$CC`, `cc`, `gcc` or `clang`, the first that there is."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        found = shutil.which(name) if name else None
        if found:
            return found
    return None


def build(directory: Path) -> Path | None:
    """The fake library below `directory`, built if need be; None where no compiler can build it."""
    command = compiler()
    if command is None:
        return None
    header = c_header()
    digest = hashlib.sha256("\0".join((SOURCE.read_text(), header, *FLAGS)).encode()).hexdigest()[:16]
    library = directory / f"fake-nvml-{digest}" / SONAME
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        (Path(scratch) / "nvml_state.h").write_text(header)
        built = Path(scratch) / SONAME
        call = [command, *FLAGS, "-I", scratch, "-o", str(built), str(SOURCE)]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        if done.returncode:
            log.warning(
                "the fake NVML library does not build with %s: %s", command, done.stderr.strip()[:500]
            )
            return None
        built.replace(library)
    return library


@functools.cache
def preload(library: Path) -> ctypes.CDLL:
    """Load it so that nvidia-ml-py, which asks the loader for the soname, is given this one.

    The loader looks through what is loaded before it looks at the disk (ld.so(8)): neither LD_LIBRARY_PATH nor a
    new process is needed. It must happen before nvidia-ml-py loads its library, which it does once per process.
    """
    return ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
