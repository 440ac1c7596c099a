"""`headrace sim`: the whole in one process on virtual time, under seeded faults, and whether it kept its promises.

Rules: a run that broke something prints the command that repeats it, and exits with 1; all that is random comes from
the seed, so that it does not matter which process of `--jobs` ran it.
"""

from __future__ import annotations

import json
import logging
import math
import signal
import sys
import tempfile
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

from gateways.whole.run import Outcome, Simulator
from gateways.whole.schedule import Trouble, parse
from rules.errors import ConfigurationError, UnreachableError
from rules.findings import Finding
from streams.interrupts import unheard
from streams.site_folder import load_site

SHORTEST_S = 60.0


@dataclass(frozen=True, slots=True)
class SimRequest:
    """What the command line asks for. `troubles` None: those of each seed."""

    site_dir: Path
    seed: int
    hours: float
    seeds: int = 1
    jobs: int = 1
    troubles: str | None = None
    reduce: bool = False
    log: bool = False
    as_json: bool = False


def sim(request: SimRequest) -> int:
    """`seeds` of them from `seed` on; 1 when one of them broke a promise."""
    _check(request)
    site = load_site(request.site_dir)
    given = None if request.troubles is None else parse(request.troubles, request.seed, site)
    failed = 0
    with (
        tempfile.TemporaryDirectory(prefix="headrace-sim-") as folder,
        closing(_outcomes(request, given, Path(folder))) as outcomes,
    ):
        for outcome in outcomes:
            failed += bool(outcome.broken)
            repeat = repeat_command(
                request.site_dir, outcome, request.hours, given is not None or request.reduce
            )
            _say(outcome, repeat, request.as_json)
    if request.seeds > 1 and not request.as_json:
        print(f"{request.seeds} seeds, {failed} failed")
    return 1 if failed else 0


def _check(request: SimRequest) -> None:
    findings = []
    if not math.isfinite(request.hours):
        findings.append(Finding("--hours", 0, 0, f"{request.hours:g} is no time", "such as 0.5 or 24"))
    elif request.hours * 3600.0 < SHORTEST_S:
        message = f"{request.hours:g} is too short a time"
        findings.append(Finding("--hours", 0, 0, message, "a minute (0.02) at least"))
    for option, number in (("--seeds", request.seeds), ("--jobs", request.jobs)):
        if number < 1:
            findings.append(Finding(option, 0, 0, f"{number} are none", "1 or more"))
    if findings:
        raise ConfigurationError(findings)


def _outcomes(
    request: SimRequest, given: tuple[Trouble, ...] | None, folder: Path
) -> Generator[Outcome, None, None]:
    """In the order of the seeds, each as soon as it and those before it are there."""
    numbers = range(request.seed, request.seed + request.seeds)
    if request.jobs == 1 or request.seeds == 1:
        run = _Runs(request, given, folder)
        yield from (run(number) for number in numbers)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(request.jobs, context, _prepare, (request, given, folder)) as pool:
        try:
            for future in _handed_out(pool, numbers):
                yield future.result()
        except BrokenProcessPool:
            raise _died() from None
        except BaseException:
            # Ctrl-C does not wait for seeds that run; and none is cancelled, which a pool that breaks can't take
            for process in active_children():
                process.terminate()
            raise


def _handed_out(pool: ProcessPoolExecutor, numbers: Iterable[int]) -> list[Future[Outcome]]:
    """All seeds, to processes that do not hear Ctrl-C: it is this one that ends them."""
    heard: list[int] = []
    # a start that is interrupted leaves a process without what it needs
    handler = signal.signal(signal.SIGINT, lambda number, _frame: heard.append(number))
    try:
        with unheard():
            futures = [pool.submit(_run, number) for number in numbers]
    except OSError:  # of the pipes of a pool that has just broken
        raise _died() from None
    finally:
        signal.signal(signal.SIGINT, handler)
    if heard:
        raise KeyboardInterrupt
    return futures


def _died() -> UnreachableError:
    return UnreachableError("a process that ran seeds has died: try again, or with --jobs 1")


class _Runs:
    """The runs of one process."""

    def __init__(self, request: SimRequest, given: tuple[Trouble, ...] | None, folder: Path) -> None:
        logging.basicConfig(
            stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s %(message)s"
        )
        logging.disable(logging.NOTSET if request.log else logging.CRITICAL)
        self._request = request
        self._given = given
        own = Path(tempfile.mkdtemp(dir=folder))
        self._simulator = Simulator(request.site_dir, load_site(request.site_dir), own)

    def __call__(self, seed: int) -> Outcome:
        outcome = self._simulator.run(seed, self._request.hours * 3600.0, self._given)
        if outcome.broken and self._request.reduce:
            print(f"seed {seed}: looking for fewer troubles that do it", file=sys.stderr, flush=True)
            outcome = self._simulator.reduced(outcome)
        return outcome


_runs: _Runs | None = None


def _prepare(request: SimRequest, given: tuple[Trouble, ...] | None, folder: Path) -> None:
    global _runs
    _runs = _Runs(request, given, folder)


def _run(seed: int) -> Outcome:
    assert _runs is not None
    return _runs(seed)


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
    print(
        f"seed {outcome.seed}: {'BROKEN' if outcome.broken else 'good'}, {len(outcome.troubles)} troubles, "
        f"{counts.get('killed', 0)} kills, {counts['alarms_raised']} alarms, {counts['commands']} commands, "
        f"{counts['writes']} writes; log {outcome.digest[:12]}, "
        f"{outcome.simulated_s / outcome.cpu_s:.0f} times real time",
        flush=True,
    )
    if outcome.broken:
        for line in outcome.broken:
            print(f"  {line}")
        for trouble in outcome.troubles:
            print(f"  {trouble}")
        print(f"  repeat it with\n    {repeat}", flush=True)


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
