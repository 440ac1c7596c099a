"""A start of the engines, in a process of its own: from the interpreter's start to the first result.

Rules: `python -m gateways.bench.kernel_start SITE GPUS FOLDER` does what a worker does before it can evaluate, in
that order, and says when it is done; the parent's clock starts before the process does. No broker: the first start
finds no snapshots and no tables of rules, and leaves its own in the folder; the next ones take them up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from rules.errors import UnreachableError

_LIMIT_S = 600


class Start(NamedTuple):
    """Seconds until the first result (`total`) and of its parts. `tables_made`: how many units' had to be."""

    parts_s: dict[str, float]
    tables_made: int


def start(site_dir: Path, gpus: int, folder: Path) -> Start:
    """Start a process. `folder`: for Numba's cache, tables of rules and snapshots."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-m", "gateways.bench.kernel_start", str(site_dir), str(gpus), str(folder)]
    begun_s = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            total_s = time.perf_counter() - begun_s
            process.wait(_LIMIT_S)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise UnreachableError("the process whose start is measured has failed: its words are above")
    parts_s, tables_made = json.loads(line)
    return Start({"total": total_s, "interpreter": total_s - sum(parts_s.values()), **parts_s}, tables_made)


def main(site_dir: Path, gpus: int, folder: Path) -> None:
    """Say on stdout how long each part took, once the first frame was evaluated."""
    times_s = [time.perf_counter()]

    def part() -> float:
        times_s.append(time.perf_counter())
        return times_s[-1] - times_s[-2]

    from gateways import collector

    collector.run_seldom()
    from gateways.bench.kernel_load import shares
    from streams.rule_sets.kept_rules import FOLDER, KeptRules
    from streams.rule_sets.rule_set import rule_set_of
    from streams.site_folder import load_site

    parts = {"import": part()}
    site = load_site(site_dir)
    parts["site"] = part()
    rules = KeptRules(rule_set_of(site_dir, site), site, folder / FOLDER)
    parts["rules"] = part()
    collector.keep_all()
    found = shares(site, rules.tables, gpus)
    parts["engines"] = part()
    files = [folder / f"{number}.snapshot" for number in range(len(found))]
    if files[0].exists():
        for share, file in zip(found, files, strict=True):
            share.engine.restore(file.read_bytes())
        found[0].next_second()  # the one that the snapshot has
    parts["restore"] = part()
    inputs = found[0].next_second()
    found[0].engine.step(inputs[:1] + inputs[-1:])
    parts["first_frame"] = part()
    print(json.dumps([parts, len(rules.made)]), flush=True)
    if not files[0].exists():
        for share, file in zip(found, files, strict=True):
            file.write_bytes(share.engine.snapshot())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
