"""A rule set to tables, in a process of its own: what the stream must not wait for.

`python -m streams.rule_sets.prepare_rules` reads one JSON object (`files`, `site_digest`, `units`, `folder`). It keeps
the tables in the folder (`kept_rules`) and answers with a line of JSON: the length of each unit's tables, which follow
in the order of the units, or a string that says why the rules can't rule.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import accumulate
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
    asked = {
        "files": dict(rule_set.files),
        "site_digest": site_digest,
        "units": list(units),
        "folder": str(folder),
    }
    # not asyncio's: whoever is cancelled while that connects its pipes waits for ever
    child = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,  # Ctrl-C is for who asked, and who asked ends it
    )
    try:
        answer, _ = await asyncio.to_thread(child.communicate, orjson.dumps(asked))
    finally:
        child.kill()  # where it has ended, nobody is sent anything
        child.wait()
    first, _, rest = answer.partition(b"\n")
    head = orjson.loads(first or b"null")
    if isinstance(head, str):
        return head
    if child.returncode or head is None:
        raise InvariantError(f"preparing a rule set ended with {child.returncode}")
    if len(rest) != sum(head):
        raise InvariantError("preparing a rule set ended in the middle of its answer")
    ends = list(accumulate(head))
    return {unit: rest[end - length : end] for unit, length, end in zip(units, head, ends, strict=True)}


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
