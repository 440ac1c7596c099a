import errno
import os
import stat
from pathlib import Path

import pytest

from streams.output_file import finished_file, write_beside


def _interrupted(path: Path) -> None:
    with finished_file(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt


def test_what_is_not_finished_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        _interrupted(path)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("a.mcap", "before")]
    with finished_file(path) as part:
        part.write_text("whole")
        assert path.read_text() == "before"
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {
        "a.mcap": "whole",
        "a.before-1.mcap": "before",
    }


def test_what_has_no_room_leaves_nothing_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    write_beside(file, b"before", 0o600).replace(file)
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"before", 0o600)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_beside(file, b"after", 0o600)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("key", b"before")]
