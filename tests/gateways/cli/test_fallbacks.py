"""What `headrace doctor` finds of actuators in their fallback: in this machine's file, else on the log."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from gateways.actuators.fallback_store import FILE, FallbackStore, Held
from gateways.cli import doctor, fallbacks
from streams.bus_memory import MemoryBus
from streams.record import Message
from streams.settings import Settings
from streams.topics import STATUS, TOPICS

SINCE_NS = 1_800_000_000_000_000_000


def test_this_machines_own_file_knows(tmp_path: Path) -> None:
    store = FallbackStore(tmp_path / FILE)
    names = [f"P{number}.PumpSpeed" for number in range(7)]
    store.save([Held(name, SINCE_NS, SINCE_NS + 1, "worker", "done") for name in names])
    found = asyncio.run(fallbacks.in_fallback(Settings(run_dir=tmp_path)))
    store.close()
    assert found is not None
    assert found.startswith("7 in their fallback since 2027-01-15T08:00:00Z (silent: worker): P0.PumpSpeed, ")
    assert found.endswith("P4.PumpSpeed and 2 more")
    assert doctor._actuators(found).word == "warning"


def test_one_that_is_over_is_none(tmp_path: Path) -> None:
    store = FallbackStore(tmp_path / FILE)
    store.save([Held("P1.PumpSpeed", 1, 2, "log")])
    store.save([], ["P1.PumpSpeed"])
    store.close()
    assert asyncio.run(fallbacks.in_fallback(Settings(run_dir=tmp_path))) == ""
    assert doctor._actuators("").found == "none is in its fallback"


def test_else_the_log_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(*words: bytes) -> str | None:
        bus = MemoryBus()
        await bus.create_topics(TOPICS, 3)
        for word in words:
            bus.append(Message(STATUS.name, 0, b"actuators", word, ()))
        monkeypatch.setattr(fallbacks, "KafkaBus", lambda settings: bus)
        return await fallbacks.in_fallback(Settings(run_dir=tmp_path))

    held = {"actuators": 1, "names": ["P1.PumpSpeed"], "since_ns": SINCE_NS, "part": "ticker"}
    word = orjson.dumps({"metrics": {"fallback": held}})
    none = orjson.dumps({"metrics": {"fallback": held | {"actuators": 0}}})
    found = asyncio.run(ask(none, word, b"no json", b'{"metrics": {"fallback": 3}}', b'{"metrics": []}'))
    assert found == "1 in their fallback since 2027-01-15T08:00:00Z (silent: ticker): P1.PumpSpeed"
    assert asyncio.run(ask(word, none)) == ""
    assert asyncio.run(ask()) is None
