"""What Faust makes of a broker that has gone between the worker's question and its own."""

from __future__ import annotations

from typing import Any

import pytest

from rules.errors import UnreachableError
from streams.settings import BrokerSettings
from streams.worker.faust_app import Callbacks, FaustInput, Membership


async def nothing(*_: Any) -> None:
    return


async def test_a_broker_that_has_gone_is_said_as_what_it_is(unused_port: int) -> None:
    broker = BrokerSettings(bootstrap=f"127.0.0.1:{unused_port}")
    callbacks = Callbacks(nothing, nothing, nothing, dict, lambda _: None)
    faust = FaustInput("events", broker, Membership("group", None, 2.0, 20, hides_records=True), callbacks)
    try:
        with pytest.raises(UnreachableError, match=f"no broker answers at 127.0.0.1:{unused_port}"):
            await faust.start()
    finally:
        await faust.stop()
