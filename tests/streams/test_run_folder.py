"""What the disk under `run_dir` refuses: a finding with the folder, why, and what to do; all else goes on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rules.errors import ConfigurationError
from streams.run_folder import FULL_HINT, WRITABLE_HINT, working_in

RUN = Path("/srv/headrace/run")


@pytest.mark.parametrize(
    ("number", "name", "said"),
    [
        (errno.EROFS, f"{RUN}/spool", (f"{RUN}/spool", WRITABLE_HINT)),
        (errno.EACCES, "/srv/headrace", ("/srv/headrace", WRITABLE_HINT)),
        (errno.ENOSPC, None, (str(RUN), FULL_HINT)),
        (errno.EROFS, "/elsewhere/pki", ("/elsewhere/pki", "")),
    ],
)
def test_what_the_disk_refuses_is_a_finding(number: int, name: str | None, said: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught, working_in(RUN):
        raise OSError(number, os.strerror(number), name)
    (finding,) = caught.value.findings
    assert (finding.file, finding.hint) == said
    assert finding.message == f"can't be written: {os.strerror(number)}"


@pytest.mark.parametrize(
    ("number", "name"), [(errno.EACCES, None), (errno.ENOENT, "run/it"), (errno.ECONNREFUSED, None)]
)
def test_what_is_not_of_the_disk_goes_on(number: int, name: str | None) -> None:
    with pytest.raises(OSError, match=os.strerror(number)), working_in(RUN):
        raise OSError(number, os.strerror(number), name)
