"""An acknowledgement over a link, as an action on the log: the one place that knows how an action is sent."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from gateways.alerts.links import Claim
from rules.engine.inputs import ACTION_SOURCE, Action, Identity
from rules.engine.outputs import Entry
from rules.errors import UndecodableError
from streams.bus import Bus
from streams.topics import EVENTS, JOURNAL
from streams.wire import decode_output, encode_input

ANSWER_S: Final = 5.0


async def acknowledge(bus: Bus, claim: Claim) -> str:
    """What the engine answers: 'alarm-acknowledged', or the reason of its refusal; '' when it says nothing in time.

    UnreachableError: the log takes nothing.
    """
    unit, rule, asset = claim.key.split(":", 2)
    by, now_ns = f"link of {claim.subscription}", time.time_ns()
    identity = Identity(f"{ACTION_SOURCE}{by}", now_ns, 1)
    action = Action(unit, identity, "acknowledge", rule, asset, by, now_ns, claim.occurrence)
    partitions = await bus.partitions(EVENTS.name)
    journal = await bus.reader([JOURNAL.name], await bus.ends(JOURNAL.name))
    producer = await bus.producer("alerts-acknowledge")
    try:
        await (await producer.send(encode_input(action, partitions)))
        wanted = ":".join(map(str, (unit, *identity)))
        until_s = asyncio.get_running_loop().time() + ANSWER_S
        while asyncio.get_running_loop().time() < until_s:
            for record in await journal.read(0.2):
                try:
                    entry = decode_output(record.headers, record.value)
                except UndecodableError:
                    continue
                if isinstance(entry, Entry) and entry.id.rpartition(":")[0] == wanted:
                    return str(entry.detail.get("reason", "")) or entry.kind
        return ""
    finally:
        await producer.close()
        await journal.close()
