"""Sends wrong input to everything that reads what others have written (docs/security.md).

    python -m tools.fuzz [--target NAME]... [--inputs N] [--seed S] [--json]
    python -m tools.fuzz --target NAME --again FILE      one input of a finding once more, with its traceback

Exit 0: nothing was found; 1: something was, and lies in `--findings`; 2: the call is wrong.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from tools.fuzz.runner import Outcome, run_target
from tools.fuzz.targets import TARGETS


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="all without it")
    parser.add_argument("--inputs", type=int, default=200, help="of each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("run/fuzz"))
    parser.add_argument("--again", type=Path, help="a file with one input")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    names = given.target or list(TARGETS)
    if given.again is not None:
        with tempfile.TemporaryDirectory() as work:
            TARGETS[names[0]](Path(work)).run(given.again.read_bytes())
        return 0
    outcomes = []
    for name in names:
        outcome = run_target(name, TARGETS[name], given.seed, given.inputs, given.findings)
        outcomes.append(outcome)
        if not given.json:
            print(_line(outcome), flush=True)
    if given.json:
        print(orjson.dumps([asdict(one) for one in outcomes]).decode())
    else:
        found = sum(len(one.findings) for one in outcomes)
        print(f"{sum(one.inputs for one in outcomes):,} inputs, {found} findings")
    return 1 if any(one.findings for one in outcomes) else 0


def _line(outcome: Outcome) -> str:
    head = (
        f"{outcome.target:16} {outcome.inputs:>9,} inputs  {outcome.refused:>9,} refused  slowest "
        f"{1e3 * outcome.slowest_s:6.0f} ms  grown {outcome.grown_mb:5.1f} MB  {outcome.wall_s:6.1f} s"
    )
    found = [f"  {one['what']}\n    {one['where']}  {one['input']}" for one in outcome.findings]
    return "\n".join([head, *found])


if __name__ == "__main__":
    sys.exit(main())
