"""A rule set to tables, in a process of its own: what the stream must not wait for.

`python -m streams.prepare_rules` reads one JSON object (`files`, `site_digest`, `units`). It answers with a line of
JSON: the length of each unit's tables, which follow in the order of the units, or a string that says why the rules
can't rule.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Final

import orjson

from rules.engine import kept_tables
from rules.engine.tables import Compiled
from rules.errors import InvariantError
from streams.rule_set import RuleSet

NICENESS: Final = 10
"""The stream goes first on a machine with few cores."""


async def prepare_aside(rule_set: RuleSet, site_digest: str, units: Sequence[str]) -> dict[str, bytes] | str:
    """Packed tables by unit, or why the rule set can't rule. Raises InvariantError when the process fails."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    asked = {"files": dict(rule_set.files), "site_digest": site_digest, "units": list(units)}
    try:
        child.stdin.write(orjson.dumps(asked))
        child.stdin.close()
        head = orjson.loads(await child.stdout.readline() or b"null")
        if isinstance(head, str):
            return head
        tables = [await child.stdout.readexactly(length) for length in head or ()]
        code = await child.wait()
    except asyncio.IncompleteReadError:
        raise InvariantError("preparing a rule set ended in the middle of its answer") from None
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    if code or head is None:
        raise InvariantError(f"preparing a rule set ended with {code}")
    return dict(zip(units, tables, strict=True))


def main() -> None:
    """Answer what stdin asks."""
    os.nice(NICENESS)
    try:
        asked = orjson.loads(sys.stdin.buffer.read())
    except orjson.JSONDecodeError:
        sys.exit("whoever asked has ended before the question was whole")
    answer = RuleSet(asked["files"]).compiled_for(asked["site_digest"], asked["units"])
    tables: list[bytes] = []
    if not isinstance(answer, str):
        tables = [kept_tables.pack(answer[unit], _key(unit)) for unit in asked["units"]]
    head = answer if isinstance(answer, str) else [len(data) for data in tables]
    sys.stdout.buffer.write(b"\n".join([orjson.dumps(head), b"".join(tables)]))


def unpacked(unit: str, data: bytes) -> Compiled:
    """Tables of one unit, as `prepare_aside` has given them."""
    return kept_tables.unpack(bytearray(data), _key(unit))


def _key(unit: str) -> dict[str, str]:
    return {"unit": unit}


if __name__ == "__main__":
    main()
