"""A rule set to tables, in a process of its own: what the stream must not wait for.

`python -m streams.rule_sets.prepare_rules` reads one JSON object (`files`, `site_digest`, `units`, `folder`). It keeps
the tables in the folder (`kept_rules`) and answers with a line of JSON: the length of each unit's tables, which follow
in the order of the units, or a string that says why the rules can't rule.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from rules.errors import InvariantError
from streams.rule_sets.kept_rules import KeptTables
from streams.rule_sets.rule_set import RuleSet

NICENESS: Final = 10
"""The stream goes first on a machine with few cores."""


async def prepare_aside(
    rule_set: RuleSet, site_digest: str, units: Sequence[str], folder: Path
) -> dict[str, bytes] | str:
    """Tables by unit as `KeptTables` packs them, or why the rule set can't rule.

    Raises InvariantError when the process fails.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
        process_group=0,  # Ctrl-C is for who asked, and who asked ends it
    )
    assert child.stdin is not None
    assert child.stdout is not None
    asked = {
        "files": dict(rule_set.files),
        "site_digest": site_digest,
        "units": list(units),
        "folder": str(folder),
    }
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
    rule_set = RuleSet(asked["files"])
    answer = rule_set.compiled_for(asked["site_digest"], asked["units"])
    tables: list[bytes] = []
    if not isinstance(answer, str):
        kept = KeptTables(rule_set.digest, Path(asked["folder"]))
        tables = [kept.packed(unit, answer[unit]) for unit in asked["units"]]
        # before the answer: whoever asked may have ended since, and starts again
        for unit, data in zip(asked["units"], tables, strict=True):
            kept.keep(unit, data)
    head = answer if isinstance(answer, str) else [len(data) for data in tables]
    sys.stdout.buffer.write(b"\n".join([orjson.dumps(head), b"".join(tables)]))


if __name__ == "__main__":
    main()
