"""Puts the users of a site on its log, as an access list for each unit, and hears what the units say of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateways.actions import names_in, names_of
from rules.access.signatures import signed
from rules.access.users import Users, plain_users, read_users
from rules.engine.inputs import ACCESS_SOURCE, AccessList, Identity
from rules.engine.outputs import Entry
from rules.errors import ConfigurationError, UndecodableError, UnreachableError
from rules.findings import Finding
from rules.site.model import Site
from streams.bus import Bus, Reader
from streams.replay_mark import replay_of
from streams.topics import EVENTS, JOURNAL
from streams.wire import decode_output, encode_input

ANSWER_S: Final = 10.0
_READ_S: Final = 0.2


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
            sent[unit] = signed(value, site.name, key)
            await (await producer.send(encode_input(sent[unit], partitions)))
        return await asyncio.wait_for(_answers(journal, sent), within_s)
    except TimeoutError:
        raise UnreachableError(
            f"said, but not every unit has answered within {within_s:.0f} s: is its worker running? "
            "The journal has what has become of it"
        ) from None
    finally:
        await producer.close()
        await journal.close()


async def _answers(journal: Reader, sent: Mapping[str, AccessList]) -> dict[str, Entry]:
    units = {name: unit for unit, value in sent.items() for name in names_of(value)}
    answers: dict[str, Entry] = {}
    while len(answers) < len(sent):
        for record in await journal.read(_READ_S):
            try:
                entry = decode_output(record.headers, record.value)
            except UndecodableError:
                continue
            if not isinstance(entry, Entry) or not entry.kind.startswith("access-list"):
                continue
            for name in names_in(entry):
                if units.get(name) == entry.unit:
                    answers[entry.unit] = entry
    return {unit: answers[unit] for unit in sent}
