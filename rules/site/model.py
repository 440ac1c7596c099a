"""What a site is made of, as every other part of Headrace sees it. Immutable; `parse` makes it.

Ids: a unit is `row-a`; an asset `R01` or `R01-T05-G2`, unique in the site; a point `R01.RackLiquidFlow`;
an actuator `R01-T05-G2.power_limit` or `CDU-A-P1.PumpSpeed`. Order is the order of the file after expansion and
never changes within one site file: a GPU's *lane* is its position among the GPUs of its unit. What a site has tens of
thousands of are named tuples, which are made in a third of the time of a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

SILENT_NS: Final = 1_000_000_000
"""The period of a GPU that no source reads."""

_NO_NUMBERS: Final[Mapping[str, float]] = {}
_NO_TEXTS: Final[Mapping[str, str]] = {}
DeadbandKind = Literal["none", "absolute", "percent"]


class Asset(NamedTuple):
    """A thing of the plant. `constants` are numbers in the units that `constant_units` names.

    `process_area`: where in a loop a sensor sits, in DSX words (`Primary Supply`, `Secondary Return`).
    """

    id: str
    type: str
    unit: str
    part_of: str | None = None
    feeds: tuple[str, ...] = ()
    constants: Mapping[str, float] = _NO_NUMBERS
    constant_units: Mapping[str, str] = _NO_TEXTS
    location: str = ""
    process_area: str = ""


class Point(NamedTuple):
    """A plant reading: one signal of one asset, from one source. GPU fields are not points: frames carry them.

    `address` is the OPC UA node: a full node id (`ns=2;s=R01.RackLiquidFlow`, or `nsu=URI;s=…`).
    `deadband` is in the point's unit (absolute) or percent of the range `low…high` (percent).
    """

    id: str
    asset: str
    point_type: str
    engineering_unit: str
    low: float
    high: float
    period_ns: int
    source: str
    address: str
    sampling_ns: int
    queue_size: int = 10
    discard_oldest: bool = True
    deadband_kind: DeadbandKind = "none"
    deadband: float = 0.0
    is_setpoint: bool = False


SourceKind = Literal["opcua", "nvml", "simulator", "file", "recorder", "alerts", "actuators"]


class Watchdog(NamedTuple):
    """The node of a server that counts while the role `actuators` writes to it and hears life: `every_ns`, one more."""

    node: str
    every_ns: int


@dataclass(frozen=True, slots=True)
class Source:
    """Where readings come from. `kind` 'opcua' has an `endpoint`; 'nvml' and 'simulator' carry GPU frames;
    'file' is imported (`headrace import`) and may carry both; 'recorder' is the recorder's word on its own disk,
    'alerts' the word of who notifies on its channels, and 'actuators' that of who writes set points on its fallbacks.

    `assets` (all but opcua): the assets whose GPUs the source reads, in device index order: device i of an
    NVML host is the i-th GPU below its assets. `lateness_ns`: older than this (against the unit's now) is late.
    `clock_tolerance_ns`: further than this from the ingest time, the source's clock is not believed.
    """

    id: str
    kind: SourceKind
    endpoint: str = ""
    security: str = "None"
    assets: tuple[str, ...] = ()
    period_ns: int = 1_000_000_000
    lateness_ns: int = 2_000_000_000
    clock_tolerance_ns: int = 1_000_000_000
    options: Mapping[str, str] = field(default_factory=dict)
    watchdog: Watchdog | None = None


class Fallback(NamedTuple):
    """The safe side: `value`, in the actuator's unit, once Headrace was silent for `after_ns`."""

    value: float
    after_ns: int


class Actuator(NamedTuple):
    """Something that a command can set. `low`, `high` and `default` are in `engineering_unit`.

    `kind` 'opcua': `source` names the OPC UA source whose server is written, `address` the node.
    `kind` 'nvml': `source` names the host; the power limit of the GPU `asset` is set.
    """

    id: str
    asset: str
    quantity: str
    kind: Literal["opcua", "nvml"]
    source: str
    address: str
    engineering_unit: str
    low: float
    high: float
    default: float
    expiry_ns: int = 10_000_000_000
    fallback: Fallback | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """A control area: the key of the log and the grain of parallelism.

    `assets`, `points` and `gpus` (asset ids) are in lane order; `gpu_lane` maps a GPU's asset id to its lane, and
    `gpu_range` maps any asset above GPUs (tray, rack, the unit id itself) to its half-open range of lanes.
    """

    id: str
    assets: tuple[Asset, ...]
    points: tuple[Point, ...]
    gpus: tuple[str, ...]
    gpu_lane: Mapping[str, int]
    gpu_range: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Site:
    """A whole site. `digest` is the SHA-256 of the site file's text: two equal digests mean the same plant.

    `fact_period_ns`: how often a unit tells another what that needs to know of it. `shelving_max_ns`,
    `out_of_service_max_ns`: for how long a person may silence an alarm at most. `hold_off_ns`: how long an alarm
    that another may explain waits for it. `flood_limit`: behind how many alarms of a unit in ten minutes the lesser
    ones fold, 0 for never. `action_expiry_ns`: how old a signed action may be; `root_key`: who signs the
    first access list (an Ed25519 public key as hex), "" where the first one is believed.
    """

    name: str
    digest: str
    tick_ns: int
    units: Mapping[str, Unit]
    assets: Mapping[str, Asset]
    points: Mapping[str, Point]
    sources: Mapping[str, Source]
    actuators: Mapping[str, Actuator]
    rule_paths: tuple[str, ...] = ()
    fact_period_ns: int = 1_000_000_000
    shelving_max_ns: int = 8 * 3_600_000_000_000
    out_of_service_max_ns: int = 30 * 24 * 3_600_000_000_000
    hold_off_ns: int = 1_000_000_000
    flood_limit: int = 0
    action_expiry_ns: int = 60_000_000_000
    root_key: str = ""

    @property
    def gpu_sources(self) -> dict[str, Source]:
        """By GPU the source that reads it; nothing for a GPU that none reads."""
        found = {}
        for source in self.sources.values():
            for asset in source.assets:
                unit = self.units[self.assets[asset].unit]
                low, high = unit.gpu_range[asset]
                found.update(dict.fromkeys(unit.gpus[low:high], source))
        return found

    @property
    def readings_per_s(self) -> float:
        """Expected readings a second: every point once a period, 24 fields per GPU once its source's period."""
        from rules.gpu_fields import FIELD_COUNT

        plant = sum(1e9 / point.period_ns for point in self.points.values())
        gpus = 0.0
        for source in self.sources.values():
            for asset in source.assets:
                low, high = self.units[self.assets[asset].unit].gpu_range[asset]
                gpus += (high - low) * FIELD_COUNT * 1e9 / source.period_ns
        return plant + gpus
