"""`headrace bench faults`: inject every fault that the simulated plant can make, and hold what is raised, and when,
against the fault table.

Rules: exit code 1 where a fault has no alarm, or one later than the table; false alarms before the injection are said,
and so is the time from the injection, in which the plant itself has its part.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from gateways.bench.fault_runs import run_event_time, run_live
from gateways.bench.fault_table import CASES, NOT_SIMULATED, Case, Mode, outcome, plan
from gateways.bench.machine import machine
from gateways.bench.session import quiet_logging
from gateways.cli import tables
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.rule_sets.rule_folder import load_program
from streams.site_folder import load_site


def bench_faults(site_dir: Path, seeds: str, live: bool | None, as_json: bool) -> int:
    """Run them for each seed; `live`: only the quick ones, live; False: all in event time; None: each its own way."""
    quiet_logging()
    numbers = _seeds(seeds)
    site = load_site(site_dir)
    program = load_program(site_dir, site)
    work = [
        (mode, faults, seed)
        for seed in numbers
        for mode, cases in _ways(live)
        for faults in plan(site, cases)
    ]
    if not work:
        raise ConfigurationError([Finding(str(site_dir), 0, 0, "no fault has a target in this site")])
    found: list[dict[str, Any]] = []
    for number, (mode, faults, seed) in enumerate(work, start=1):
        names = ", ".join(planned.name for planned in faults)
        print(f"run {number} of {len(work)}, seed {seed}, {mode}: {names}", file=sys.stderr, flush=True)
        run = (
            run_live(site_dir, program, faults, seed)
            if mode == "live"
            else run_event_time(site, program, faults, seed)
        )
        found += [outcome(planned, run, program) for planned in faults]
    ok = all(one["ok"] for one in found)
    if as_json:
        print(json.dumps({"ok": ok, "faults": found, "not_simulated": NOT_SIMULATED, "machine": machine()}))
    else:
        _print(found)
    return 0 if ok else 1


def _ways(live: bool | None) -> Iterator[tuple[Mode, Sequence[Case]]]:
    quick = [case for case in CASES if case.is_quick]
    slow = [case for case in CASES if not case.is_quick]
    if live is not False:
        yield "live", quick
    if live is not True:
        yield "event time", slow if live is None else CASES


def _seeds(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise ConfigurationError([Finding("--seeds", 0, 0, f"'{text}' are no seeds", "such as 1,2,3")])
    return [int(word) for word in dict.fromkeys(words)]


def _print(found: Sequence[dict[str, Any]]) -> None:
    heads = ("fault", "seed", "mode", "first alarm", "from its first sample", "of this on-delay", "on the log",
             "table", "from the injection", "", "others; false ones before")  # fmt: skip
    table = Table(*heads, box=None, pad_edge=False)
    for one in sorted(found, key=lambda one: one["fault"]):
        others = ", ".join(rule for rule in one["alarms"] if not f"{one['first']} ".startswith(f"{rule} "))
        before = f"; before: {', '.join(one['before'])}" if one["before"] else ""
        table.add_row(
            f"{one['fault']} {one['target']}".strip(),
            str(one["seed"]),
            one["mode"],
            one["first"] or "none",
            _s(one["detected_s"]),
            _s(one["on_delay_s"]),
            _s(one["on_log_s"]),
            _s(one["table_s"]),
            _s(one["from_injection_s"]),
            "" if one["ok"] else "late" if one["first"] else "missing",
            others + before,
        )
    tables.console().print(table)
    print(f"not simulated: {', '.join(NOT_SIMULATED)}\n{machine()}")


def _s(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"
