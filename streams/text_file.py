"""Files that people write (sites, rules, scenarios, maps of imports): their text, or a finding that says why not."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

from rules.errors import ConfigurationError
from rules.findings import Finding


def read_text(file: Path, name: str) -> str:
    """The text of `file`, which findings call `name`. Raises ConfigurationError with one finding."""
    try:
        return plain_text(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([unreadable(name, error)]) from None


def plain_text(file: Path) -> str:
    """UTF-8 text. OSError also where `file` is a pipe, socket or device: reading it might never end."""
    try:
        mode = file.stat().st_mode
    except ValueError:  # a zero byte, or half a pair of UTF-16: names come from files, too
        raise OSError(errno.EINVAL, "no file can have this name") from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "no regular file")
    return file.read_text(encoding="utf-8")


def unreadable(name: str, error: OSError | UnicodeDecodeError) -> Finding:
    """Why `name` can't be read, and where: the place of the first byte that is not UTF-8."""
    if isinstance(error, OSError):
        return Finding(name, 0, 0, f"can't be read: {error.strerror or error}")
    before = error.object[: error.start]
    column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
    return Finding(name, before.count(b"\n") + 1, column, "not UTF-8", "save the file as UTF-8")
