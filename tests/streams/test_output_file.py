from pathlib import Path

import pytest

from streams.output_file import finished_file


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
