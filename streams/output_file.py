"""A file that a command writes: whether it can be, and what becomes of one that is there. Nothing is overwritten."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


def write_beside(file: Path, data: bytes, mode: int) -> Path:
    """A file that is to take the name of `file`, whole and on the disk; OSError, and none is left, if it can't be."""
    descriptor, name = tempfile.mkstemp(".new", f".{file.name}.", file.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        new.unlink()
        raise
    return new


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names of a folder's files."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def finished_file(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to, which takes that name when the block ends well, and goes when it does not.

    What stood there before is moved aside. Raises ConfigurationError when nothing can be written there.
    """
    if path.is_dir():
        raise ConfigurationError([Finding(str(path), 0, 0, "is a folder: name a file")])
    part = writable_file(path.with_name(f"{path.name}.part"))
    try:
        yield part
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    move_aside(path)
    part.rename(path)


@contextmanager
def finished_folder(path: Path) -> Iterator[Path]:
    """The same for a folder of files. Raises ConfigurationError when none can be made there."""
    part = path.with_name(f"{path.name}.part")
    if path.exists() and not path.is_dir():
        raise ConfigurationError([Finding(str(path), 0, 0, "is a file: name a folder")])
    if path.is_dir() and any(path.glob("*.mcap")):
        raise ConfigurationError([Finding(str(path), 0, 0, "holds recordings: name another folder")])
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
    except OSError as error:
        raise ConfigurationError([Finding(str(part), 0, 0, f"can't be made: {error.strerror}")]) from None
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
    move_aside(path)
    part.rename(path)
