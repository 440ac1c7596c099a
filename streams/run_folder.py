"""The folder of a process's own files (`run_dir`): what its disk refuses is said in one line, with what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rules.errors import ConfigurationError
from rules.findings import Finding

WRITABLE_HINT: Final = "set run_dir in headrace.yaml, or HEADRACE_RUN_DIR, to a folder that can be written"
FULL_HINT: Final = "make room on that disk, or set run_dir, or HEADRACE_RUN_DIR, to a folder on another one"
FULL_ERRNOS: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED: Final = frozenset(
    {errno.EACCES, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EPERM, errno.EROFS}
)


@contextmanager
def working_in(run_dir: Path) -> Iterator[None]:
    """ConfigurationError in place of an OSError of the disk in the block; every other error is left as it is."""
    try:
        yield
    except OSError as error:
        # a write that finds no room names no file; a refusal that names none is of a port or a process
        if error.errno not in FULL_ERRNOS and (error.errno not in _REFUSED or error.filename is None):
            raise
        where = Path(error.filename or run_dir).absolute()
        hint = ""
        if where in run_dir.absolute().parents or where.is_relative_to(run_dir.absolute()):
            hint = FULL_HINT if error.errno in FULL_ERRNOS else WRITABLE_HINT
        raise ConfigurationError(
            [Finding(str(where), 0, 0, f"can't be written: {error.strerror}", hint)]
        ) from None
