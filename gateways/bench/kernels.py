"""`headrace bench kernels`: the engine alone, on one core, beside a memory copy, NumPy and polars.

Rules: the real `Engine.step`, with a tick for each sample and a frame of ten samples for each rack and second; medians
of passes. The first number of GPUs gives the figures at the top of the answer; `runs` has those of each.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Final

from gateways.bench import kernel_activation, kernel_parts, kernel_throughput, kernel_twins
from gateways.bench.kernel_load import folder_for, shares
from gateways.bench.kernel_start import start
from gateways.bench.machine import machine
from gateways.bench.session import quiet_logging
from rules.gpu_fields import FIELD_COUNT
from rules.language.program import GPU_TYPE
from streams.rule_sets.rule_folder import load_program
from streams.site_folder import load_site

RULE_COUNTS: Final = (1, 32, 100, 300)
TWINS_DO: Final = (
    "where the `when` of rules without functions of time is true: no state, delays, quality, messages"
)


def bench_kernels(site_dir: Path, gpus: list[int], passes: int, as_json: bool) -> int:
    """Measure each number of GPUs, and the rest with the first of them; 0 always, a figure is no verdict."""
    quiet_logging()
    if not kernel_twins.has_polars():
        _progress("polars is not installed: no ratio to it")
    runs = [measure(site_dir, count, passes) for count in gpus]
    folder = folder_for(site_dir, gpus[0])
    site = load_site(folder)
    program = load_program(folder, site)
    _progress("a rule by its phase, cost by number of rules, plant readings")
    result = {
        **runs[0],
        "ns_per_gpu_sample": kernel_parts.phase_cost_ns(site, passes),
        "by_rules": kernel_parts.growth(site, RULE_COUNTS, passes),
        "plant_readings_per_s": kernel_parts.plant_readings_per_s(site, program, passes),
        **starts(folder, gpus[0]),
        **activated(folder),
        "twins_do": TWINS_DO,
        "runs": runs,
        "machine": machine(),
    }
    if as_json:
        print(json.dumps(result))
    else:
        _print(result)
    return 0


def measure(site_dir: Path, gpus: int, passes: int) -> dict[str, Any]:
    """Throughput beside the baselines, state and snapshots, of the whole racks that come nearest to `gpus`."""
    folder = folder_for(site_dir, gpus)
    site = load_site(folder)
    program = load_program(folder, site)
    found = shares(site, program, gpus)
    count = sum(share.gpus for share in found)
    _progress(f"{count:,} GPUs in {len(found)} engines")
    return {
        "gpus": count,
        "rules": sum(rule.asset_type == GPU_TYPE for rule in program.rules),
        "engines": len(found),
        **kernel_throughput.throughput(program, found, passes),
        **kernel_throughput.snapshots(site, program, found, passes),
    }


def starts(site_dir: Path, gpus: int) -> dict[str, Any]:
    """Seconds from a process's start to its first result: with nothing kept, then with what that one has kept.

    Kept are Numba's cache, tables of rules (`warm_start_kept_tables`: whether all were used) and snapshots.
    """
    _progress("starts: with nothing kept, then with what that one has kept")
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        cold = start(site_dir, gpus, Path(folder))
        warm = [start(site_dir, gpus, Path(folder)) for _ in range(3)]
    parts_s = {part: median(one.parts_s[part] for one in warm) for part in warm[0].parts_s}
    return {
        "cold_start_s": round(cold.parts_s["total"], 2),
        "warm_start_s": round(parts_s["total"], 3),
        "warm_start_parts_s": {part: round(time_s, 3) for part, time_s in parts_s.items()},
        "warm_start_kept_tables": not any(one.tables_made for one in warm),
    }


def activated(site_dir: Path) -> dict[str, Any]:
    """What a new rule set of 300 rules costs, the site's units as they are."""
    _progress("a new rule set: made ready, taken over, activated")
    return kernel_activation.activation(site_dir)


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(result: dict[str, Any]) -> None:
    for run in result["runs"]:
        ratios = ", ".join(
            f"{name} {'not installed' if run[f'ratio_to_{name}'] is None else run[f'ratio_to_{name}']}"
            for name in kernel_throughput.BASELINES
        )
        print(
            f"{run['gpus']:>7,} GPUs, {run['rules']} rules: {run['readings_per_s'] / 1e6:.0f} M readings/s "
            f"(best {run['readings_per_s_best'] / 1e6:.0f} M); times as fast as {ratios}\n"
            f"        state {run['state_bytes_per_gpu']} bytes a GPU; snapshots pause {run['snapshot_pause_ms']} ms, "
            f"{run['snapshot_mb_compressed']} MB compressed; restored in {run['restore_ms']} ms"
        )
    print(f"a GPU sample, one rule, ns: {result['ns_per_gpu_sample']}")
    for row in result["by_rules"]:
        print(
            f"{row['rules']:>4} rules: {row['readings_per_s'] / 1e6:.0f} M readings/s, "
            f"{row['ns_per_sample_and_rule']} ns a GPU sample and rule"
        )
    plant = result["plant_readings_per_s"]
    print(f"plant readings/s: {plant['all']:,} of all points, {plant['watched']:,} of those that rules read")
    print(
        f"start: cold {result['cold_start_s']} s, warm {result['warm_start_s']} s {result['warm_start_parts_s']}"
    )
    print(
        f"a new set of {result['activation_rules']} rules: ready in {result['activation_ready_s']} s beside the "
        f"stream; a unit of {result['activation_gpus']:,} GPUs takes it over in "
        f"{result['activation_take_over_ms']} ms and up in {result['activation_pause_ms']} ms"
    )
    print(
        f"the twins in NumPy and polars say {result['twins_do']} "
        f"({result['rules_of_twins']} rules that read {result['fields_of_twins']} of {FIELD_COUNT} fields)"
    )
    print(result["machine"])
