"""The site of `headrace bench chaos`: one that is there, told to a sink, with rules that move something all the time.

Rules: a command that repeats the one before changes nothing, and proves nothing. Here valves of racks go to and fro
with the noise of the power, so that what is written too late or twice is seen on the device.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import orjson

from gateways.bench.site_copy import site_copy
from streams.keys import make_key

SUBSCRIPTION: Final = "chaos"
_RULES: Final = """
rules:
  chaos-rack-power-rises:
    for: Rack
    when: delta(RackPower, 4 s) > 0.05 kW
    off_delay: 1 s
    severity: low
    message: "{asset}: more power"
    cause: noise
    response: none, this is a bench
    then: [{command: set RackControlValvePositionSp to 55 percent}]
  chaos-rack-power-falls:
    for: Rack
    when: delta(RackPower, 4 s) < -0.05 kW
    off_delay: 1 s
    severity: low
    message: "{asset}: less power"
    cause: noise
    response: none, this is a bench
    then: [{command: set RackControlValvePositionSp to 65 percent}]
"""


def chaos_site(site_dir: Path, folder: Path, sink: str) -> Path:
    """A copy of the site whose notifications all go to the sink, and whose commands are signed. UnreachableError."""
    site_copy(site_dir, folder, _RULES)
    private = (folder / "commands.pem").resolve()
    keys = {"key": str(private), "trusted": [str(make_key(private))]}
    with (folder / "headrace.yaml").open("a") as settings:
        settings.write(f"\ncommands: {orjson.dumps(keys).decode()}\n")
    (folder / "subscriptions.yaml").write_text(
        f"channels:\n  sink: {{kind: webhook, url: '{sink}/take'}}\n"
        f"subscriptions:\n  {SUBSCRIPTION}: {{to: sink}}\n"
    )
    return folder
