"""`headrace bench latency`: from the sample that completes a condition to the receipt of its command.

The whole system runs at demonstration scale with one rule without delays, which the GPUs' own noise makes true
and false again; its command sets the limit that the GPU has, so that the plant is not disturbed.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

from gateways.bench.machine import machine
from gateways.bench.session import quiet_logging, site_with_rules, watch_until
from gateways.up.command import UpRequest
from gateways.up.system import System

BENCH_RULES = """\
rules:
  bench:
    for: GPU
    when: gpu_utilization > 95 percent
    until: gpu_utilization < 90 percent
    severity: low
    message: "{asset}: {value}"
    cause: none, this is a bench
    response: none
    then:
      command: set power_limit to 1400 W
"""
_LIMIT_S = 300.0


def bench_latency(site: Path, commands: int, as_json: bool) -> int:
    """Run until `commands` receipts have come; 1 when they have not after five minutes."""
    quiet_logging()
    with site_with_rules(site, BENCH_RULES) as copy, tempfile.TemporaryDirectory() as run_dir:
        summary = asyncio.run(
            watch_until(
                UpRequest(site=copy, free_ports=True),
                lambda system: _receipts(system) >= commands,
                _LIMIT_S,
                Path(run_dir),
            )
        )
    result = {
        "commands": len(summary["commands"]),
        "receipts": sum(command["status"] == "done" for command in summary["commands"]),
        "latency_ms": summary["latency_ms"],
        "readings_per_s": round(summary["readings"] / summary["wall_s"]),
        "cores": summary["cores"],
        "lost": summary["lost"],
        "duplicates": summary["duplicates"],
        "machine": machine(),
    }
    if as_json:
        print(json.dumps(result))
    else:
        for name, values in result["latency_ms"].items():
            print(f"{name:20} p50 {values['p50']} ms  p99 {values['p99']} ms  ({values['count']} commands)")
        print(f"readings/s {result['readings_per_s']:,}, cores {result['cores']}, {result['machine']}")
    return 0 if result["receipts"] >= commands else 1


def _receipts(system: System) -> int:
    return sum(seen.receipt is not None for seen in system.observer.commands.values())
