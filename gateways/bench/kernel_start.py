"""A start of the engines, in a process of its own: from the interpreter's start to the first result.

Rules: `python -m gateways.bench.kernel_start SITE GPUS SNAPSHOTS` does what a worker does before it can evaluate, in
that order, and says when it is done; the parent's clock starts before the process does. No broker: the first start
finds no snapshots and leaves its own in the folder, the next ones restore them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from rules.errors import UnreachableError

_LIMIT_S = 600


def start_s(site_dir: Path, gpus: int, folder: Path) -> dict[str, float]:
    """Seconds until the first result (`total`), and its parts. `folder`: for Numba's cache, and for snapshots."""
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
    parts: dict[str, float] = json.loads(line)
    return {"total": total_s, "interpreter": total_s - sum(parts.values()), **parts}


def main(site_dir: Path, gpus: int, snapshots: Path) -> None:
    """Say on stdout how long each part took, once the first frame was evaluated."""
    times_s = [time.perf_counter()]

    def part() -> float:
        times_s.append(time.perf_counter())
        return times_s[-1] - times_s[-2]

    from gateways import collector

    collector.run_seldom()
    from gateways.bench.kernel_load import shares
    from streams.rule_folder import load_program
    from streams.site_folder import load_site

    parts = {"import": part()}
    site = load_site(site_dir)
    parts["site"] = part()
    program = load_program(site_dir, site)
    parts["rules"] = part()
    collector.keep_all()
    found = shares(site, program, gpus)
    parts["engines"] = part()
    files = [snapshots / f"{number}.snapshot" for number in range(len(found))]
    if files[0].exists():
        for share, file in zip(found, files, strict=True):
            share.engine.restore(file.read_bytes())
        found[0].next_second()  # the one that the snapshot has
    parts["restore"] = part()
    inputs = found[0].next_second()
    found[0].engine.step(inputs[:1] + inputs[-1:])
    parts["first_frame"] = part()
    print(json.dumps(parts), flush=True)
    if not files[0].exists():
        for share, file in zip(found, files, strict=True):
            file.write_bytes(share.engine.snapshot())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
