"""Runs `chaos_audit` as a process of its own: what it says, it says without Headrace."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from gateways.bench import chaos_audit
from rules.errors import UnreachableError


async def audited(
    bootstrap: str, run_dir: Path, sink: Path | None = None, subscription: str = ""
) -> dict[str, Any]:
    """What was lost, done twice or can't be explained. UnreachableError: it could not read the log."""
    writes = run_dir / "device-writes.jsonl"
    writes.touch()
    told = ("--sink", str(sink), "--subscription", subscription) if sink is not None else ()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", str(Path(chaos_audit.__file__)), "--bootstrap", bootstrap),
        *("--device-writes", str(writes), *told),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    answer, words = await process.communicate()
    if not answer:
        raise UnreachableError(f"the audit failed: {words.decode()[-1500:]}")
    found: dict[str, Any] = json.loads(answer)
    return found
