"""What a role says about itself."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.bus.memory import MemoryBus
from streams.role import RoleContext, as_status, report_status, status_body, status_message
from streams.settings import Settings
from streams.topics import STATUS
from tests.rules.engine.plant import site


async def test_the_status_is_shown_as_it_is_published() -> None:
    bus = MemoryBus()
    await bus.create_topics([STATUS], 1)
    context = RoleContext("ticker", site(), Path(), Settings(), bus, asyncio.Event())
    context.ended.set()
    shown: list[bytes] = []
    await report_status(context, show=shown.append)
    assert [record.value for record in bus.records(STATUS.name)] == shown
    assert [orjson.loads(line)["state"] for line in shown] == ["stopping"]


@pytest.mark.parametrize(
    "unsayable",
    ["a text that is none: \udcff", "x" * 2_000_000, object()],
    ids=["no text", "long", "no JSON"],
)
async def test_a_status_that_can_not_be_sent_is_a_short_one_that_says_so(
    unsayable: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bus = MemoryBus()
    await bus.create_topics([STATUS], 1)
    context = RoleContext("ticker", site(), Path(), Settings(), bus, asyncio.Event())
    context.metrics = {"sources": {"plc": {"differences": [unsayable]}}}
    shown: list[bytes] = []

    def look(status: bytes) -> None:
        shown.append(status)
        if len(shown) == 2:
            del context.metrics["sources"]
            context.ended.set()

    await report_status(context, 0.0, look)
    said = [orjson.loads(record.value or b"") for record in bus.records(STATUS.name)]
    assert [one["metrics"].get("status_unsayable") for one in said] == [1, 2, 2]
    assert all(one["metrics"]["status_unsayable_why"] for one in said[:2])
    assert said[2]["state"] == "stopping"
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 1


@pytest.mark.parametrize("value", [None, b"", b"[]", b"{", b"\xff", b'{"role": 1}'])
def test_what_is_no_status_is_none(value: bytes | None) -> None:
    assert as_status(value) is None


@pytest.mark.parametrize("wrong", [{"metrics": 1}, {"at_ns": "now"}, {"kind": None}, {"role": 7}])
def test_nor_is_what_lacks_something_that_is_read(wrong: dict[str, Any]) -> None:
    context = RoleContext("ticker", site(), Path(), Settings(), MemoryBus(), asyncio.Event())
    assert as_status(orjson.dumps({**status_body(context), **wrong})) is None


def test_what_a_role_says_is_a_status() -> None:
    context = RoleContext("ticker-2", site(), Path(), Settings(), MemoryBus(), asyncio.Event(), kind="ticker")
    said = as_status(status_message(context).value)
    assert said is not None
    assert (said["role"], said["kind"], said["state"]) == ("ticker-2", "ticker", "starting")
