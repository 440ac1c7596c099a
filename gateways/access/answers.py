"""How the answer to what somebody has signed is found in the journal."""

from __future__ import annotations

from collections.abc import Mapping

from rules.access.access import signature_hash
from rules.engine.inputs import Signed
from rules.engine.outputs import Entry
from rules.errors import UndecodableError
from streams.bus.bus import Reader
from streams.wire import decode_output

_READ_S = 0.2


def names_of(value: Signed) -> tuple[str, str]:
    """By which the answer to an input is found: the beginning of its id, and the hash of its signature.

    The answer to a forged one has no id of its own: what is not believed is known by its signature.
    """
    return ":".join(map(str, (value.unit, *value.identity))), signature_hash(value)


def names_in(entry: Entry) -> tuple[str, str]:
    """What an entry has in the place of `names_of`."""
    return entry.id.rpartition(":")[0], str(entry.detail.get("signature_hash", ""))


async def hear_answers(
    journal: Reader, sent: Mapping[str, Signed], kind: str, answers: dict[str, Entry]
) -> None:
    """Read until each unit has answered what was sent to it, in lines whose kind begins with `kind`.

    `answers`, by unit, has what was heard so far, also when it is cancelled.
    """
    units = {name: unit for unit, value in sent.items() for name in names_of(value)}
    while len(answers) < len(sent):
        for record in await journal.read(_READ_S):
            try:
                entry = decode_output(record.headers, record.value)
            except UndecodableError:
                continue
            if not isinstance(entry, Entry) or not entry.kind.startswith(kind):
                continue
            for name in names_in(entry):
                if units.get(name) == entry.unit:
                    answers[entry.unit] = entry
