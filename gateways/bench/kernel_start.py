"""A start of the engines, in a process of its own: from the interpreter's start to the first result.

Rules: `python -m gateways.bench.kernel_start SITE GPUS` does what a worker does before it can evaluate, in that order,
and says when it is done; the parent's clock starts before the process does. No broker, no snapshots.
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


def start_s(site_dir: Path, gpus: int, cache_dir: Path | None = None) -> dict[str, float]:
    """Seconds until the first result (`total`), and its parts. `cache_dir`: Numba's, in place of the usual one."""
    environment = dict(os.environ)
    if cache_dir is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache_dir)
    command = [sys.executable, "-m", "gateways.bench.kernel_start", str(site_dir), str(gpus)]
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


def main(site_dir: Path, gpus: int) -> None:
    """Say on stdout how long each part took, once the first frame was evaluated."""
    times_s = [time.perf_counter()]

    def part() -> float:
        times_s.append(time.perf_counter())
        return times_s[-1] - times_s[-2]

    from gateways.bench.kernel_load import shares
    from streams.rule_folder import load_program
    from streams.site_folder import load_site

    parts = {"import": part()}
    site = load_site(site_dir)
    parts["site"] = part()
    program = load_program(site_dir, site)
    parts["rules"] = part()
    found = shares(site, program, gpus)
    parts["engines"] = part()
    inputs = found[0].next_second()
    found[0].engine.step(inputs[:1] + inputs[-1:])
    parts["first_frame"] = part()
    print(json.dumps(parts), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
