"""Named faults of the simulated plant, and the short form in which people write them.

    pump_trip@10s                  after 10 s, on the default target
    pump_trip:CDU-B@10s            on a target of one's own
    pump_trip:CDU-A*0.8@10s        with a size (its meaning is in `FAULTS`)
    ~pump_trip@60s                 removed again (all of that name, or `~pump_trip:CDU-A@60s`)

Rules never see a fault: it acts on the physics or on the sensors, and they see signals. Times count from the
plant's start.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from rules.errors import ConfigurationError
from rules.findings import Finding, nearest

Acts = Literal["physics", "sensor"]


@dataclass(frozen=True, slots=True)
class FaultKind:
    """What a fault does. `size` outside of `low…high` is an error; `targets` says what a target may be."""

    name: str
    acts: Acts
    targets: str
    size_means: str
    size: float
    low: float
    high: float


_KINDS = (
    FaultKind(
        "pump_trip", "physics", "CDU or pump", "share of the pump's speed that is lost", 1.0, 0.05, 1.0
    ),
    FaultKind("feed_trip", "physics", "feed or breaker", "no meaning", 1.0, 1.0, 1.0),
    FaultKind("chiller_trip", "physics", "chiller", "share of the capacity that is lost", 1.0, 0.05, 1.0),
    FaultKind("leak", "physics", "rack, tray or CDU", "litres a minute", 2.0, 0.05, 100.0),
    FaultKind("sensor_frozen", "sensor", "point or asset", "no meaning", 1.0, 1.0, 1.0),
    FaultKind(
        "sensor_drift", "sensor", "point or asset", "percent of the span a minute", 2.0, -1000.0, 1000.0
    ),
    FaultKind("stale", "sensor", "point or asset", "no meaning", 1.0, 1.0, 1.0),
    FaultKind(
        "valve_stuck", "physics", "CDU or sink with a valve", "share of travel where it sticks", 0.3, 0.0, 1.0
    ),
    FaultKind("gpu_runaway", "physics", "GPU", "share of cold-plate contact that is lost", 0.9, 0.05, 1.0),
    FaultKind("frequency_dip", "physics", "none", "lost generation in steps of 1,400 MW", 1.0, 0.05, 3.0),
    FaultKind("xid_storm", "sensor", "rack", "number of GPUs", 4.0, 1.0, 72.0),
    FaultKind("heat_sink_lost", "physics", "heat sink", "share of the flow that is lost", 1.0, 0.05, 1.0),
    FaultKind("clock_skew", "sensor", "source", "seconds ahead", 3600.0, -86400.0, 86400.0),
)
FAULTS: dict[str, FaultKind] = {kind.name: kind for kind in _KINDS}

_FORM = re.compile(
    r"(?P<remove>~?)(?P<name>[a-z_]+)(?::(?P<target>[^*@\s]+))?(?:\*(?P<size>[^@\s]+))?@(?P<time>[^@\s]+)"
)
_TIME = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|min|m|h)")
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault at a time. `target` empty: the kind's first target of the site. `remove`: take it away."""

    name: str
    at_s: float = 0.0
    target: str = ""
    size: float = 1.0
    remove: bool = False

    def __str__(self) -> str:
        target = f":{self.target}" if self.target else ""
        size = "" if self.remove else f"*{self.size:g}"
        return f"{'~' if self.remove else ''}{self.name}{target}{size}@{self.at_s:g}s"


def parse_fault(text: str) -> Fault:
    """A fault from its short form. Raises ConfigurationError with what is wrong and the nearest name."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise _wrong(text, "not a fault", "write NAME@10s, NAME:TARGET*SIZE@10s or ~NAME@60s")
    kind = FAULTS.get(match["name"])
    if kind is None:
        hint = nearest(match["name"], FAULTS) or f"one of {', '.join(FAULTS)}"
        raise _wrong(text, f"unknown fault '{match['name']}'", hint)
    time = _TIME.fullmatch(match["time"])
    if time is None:
        raise _wrong(text, f"'{match['time']}' is not a time", "write 10s, 500ms or 2min")
    at_s = float(time["number"]) * _SECONDS[time["unit"]]
    return Fault(
        kind.name, at_s, match["target"] or "", _size(text, kind, match["size"]), bool(match["remove"])
    )


def _size(text: str, kind: FaultKind, given: str | None) -> float:
    if given is None:
        return kind.size
    try:
        size = float(given)
    except ValueError:
        size = math.nan
    if not kind.low <= size <= kind.high:
        meaning = f"{kind.low:g} to {kind.high:g}: {kind.size_means}"
        raise _wrong(text, f"size '{given}' of {kind.name} is not a number that it takes", meaning)
    return size


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Several, separated by commas, ordered by their times. Raises ConfigurationError with all findings."""
    faults: list[Fault] = []
    findings: list[Finding] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            faults.append(parse_fault(part))
        except ConfigurationError as error:
            findings.extend(error.findings)
    faults.sort(key=lambda fault: fault.at_s)
    findings += [
        _nothing_to_remove(fault) for at, fault in enumerate(faults) if not _removes(fault, faults[:at])
    ]
    if findings:
        raise ConfigurationError(findings)
    return tuple(faults)


def _removes(fault: Fault, earlier: list[Fault]) -> bool:
    """False for a removal that no earlier fault could be meant by; a fault without target has one of the site's."""
    if not fault.remove:
        return True
    targets = {other.target for other in earlier if other.name == fault.name and not other.remove}
    return bool(targets) and (not fault.target or bool(targets & {"", fault.target}))


def _nothing_to_remove(fault: Fault) -> Finding:
    return Finding(
        "--fault",
        0,
        0,
        f"{fault} removes a fault that was not set before",
        "set it first, at an earlier time",
    )


def _wrong(text: str, message: str, hint: str) -> ConfigurationError:
    return ConfigurationError([Finding("--fault", 0, 0, message, hint, source_line=text)])
