"""Puts the users of a site on its log, as an access list for each unit, and hears what the units say of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateways.access.answers import hear_answers
from gateways.access.signing import said_by
from rules.access.users import Users, plain_users, read_users
from rules.engine.inputs import ACCESS_SOURCE, AccessList, Identity
from rules.engine.outputs import Entry
from rules.errors import ConfigurationError, UnreachableError
from rules.findings import Finding
from rules.site.model import Site
from streams.bus.bus import Bus
from streams.replay_mark import replay_of
from streams.topics import EVENTS, JOURNAL
from streams.wire import encode_input

ANSWER_S: Final = 10.0


async def apply_users(
    bus: Bus,
    site: Site,
    users: Users,
    signer: str,
    key: Ed25519PrivateKey,
    clock_ns: Callable[[], int] = time.time_ns,
    within_s: float = ANSWER_S,
) -> dict[str, Entry]:
    """What each unit has answered: `access-list`, or `access-list-refused` with a reason.

    ConfigurationError: no unit would take such a list. UnreachableError: no broker, a replay runs there, or a unit does
    not answer in time.
    """
    wrong = read_users(plain_users(users))
    if isinstance(wrong, str):
        raise ConfigurationError([Finding("users", 0, 0, wrong)])
    if (replay := await replay_of(bus)) is not None:
        raise UnreachableError(f"a replay of {replay.recording} runs there: nobody takes access lists")
    partitions = await bus.partitions(EVENTS.name)
    journal = await bus.reader([JOURNAL.name], await bus.ends(JOURNAL.name))
    producer = await bus.producer("access-lists")
    try:
        now_ns, sent = clock_ns(), dict[str, AccessList]()
        for unit in site.units:
            value = AccessList(unit, Identity(ACCESS_SOURCE, now_ns, 1), plain_users(users), now_ns, signer)
            sent[unit] = said_by(signer, key, value, site)
            await (await producer.send(encode_input(sent[unit], partitions)))
        answers: dict[str, Entry] = {}
        await asyncio.wait_for(hear_answers(journal, sent, "access-list", answers), within_s)
        return {unit: answers[unit] for unit in sent}
    except TimeoutError:
        raise UnreachableError(
            f"said, but not every unit has answered within {within_s:.0f} s: is its worker running? "
            "The list is on the log and need not be sent again: a unit takes it when its worker comes to it, "
            "and the journal has what has become of it"
        ) from None
    finally:
        await producer.close()
        await journal.close()
