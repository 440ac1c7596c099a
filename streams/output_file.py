"""A file that a command writes: whether it can be, and what becomes of one that is there. Nothing is overwritten."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rules.errors import ConfigurationError
from rules.findings import Finding


def move_aside(path: Path) -> Path | None:
    """Give an existing file another name (`run.before-1.mcap`); that name, or None when there was nothing in it."""
    if not path.exists() or not path.stat().st_size:
        return None
    for number in range(1, 10_000):
        other = path.with_name(f"{path.stem}.before-{number}{path.suffix}")
        if not other.exists():
            path.rename(other)
            return other
    raise ConfigurationError([Finding(str(path), 0, 0, "too many older recordings beside it: remove some")])


def writable_file(path: Path) -> Path:
    """`path`, once it is known that a recording can be written there; ConfigurationError when not."""
    if not path.parent.is_dir():
        raise ConfigurationError([Finding(str(path), 0, 0, f"the folder {path.parent} does not exist")])
    try:
        path.open("ab").close()
    except OSError as error:
        raise ConfigurationError([Finding(str(path), 0, 0, f"can't be written: {error.strerror}")]) from None
    return path


def is_file_name(path: Path) -> bool:
    """Whether a recording goes into this one file (`run.mcap`), not into segments in a folder."""
    return path.suffix == ".mcap"


def writable_folder(path: Path) -> Path:
    """`path`, a folder that is there or was made beside what is there; ConfigurationError where that can't be."""
    if not path.parent.is_dir():
        raise ConfigurationError([Finding(str(path), 0, 0, f"the folder {path.parent} does not exist")])
    try:
        path.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except FileExistsError:
        raise ConfigurationError(
            [
                Finding(
                    str(path), 0, 0, "is no folder", "a recording in one file has a name that ends with .mcap"
                )
            ]
        ) from None
    except OSError as error:
        raise ConfigurationError([Finding(str(path), 0, 0, f"can't be written: {error.strerror}")]) from None
    return path
