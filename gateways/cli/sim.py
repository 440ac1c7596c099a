"""`headrace sim`: the whole in one process on virtual time, under seeded faults, and whether it kept its promises.

Rules: a run that broke something prints the command that repeats it, and exits with 1. What is random comes from the seed.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from gateways.whole.run import Outcome, Simulator
from gateways.whole.schedule import parse
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.site_folder import load_site

SHORTEST_S = 60.0


def sim(
    site_dir: Path,
    seed: int,
    hours: float,
    count: int,
    troubles: str | None,
    reduce: bool,
    log: bool,
    as_json: bool,
) -> int:
    """`count` seeds from `seed` on; 1 when one of them broke a promise."""
    duration_s = hours * 3600.0
    if duration_s < SHORTEST_S:
        raise ConfigurationError(
            [Finding("--hours", 0, 0, f"{hours:g} is too short", "a minute (0.02) at least")]
        )
    if count < 1:
        raise ConfigurationError([Finding("--seeds", 0, 0, f"{count} is no number of seeds", "1 or more")])
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    logging.disable(logging.NOTSET if log else logging.CRITICAL)
    given = None if troubles is None else parse(troubles)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="headrace-sim-") as folder:
        simulator = Simulator(site_dir, load_site(site_dir), Path(folder))
        for number in range(seed, seed + count):
            outcome = simulator.run(number, duration_s, given)
            if outcome.broken and reduce:
                print(f"seed {number}: looking for fewer troubles that do it", file=sys.stderr, flush=True)
                outcome = simulator.reduced(outcome)
            failed += bool(outcome.broken)
            repeat = repeat_command(site_dir, outcome, hours, given is not None or reduce)
            _say(outcome, repeat, as_json)
    if count > 1 and not as_json:
        print(f"{count} seeds, {failed} failed")
    return 1 if failed else 0


def repeat_command(site_dir: Path, outcome: Outcome, hours: float, names_troubles: bool) -> str:
    """What runs the same again."""
    command = f"headrace sim {site_dir} --seed {outcome.seed} --hours {hours:.10g}"
    if names_troubles:
        command += f" --troubles '{' '.join(str(trouble) for trouble in outcome.troubles)}'"
    return command


def _say(outcome: Outcome, repeat: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(as_dict(outcome, repeat)), flush=True)
        return
    counts = outcome.counts
    verdict = "BROKEN" if outcome.broken else "good"
    print(
        f"seed {outcome.seed}: {verdict}, {len(outcome.troubles)} troubles, {counts.get('killed', 0)} kills, "
        f"{counts['alarms_raised']} alarms, {counts['commands']} commands, {counts['writes']} writes; "
        f"log {outcome.digest[:12]}, {outcome.simulated_s / outcome.cpu_s:.0f} times real time",
        flush=True,
    )
    if outcome.broken:
        for line in outcome.broken:
            print(f"  {line}")
        for trouble in outcome.troubles:
            print(f"  {trouble}")
        print(f"  repeat it with\n    {repeat}")


def as_dict(outcome: Outcome, repeat: str) -> dict[str, Any]:
    """For `--json`: one line a seed."""
    return {
        "seed": outcome.seed,
        "ok": not outcome.broken,
        "broken": outcome.broken,
        "digest": outcome.digest,
        "simulated_s": outcome.simulated_s,
        "cpu_s": round(outcome.cpu_s, 3),
        "x_real_time": round(outcome.simulated_s / outcome.cpu_s, 1),
        "troubles": [str(trouble) for trouble in outcome.troubles],
        "counts": outcome.counts,
        "repeat": repeat,
    }
