"""`headrace bench latency`: from the sample that completes a condition to the receipt of its command.

The whole system runs at demonstration scale with one rule without delays, which the GPUs' own noise makes true
and false again; its command sets the limit that the GPU has, so that the plant is not disturbed.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from pathlib import Path

from gateways.bench.machine import machine
from gateways.bench.session import quiet_logging, watch_until
from gateways.bench.site_copy import site_copy
from gateways.up.command import UpRequest
from gateways.up.observer import SeenCommand
from gateways.up.summary import percentiles_ms
from gateways.up.system import System

BENCH_RULES = """\
rules:
  bench:
    for: GPU
    when: power_instant > 1292 W
    severity: low
    message: "{asset}: {value}"
    cause: none, this is a bench
    response: none
    then:
      - command: set power_limit to 1400 W
"""
WARM_UP_S = 5.0
_LIMIT_S = 300.0


def bench_latency(site: Path, commands: int, bootstrap: str | None, as_json: bool) -> int:
    """Run until `commands` receipts have come; 1 when they have not after five minutes."""
    quiet_logging()
    warm = _Warm()
    with tempfile.TemporaryDirectory() as run_dir:
        copy = site_copy(site, Path(run_dir) / "site", BENCH_RULES, with_own=False)
        summary = asyncio.run(
            watch_until(
                UpRequest(site=copy, free_ports=True, bootstrap=bootstrap),
                lambda system: len(warm.look(system)) >= commands,
                _LIMIT_S,
                Path(run_dir),
            )
        )
    done = warm.done
    result = {
        "commands": len(warm.seen),
        "receipts": dict(Counter(seen.receipt.status if seen.receipt else "none" for seen in warm.seen)),
        "warm_up_s": WARM_UP_S,
        "latency_ms": {
            "sample_to_command": percentiles_ms(seen.at_ns - seen.command.cause_ns for seen in done),
            "sample_to_receipt": percentiles_ms(
                seen.receipt.at_ns - seen.command.cause_ns for seen in done if seen.receipt is not None
            ),
        },
        "readings_per_s": round(summary["readings"] / summary["wall_s"]),
        "cores": summary["cores"],
        "lost": summary["lost"],
        "duplicates": summary["duplicates"],
        "broker": "given" if bootstrap else "embedded",
        "machine": machine(),
    }
    if as_json:
        print(json.dumps(result))
    else:
        for name, values in result["latency_ms"].items():
            print(f"{name:20} p50 {values['p50']} ms  p99 {values['p99']} ms  ({values['count']} commands)")
        print(f"readings/s {result['readings_per_s']:,}, cores {result['cores']}, {result['machine']}")
    return 0 if len(done) >= commands else 1


class _Warm:
    """Commands of samples taken when the worker had been ready for `WARM_UP_S`: its start has a backlog to work off."""

    def __init__(self) -> None:
        self.seen: list[SeenCommand] = []
        self._from_ns: int | None = None

    @property
    def done(self) -> list[SeenCommand]:
        """Those whose receipt says 'done': only they have a latency. `seen` has the others too."""
        return [seen for seen in self.seen if seen.receipt is not None and seen.receipt.status == "done"]

    def look(self, system: System) -> list[SeenCommand]:
        """See what there is now; `done`."""
        worker = system.observer.status.get("worker")
        if self._from_ns is None and worker is not None and worker["state"] == "ready":
            self._from_ns = worker["at_ns"] + round(WARM_UP_S * 1e9)
        if self._from_ns is not None:
            self.seen = [
                seen for seen in system.observer.commands.values() if seen.command.cause_ns >= self._from_ns
            ]
        return self.done
