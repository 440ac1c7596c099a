"""What goes wrong in `headrace bench chaos`, drawn from a seed before anything starts.

Rules: one trouble after the other, so that a recovery can be measured; faults of the plant run beside them all the
time, so that alarms and commands are on their way when something is hit.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["kill", "stop", "hold", "cut", "disk-full", "restart"]

WORKERS: Final = ("worker", "worker-2")
KILLED: Final = (*WORKERS, "opcua", "nvml", "ticker", "actuators", "alerts", "recorder")
STOPPED: Final = (*WORKERS, "opcua", "actuators", "plant")
BROKER: Final = "broker"
LINKS: Final = ("worker", "gateway")
"""Between them and the brokers lies a wire that can be held or cut."""
ROLES_BY_LINK: Final = {
    "worker": frozenset(WORKERS),
    "gateway": frozenset({"opcua", "nvml", "plant", "ticker"}),
}
_REST_S: Final = (3.0, 6.0)
_WEIGHTS: Final[dict[Kind, int]] = {"kill": 10, "stop": 3, "hold": 2, "cut": 2, "disk-full": 1, "restart": 1}
_FAULTS: Final = ("pump_trip", "feed_trip", "leak", "gpu_runaway")
_FAULT_APART_S: Final = (8.0, 20.0)
_FAULT_LASTS_S: Final = (6.0, 14.0)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to whom, how many seconds after the one before is over, and for how long."""

    rest_s: float
    kind: Kind
    target: str
    lasts_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}" + (f"*{self.lasts_s:g}s" if self.lasts_s else "")


def troubles(seed: int, count: int, brokers: int, session_s: float) -> list[Trouble]:
    """So many, one after the other."""
    chance = random.Random(seed)
    found: list[Trouble] = []
    for _ in range(count):
        kind, target, lasts_s = _draw(chance, brokers, session_s)
        found.append(Trouble(round(chance.uniform(*_REST_S), 1), kind, target, round(lasts_s, 1)))
    return found


def _draw(chance: random.Random, brokers: int, session_s: float) -> tuple[Kind, str, float]:
    (kind,) = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
    number = f"{BROKER}-{chance.randint(1, brokers)}"
    if kind == "kill":
        # a broker as often as any role
        target = chance.choice([*KILLED, BROKER])
        return (
            kind,
            number if target == BROKER else target,
            chance.uniform(1.0, 4.0) if target == BROKER else 0.0,
        )
    if kind == "stop":
        target = chance.choice(STOPPED)
        # longer than the session: another worker has its partitions when it wakes up
        return (
            kind,
            target,
            session_s + chance.uniform(2.0, 5.0) if target in WORKERS else chance.uniform(2.0, 9.0),
        )
    if kind == "restart":
        return kind, number, chance.uniform(0.5, 2.0)
    if kind == "disk-full":
        # the spool is asked only while the broker is away
        return kind, "gateway", chance.uniform(5.0, 8.0)
    return kind, chance.choice(LINKS), chance.uniform(2.0, session_s + 4.0)


def faults(seed: int, until_s: float) -> tuple[str, ...]:
    """Of the plant, over so many seconds: as `headrace up --fault` takes them."""
    chance = random.Random(seed + 1_000_003)
    found: list[str] = []
    at = 5.0
    while at < until_s:
        name = chance.choice(_FAULTS)
        ends = at + chance.uniform(*_FAULT_LASTS_S)
        found += [f"{name}@{at:.2f}s", f"~{name}@{ends:.2f}s"]
        at = ends + chance.uniform(*_FAULT_APART_S)
    return tuple(found)
