"""What a name tells: the unit in it, and the point or GPU field that it means.

Rule: sure is only what is the same word for word (case and separators aside), or a published name of an exporter;
everything else is at most a suggestion.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from rules.gpu_fields import FIELD_INDEX, GPU_FIELDS
from rules.site.model import Site
from rules.site.units import is_unit, normal, same_dimension

GPU_METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "DCGM_FI_DEV_POWER_USAGE": ("power_mean", "W"),
    "DCGM_FI_DEV_POWER_USAGE_INSTANT": ("power_instant", "W"),
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": ("energy", "mJ"),
    "DCGM_FI_DEV_GPU_TEMP": ("temperature", "degC"),
    "DCGM_FI_DEV_MEMORY_TEMP": ("memory_temperature", "degC"),
    "DCGM_FI_DEV_ENFORCED_POWER_LIMIT": ("enforced_power_limit", "W"),
    "DCGM_FI_DEV_SM_CLOCK": ("sm_clock", "MHz"),
    "DCGM_FI_DEV_MEM_CLOCK": ("memory_clock", "MHz"),
    "DCGM_FI_DEV_GPU_UTIL": ("gpu_utilization", "percent"),
    "DCGM_FI_DEV_MEM_COPY_UTIL": ("memory_utilization", "percent"),
    "DCGM_FI_DEV_FB_USED": ("memory_used", "MiB"),
    "DCGM_FI_DEV_XID_ERRORS": ("xid", ""),
    "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": ("pcie_replays", ""),
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": ("remapped_rows", ""),
    "nvidia_smi_power_draw_instant_watts": ("power_instant", "W"),
    "nvidia_smi_power_draw_average_watts": ("power_mean", "W"),
    "nvidia_smi_temperature_gpu": ("temperature", "degC"),
    "nvidia_smi_temperature_memory": ("memory_temperature", "degC"),
    "nvidia_smi_temperature_gpu_tlimit": ("temperature_margin", "K"),
    "nvidia_smi_enforced_power_limit_watts": ("enforced_power_limit", "W"),
    "nvidia_smi_clocks_current_sm_clock_hz": ("sm_clock", "Hz"),
    "nvidia_smi_clocks_current_memory_clock_hz": ("memory_clock", "Hz"),
    "nvidia_smi_utilization_gpu_ratio": ("gpu_utilization", ""),
    "nvidia_smi_utilization_memory_ratio": ("memory_utilization", ""),
    "nvidia_smi_memory_used_bytes": ("memory_used", "byte"),
    "nvidia_smi_clocks_event_reasons_active": ("event_reasons", ""),
    "nvidia_smi_ecc_errors_corrected_volatile_total": ("ecc_corrected", ""),
    "nvidia_smi_ecc_errors_uncorrected_volatile_total": ("ecc_uncorrected", ""),
    "nvidia_smi_remapped_rows_uncorrectable": ("remapped_rows", ""),
    "nvidia_smi_gpu_recovery_action": ("recovery_action", ""),
}
"""Metrics of NVIDIA's dcgm-exporter (its default-counters.csv) and of nvidia_gpu_exporter: GPU field and unit."""

_SUFFIXES: Final[Mapping[str, str]] = {
    "celsius": "degC", "degc": "degC", "fahrenheit": "degF", "degf": "degF", "kelvin": "K", "watts": "W", "watt": "W",
    "w": "W", "kw": "kW", "kva": "kVA", "kwh": "kWh", "joules": "J", "volts": "V", "amperes": "A", "amps": "A",
    "hertz": "Hz", "hz": "Hz", "mhz": "MHz", "rpm": "rpm", "percent": "percent", "pct": "percent", "ratio": "",
    "bytes": "byte", "mib": "MiB", "seconds": "s", "bar": "bar", "mbar": "mbar", "pascals": "Pa", "pa": "Pa",
    "kpa": "kPa", "lpm": "L/min", "m3h": "m^3/h", "m3s": "m^3/s",
}  # fmt: skip
"""Endings of names, as Prometheus (`_celsius`) and plants (`_kw`) write them."""
SERIES_CHARACTERS_MAX: Final = 200
"""A longer name is nobody's, and takes long to look through."""
_BRACKET = re.compile(r"[\[(](\s*[^\])\s][^\])]*)[\])]\s*$")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SPELLINGS: Final = {
    "l/min": "L/min",
    "m3/s": "m^3/s",
    "m³/s": "m^3/s",
    "m3/h": "m^3/h",
    "m³/h": "m^3/h",
    "C": "degC",
}


def unit_in(name: str) -> str | None:
    """The unit that a name ends with: `Flow [m3/s]`, `power_kw`, `temp (°C)`; None where it names none."""
    bracket = _BRACKET.search(name)
    if bracket:
        said = bracket[1].strip()
        unit = normal(_SPELLINGS.get(said, said))
        return unit if is_unit(unit) else None
    words = re.split(r"[\s_.\-]+", name.lower())
    return _SUFFIXES.get(words[-1]) if len(words) > 1 else None


def _without_unit(name: str) -> str:
    """A name that ends with a unit, without it."""
    return _BRACKET.sub("", name) if _BRACKET.search(name) else re.sub(r"[\s_.\-]+[^\s_.\-]+$", "", name)


def words_of(name: str) -> str:
    """Its words in small letters, without its unit: `HU-1.LiquidFlow [m3/s]` and `hu_1_liquid_flow` are one."""
    return " ".join(word.lower() for word in _WORD.findall(_BRACKET.sub("", name)))


@dataclass(frozen=True, slots=True)
class Match:
    """A target of the site, or "" for none; `sure` only when the name is its own."""

    target: str
    sure: bool
    unit: str


class Targets:
    """The points of a site (none without one), to look names up."""

    def __init__(self, site: Site | None) -> None:
        self._units = {} if site is None else {one.id: one.engineering_unit for one in site.points.values()}
        self._by_words: dict[str, list[str]] = {}
        for one in () if site is None else site.points.values():
            for words in {words_of(one.id), words_of(one.point_type)}:
                self._by_words.setdefault(words, []).append(one.id)

    @property
    def names(self) -> list[str]:
        """Every point, in the order of the site file."""
        return list(self._units)

    def match(self, name: str) -> Match:
        """The point that a column or metric is, as far as its name says."""
        if len(name) > SERIES_CHARACTERS_MAX:
            return Match("", False, "")
        unit = unit_in(name)
        words = words_of(name)
        bare = words if unit is None else words_of(_without_unit(name))
        for candidate in dict.fromkeys((words, bare)):
            found = self._fitting(self._by_words.get(candidate, ()), unit)
            if len(found) == 1:
                return Match(found[0], unit is not None, self._unit(unit, found[0]))
        near = difflib.get_close_matches(bare, self._by_words, n=1, cutoff=0.75)
        found = self._fitting(self._by_words[near[0]], unit) if near else []
        target = found[0] if len(found) == 1 else ""
        return Match(target, False, self._unit(unit, target))

    def _fitting(self, points: Iterable[str], unit: str | None) -> list[str]:
        return [one for one in points if unit is None or same_dimension(unit, self._units[one])]

    def _unit(self, unit: str | None, target: str) -> str:
        return self._units.get(target, "") if unit is None else unit


def gpu_field(name: str) -> tuple[str, str, bool] | None:
    """GPU field, unit, and whether it is sure, of a metric or column; None where it looks like none."""
    if name in GPU_METRICS:
        return (*GPU_METRICS[name], True)
    if len(name) > SERIES_CHARACTERS_MAX:
        return None
    unit = unit_in(name)
    words = words_of(name if unit is None else _without_unit(name)).replace(" ", "_")
    if words in FIELD_INDEX:
        return words, GPU_FIELDS[FIELD_INDEX[words]].unit if unit is None else unit, unit is not None
    return None
