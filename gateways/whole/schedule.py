"""What goes wrong in a run, and when: drawn from the seed before the run begins, printed, and read back.

    kill:worker@42.1s+3s               kill -9, started again after 3 s
    stop:worker@52s+1s                 SIGTERM: it ends in its own time, and is started again 1 s later
    away:broker@60s+12s                nobody reaches the broker for 12 s
    clock:ticker*-4.5@80s+20s          its clock is 4.5 s behind for 20 s
    plant:pump_trip:CDU-A@90s+40s      a fault of the plant (docs/plant.md)
    activate:other*1.5@100s+30s        other rules rule 1.5 s after they were published, for 30 s

Rules: one random source, used here and nowhere else; a schedule says all that is drawn, so that leaving an entry out
changes nothing else.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateways.sim.effects import targets_of
from gateways.sim.faults import FAULTS
from gateways.sim.layout import layout_of
from gateways.whole.roles import ACTUATORS, RECORDER, TICKER, WORKER
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.site.model import Site
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL, SNAPSHOTS

PARTITIONS: Final = 2
"""Fewer than a site has units, so that units share one, and its restart."""
QUIET_S: Final = 10.0
"""At the beginning: everything starts, and has its first snapshots. At the end: nothing more happens."""
EVERY_S: Final = 8.0
"""Between two troubles, on average."""
TOGETHER: Final = 0.35
"""How often the next one begins while this one lasts: troubles seldom come alone, and promises break where two meet."""
PLANT_SHARE: Final = 0.25
LENGTHS_S: Final = (0.5, 2.0, 8.0, 20.0)
"""Each within a factor of 0.5 to 1.5."""
PLANT_LENGTH_S: Final = 10.0
"""A fault of the plant lasts so long at least: no rule sees a shorter one."""
_NUMBER: Final = r"(?:\d+\.?\d*|\.\d+)"
_FORM: Final = re.compile(
    r"(?P<kind>[a-z-]+):(?P<target>[^*@\s]+)"
    rf"(?:\*(?P<size>-?{_NUMBER}))?@(?P<at>{_NUMBER})s(?:\+(?P<length>{_NUMBER})s)?"
)


class Kind(NamedTuple):
    """`low` to `high`: its sizes, both 1 where it has none; `is_count`: whole numbers. docs/sim.md says of what."""

    low: float = 1.0
    high: float = 1.0
    is_count: bool = False


KINDS: Final[Mapping[str, Kind]] = {
    "kill": Kind(),
    "crash": Kind(1, 30, True),
    "away": Kind(),
    "slow-partition": Kind(0.05, 1.5),
    "slow-reader": Kind(0.2, 3.0),
    "lose-ack": Kind(1, 5, True),
    "refuse": Kind(1, 5, True),
    "repeat": Kind(1, 200, True),
    "clock": Kind(-8.0, 8.0),
    "disk-full": Kind(),
    "server-away": Kind(),
    "server-deaf": Kind(),
    "plant": Kind(),
    "activate": Kind(0.0, 4.0),
    "stop": Kind(),
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that goes wrong: `length_s` how long, `size` as its kind says."""

    kind: str
    target: str
    at_s: float
    length_s: float
    size: float = 1.0

    def __str__(self) -> str:
        size = "" if self.size == 1.0 else f"*{self.size:g}"
        return f"{self.kind}:{self.target}{size}@{self.at_s:.10g}s+{self.length_s:.10g}s"


def instances(seed: int, site: Site) -> list[str]:
    """The roles that run, by name: even seeds have two workers, every fourth two tickers, every third a recorder."""
    sources = [source.id for source in site.sources.values() if source.kind in ("opcua", "nvml", "simulator")]
    names = [TICKER, WORKER, ACTUATORS, *sources]
    names += [f"{WORKER}-2"] * (seed % 2 == 0) + [f"{TICKER}-2"] * (seed % 4 == 0)
    return names + [RECORDER] * (seed % 3 == 0)


def targets(seed: int, site: Site) -> dict[str, list[str]]:
    """By kind, what it may be aimed at; kinds that have nothing here are left out."""
    roles = instances(seed, site)
    workers = [name for name in roles if name.startswith(WORKER)]
    tickers = [name for name in roles if name.startswith(TICKER)]
    others = [RECORDER] * (RECORDER in roles)
    sources = [name for name in roles if name in site.sources and name != RECORDER]
    servers = [source.id for source in site.sources.values() if source.kind == "opcua"] + ["nvml"]
    topics = [topic.name for topic in (EVENTS, ALARMS, COMMANDS, JOURNAL, SNAPSHOTS)]
    layout = layout_of(site)
    faults = [f"{name}:{target}" for name in FAULTS for target in targets_of(layout, name)]
    found = {
        "kill": roles,
        "crash": topics,
        "away": ["broker"],
        "slow-partition": [f"{topic}/{number}" for topic in topics for number in range(PARTITIONS)],
        "slow-reader": [*workers, ACTUATORS, *others],
        "lose-ack": [*sources, ACTUATORS, *workers],
        "refuse": [*sources, ACTUATORS, *workers],
        "repeat": [EVENTS.name],
        "clock": [*tickers, *sources, *others],
        "disk-full": [*sources, ACTUATORS, *others],
        "server-away": servers,
        "server-deaf": servers,
        "plant": [*faults, "frequency_dip"],
        "activate": ["other", "bad"],
        "stop": roles,
    }
    return {kind: names for kind, names in found.items() if names}


def draw(seed: int, site: Site, duration_s: float) -> tuple[Trouble, ...]:
    """The schedule of a seed, in the order of time; all of it is over before the run is."""
    chance = random.Random(seed)
    found: list[Trouble] = []
    possible = targets(seed, site)
    kinds = [kind for kind in possible if kind != "plant"]
    at_s = QUIET_S
    while True:
        is_together = bool(found) and chance.random() < TOGETHER
        at_s += chance.uniform(0.0, found[-1].length_s) if is_together else chance.expovariate(1.0 / EVERY_S)
        length_s = chance.choice(LENGTHS_S) * chance.uniform(0.5, 1.5)
        if chance.random() < PLANT_SHARE:
            kind, target = "plant", _plant_fault(chance, possible["plant"])
            length_s = max(length_s, PLANT_LENGTH_S)
        else:
            # what a kill costs shows where something else is on its way
            kind = chance.choice(("kill", "crash") if is_together and chance.random() < 0.5 else kinds)
            target = chance.choice(possible[kind])
        low, high, is_count = KINDS[kind]
        size = chance.uniform(low, high)
        if at_s + length_s > duration_s - QUIET_S:
            return tuple(found)
        size = round(size) if is_count else round(size, 3)
        found.append(Trouble(kind, target, round(at_s, 3), round(length_s, 3), float(size)))


def _plant_fault(chance: random.Random, possible: Sequence[str]) -> str:
    """Each kind of fault as often as any other, whatever the number of its targets."""
    name = chance.choice(list(dict.fromkeys(target.partition(":")[0] for target in possible)))
    return chance.choice([target for target in possible if target.partition(":")[0] == name])


def parse(text: str, seed: int, site: Site) -> tuple[Trouble, ...]:
    """A schedule as it is printed, its entries separated by blanks. ConfigurationError with every finding."""
    found: list[Trouble] = []
    findings: list[Finding] = []
    possible = targets(seed, site)
    for word in text.split():
        match = _FORM.fullmatch(word)
        if match is None or match["kind"] not in possible:
            hint = nearest(word.partition(":")[0], possible) or "write KIND:TARGET*SIZE@12.5s+3s"
            findings.append(Finding("--troubles", 0, 0, f"'{word}' is no trouble", hint))
            continue
        kind, target = match["kind"], match["target"]
        if target not in possible[kind]:
            hint = nearest(target, possible[kind]) or f"one of {', '.join(possible[kind][:10])}"
            findings.append(Finding("--troubles", 0, 0, f"'{word}': seed {seed} has no '{target}'", hint))
        size, length_s = float(match["size"] or 1.0), float(match["length"] or 0.0)
        found.append(Trouble(kind, target, float(match["at"]), length_s, size))
    if findings:
        raise ConfigurationError(findings)
    return tuple(sorted(found, key=lambda trouble: trouble.at_s))
