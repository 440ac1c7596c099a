"""What goes wrong in a run, and when: drawn from the seed before the run begins, printed, and read back.

    kill:worker@42.1s+3s         kill -9, started again after 3 s
    away:broker@60s+12s          nobody reaches the broker for 12 s
    clock:ticker*-4.5@80s+20s    its clock is 4.5 s behind for 20 s
    plant:pump_trip:CDU-A@90s+40s

Rules: one random source, used here and nowhere else; a schedule says all that is drawn, so that leaving an entry out
changes nothing else.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateways.sim.effects import targets_of
from gateways.sim.faults import FAULTS
from gateways.sim.layout import layout_of
from gateways.whole.roles import ACTUATORS, TICKER, WORKER
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.site.model import Site
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL, SNAPSHOTS

QUIET_S: Final = 10.0
"""At the beginning: everything starts, and has its first snapshots."""
EVERY_S: Final = 8.0
"""Between two faults, on average."""
CRASH_TOPICS: Final = (ALARMS.name, COMMANDS.name, JOURNAL.name, SNAPSHOTS.name, EVENTS.name)

_FORM: Final = re.compile(
    r"(?P<kind>[a-z-]+):(?P<target>[^*@\s]+)(?:\*(?P<size>[^@\s]+))?@(?P<at>[\d.]+)s(?:\+(?P<length>[\d.]+)s)?"
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong: `length_s` how long, `size` what the kind says."""

    kind: str
    target: str
    at_s: float
    length_s: float
    size: float = 1.0

    def __str__(self) -> str:
        size = "" if self.size == 1.0 else f"*{self.size:g}"
        return f"{self.kind}:{self.target}{size}@{self.at_s:g}s+{self.length_s:g}s"


KINDS: Final[dict[str, str]] = {
    "kill": "kill -9 of a process, down for the length",
    "crash": "the worker is killed with its size-th message to a topic in its hands",
    "away": "the broker is away",
    "slow-partition": "what is sent to a partition of events takes size s longer: it is passed by the others",
    "slow-reader": "a process reads, and each read takes size s longer",
    "lose-ack": "records are in the log, and size times their sender is told that they are not",
    "refuse": "size times a sender's records are refused",
    "repeat": "the last size records of events stand on the log once more",
    "clock": "a process's clock is size s off",
    "disk-full": "the disk of a process takes nothing",
    "server-away": "a server of the field answers nobody",
    "server-deaf": "a server takes writes and never says so",
    "plant": "a fault of the plant itself",
}


def instances(seed: int, site: Site) -> list[str]:
    """The roles that run, by name: even seeds have two workers, every fourth has two tickers."""
    sources = [source.id for source in site.sources.values() if source.kind in ("opcua", "nvml", "simulator")]
    names = [TICKER, WORKER, ACTUATORS, *sources]
    return names + [f"{WORKER}-2"] * (seed % 2 == 0) + [f"{TICKER}-2"] * (seed % 4 == 0)


def draw(seed: int, site: Site, duration_s: float) -> tuple[Trouble, ...]:
    """The schedule of a seed, in the order of time; all of it is over before the run is."""
    chance = random.Random(seed)
    roles = instances(seed, site)
    workers = [name for name in roles if name.startswith(WORKER)]
    tickers = [name for name in roles if name.startswith(TICKER)]
    sources = [name for name in roles if name in site.sources]
    publishers = [*sources, ACTUATORS]
    plant_faults = _plant_faults(site)
    kinds = [kind for kind in KINDS if kind != "plant"]
    found: list[Trouble] = []
    at_s = QUIET_S
    while True:
        at_s += chance.expovariate(1.0 / EVERY_S)
        length_s = round(min(chance.choice((0.5, 2.0, 8.0, 20.0)) * chance.uniform(0.5, 1.5), 30.0), 2)
        if at_s + length_s > duration_s - QUIET_S:
            return tuple(sorted(found, key=lambda trouble: trouble.at_s))
        at = round(at_s, 3)
        if chance.random() < 0.25:
            name, target = chance.choice(plant_faults)
            found.append(Trouble("plant", f"{name}:{target}" if target else name, at, max(length_s, 10.0)))
            continue
        kind = chance.choice(kinds)
        drawn: dict[str, Callable[[], tuple[str, float]]] = {
            "kill": lambda: (chance.choice(roles), 1.0),
            "crash": lambda: (chance.choice(CRASH_TOPICS), float(chance.randint(1, 30))),
            "away": lambda: ("broker", 1.0),
            "slow-partition": lambda: (f"{EVENTS.name}/{chance.randrange(3)}", _s(chance, 0.05, 1.5)),
            "slow-reader": lambda: (chance.choice((*workers, ACTUATORS)), _s(chance, 0.2, 3.0)),
            "lose-ack": lambda: (chance.choice((*publishers, *workers)), float(chance.randint(1, 5))),
            "refuse": lambda: (chance.choice((*publishers, *workers)), float(chance.randint(1, 5))),
            "repeat": lambda: (EVENTS.name, float(chance.randint(1, 200))),
            "clock": lambda: (chance.choice((*tickers, *sources)), _s(chance, -8.0, 8.0)),
            "disk-full": lambda: (chance.choice(publishers), 1.0),
            "server-away": lambda: (chance.choice(_servers(site)), 1.0),
            "server-deaf": lambda: (chance.choice(_servers(site)), 1.0),
        }
        target, size = drawn[kind]()
        found.append(Trouble(kind, target, at, length_s, size))


def _s(chance: random.Random, low: float, high: float) -> float:
    return round(chance.uniform(low, high), 3)


def _servers(site: Site) -> list[str]:
    """What a gateway reads or the actuators write to; all GPUs' limits are one target."""
    return [source.id for source in site.sources.values() if source.kind == "opcua"] + ["nvml"]


def _plant_faults(site: Site) -> list[tuple[str, str]]:
    """(name, target) of every fault that the plant can have, one target each of the first few."""
    layout = layout_of(site)
    found = [(name, target) for name in FAULTS for target in targets_of(layout, name)[:8]]
    return [*found, ("frequency_dip", "")]


def parse(text: str) -> tuple[Trouble, ...]:
    """A schedule as it is printed, its entries separated by commas or blanks. ConfigurationError."""
    found = []
    for word in text.replace(",", " ").split():
        match = _FORM.fullmatch(word)
        if match is None or match["kind"] not in KINDS:
            hint = nearest(word.partition(":")[0], KINDS) or "KIND:TARGET*SIZE@12.5s+3s"
            raise ConfigurationError([Finding("--troubles", 0, 0, f"'{word}' is none", hint)])
        size, length_s = float(match["size"] or 1.0), float(match["length"] or 0.0)
        found.append(Trouble(match["kind"], match["target"], float(match["at"]), length_s, size))
    return tuple(sorted(found, key=lambda trouble: trouble.at_s))
