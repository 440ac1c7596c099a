"""Supervision: a role that ends is started again; one that refuses its very first start is said at once."""

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from gateways.up import processes as supervision
from gateways.up.processes import Processes

ROOT = Path(__file__).parents[3]


async def test_a_refused_first_start_is_said_with_the_words_of_the_role(tmp_path: Path) -> None:
    processes = Processes(tmp_path, {"PYTHONPATH": str(ROOT)})
    child = await processes.start("plant", tmp_path / "nowhere", {})
    try:
        words = await asyncio.wait_for(processes.refused, 120)
    finally:
        await processes.end_all()
    assert words.startswith("plant can't start")
    assert "no folder" in words
    assert child.exits == [2]
    assert processes.restarts == 0


async def test_a_role_that_is_killed_starts_again_and_is_counted(tmp_path: Path) -> None:
    processes = Processes(tmp_path, {"PYTHONPATH": str(ROOT), "HEADRACE_BROKER__BOOTSTRAP": "127.0.0.1:1"})
    child = await processes.start("ticker", ROOT / "examples" / "narvik", {})
    try:
        first = child.pid
        assert first is not None
        processes.kill("ticker")
        async with asyncio.timeout(120):
            while child.pid in {None, first}:
                await asyncio.sleep(0.01)
        assert processes.restarts == 1
        assert child.exits == [-9]
        assert not processes.refused.done()
        assert psutil.Process(child.pid).ppid() == os.getpid()
    finally:
        await processes.end_all()


async def test_the_spare_of_a_role_goes_on_in_its_place_and_another_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_SPARE_AFTER_S", 0.0)
    processes = Processes(tmp_path, {"PYTHONPATH": str(ROOT), "HEADRACE_BROKER__BOOTSTRAP": "127.0.0.1:1"})
    child = await processes.start("ticker", ROOT / "examples" / "narvik", {}, has_spare=True)
    try:
        async with asyncio.timeout(180):
            while child.spare is None:
                await asyncio.sleep(0.01)
            spare = child.spare
            processes.kill("ticker")
            while child.spare in {None, spare}:
                await asyncio.sleep(0.01)
            assert child.pid == spare.pid
            assert processes.restarts == 1
            while "no broker answers" not in child.log_file.read_text():
                await asyncio.sleep(0.01)
        another = child.spare
        assert another is not None
        assert another.returncode is None, "it waits"
    finally:
        await processes.end_all()
    assert another.returncode is not None
