"""The test's own switch: where it strikes, that it strikes once, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules.errors import ConfigurationError
from streams.worker.crash_switch import KILLED, CrashSwitch


def strikes(when: str, run_dir: Path, visits: list[str]) -> list[int]:
    """At which visits (counted from 0) it ends the process, were that possible."""
    ended: list[int] = []
    switch = CrashSwitch(when, run_dir, lambda code: ended.append(code))
    found = []
    for index, point in enumerate(visits):
        before = len(ended)
        switch.at(point)
        if len(ended) > before:
            found.append(index)
    assert set(ended) <= {KILLED}
    return found


def test_it_strikes_at_the_nth_visit_of_its_point(tmp_path: Path) -> None:
    visits = ["publish", "ack", "publish", "publish", "ack"]
    assert strikes("publish:2,ack:2", tmp_path, visits) == [2, 4]


def test_each_strikes_once_in_a_run_folder(tmp_path: Path) -> None:
    assert strikes("publish:1,publish:3", tmp_path, ["publish"]) == [0]
    assert strikes("publish:1,publish:3", tmp_path, ["publish"] * 4) == [2]
    assert strikes("publish:1,publish:3", tmp_path, ["publish"] * 4) == []


def test_without_orders_it_never_strikes(tmp_path: Path) -> None:
    assert strikes("", tmp_path, ["publish"] * 3) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", ["publsh:1", "publish", "publish:x", "3"])
def test_a_wrong_word_is_a_finding(tmp_path: Path, when: str) -> None:
    with pytest.raises(ConfigurationError, match="POINT:N"):
        CrashSwitch(when, tmp_path)
