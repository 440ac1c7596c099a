"""The live view of `headrace up`: what stands in the control room, in a terminal."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateways.plain import told
from gateways.printable import printable
from gateways.up.observer import Observer
from gateways.up.resources import Resources
from gateways.up.summary import percentiles_ms
from rules.quality import Quality
from rules.site.model import Asset, Site
from streams.times import iso_utc

_SEVERITY_STYLE = {"urgent": "bold white on red", "high": "bold red", "medium": "yellow", "low": "cyan"}
_QUALITY_STYLE = {Quality.GOOD: "", Quality.UNCERTAIN: "yellow", Quality.BAD: "red", Quality.MISSING: "dim"}
_PLANT_TYPES = ("HydroUnit", "PowerMeter", "Breaker", "Chiller", "HeatPump", "HeatSink", "CDU", "Pump", "HX")


def render(observer: Observer, resources: Resources, elapsed_s: float, rate: float, restarts: int) -> Group:
    """One picture of the plant."""
    return Group(
        _headline(observer, resources, elapsed_s, rate, restarts),
        # what calls for a person comes first: a small terminal shows the top only
        _alarms(observer),
        _commands(observer),
        _racks(observer),
        _plant(observer),
    )


def _headline(observer: Observer, resources: Resources, elapsed_s: float, rate: float, restarts: int) -> Text:
    recent = [seen for seen in list(observer.commands.values())[-200:] if seen.receipt is not None]
    latency = percentiles_ms(
        seen.receipt.at_ns - seen.command.cause_ns for seen in recent if seen.receipt is not None
    )
    through = ", ".join(
        printable(f"{name}: {status['metrics']['face']}")
        for name, status in sorted(observer.status.items())
        if status.get("metrics", {}).get("face")
    )
    sources = " · ".join(
        printable(f"{source} {count:,}") for source, count in sorted(observer.readings_by_source.items())
    )
    return Text(
        f"Headrace · {printable(observer.site.name)} · {elapsed_s:5.0f} s · {rate:,.0f} readings/s · "
        f"lost {observer.tracker.lost} · duplicates {observer.tracker.duplicates} · "
        f"dead letters {sum(observer.dead_letters.values())} · restarts {restarts}\n"
        f"sample to receipt p50 {_ms(latency['p50'])} p99 {_ms(latency['p99'])} · "
        f"broker {resources.broker_mb:.0f} MB · others {resources.others_mb:.0f} MB\n"
        f"readings by source: {sources}\nNVML: {through or 'not seen yet'}",
    )


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"


def _table(*columns: str, right: Collection[str] = ()) -> Table:
    """What doesn't fit goes on in the next line: half a number is a wrong number."""
    table = Table(expand=True, box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _add(table: Table, *cells: str | Text) -> None:
    """A row; what is a plain text is never taken for markup."""
    table.add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in cells))


def _plant(observer: Observer) -> Panel:
    table = _table("asset", "type", "signals")
    for asset in observer.site.assets.values():
        if asset.type not in _PLANT_TYPES:
            continue
        cells = Text()
        for point in _points_of(observer.site, asset):
            known = observer.points.get(point)
            if known is None:
                continue
            spec = observer.site.points[point]
            cells.append(
                f"{spec.point_type} {known[0]:.4g} {spec.engineering_unit}  ",
                _QUALITY_STYLE[Quality(known[1])],
            )
        if cells:
            _add(table, asset.id, asset.type, cells)
    return Panel(table, title="feeds and loops", title_align="left")


def _points_of(site: Site, asset: Asset) -> list[str]:
    wanted = (
        "ActivePower",
        "Frequency",
        "Voltage",
        "Status",
        "PumpSpeed",
        "LiquidFlow",
        "LiquidTemperature",
        "LiquidDifferentialPressure",
        "LiquidTemperatureSpRequest",
        "HeatFlow",
    )
    return [f"{asset.id}.{name}" for name in wanted if f"{asset.id}.{name}" in site.points]


def _racks(observer: Observer) -> Panel:
    numbers = ("flow", "supply", "power", "GPUs max", "GPUs mean", "GPU power", "limit")
    table = _table("rack", "unit", *numbers, right=numbers)
    for unit in observer.site.units.values():
        gpus = observer.gpus[unit.id]
        for asset in unit.assets:
            if asset.type != "Rack" or asset.id not in unit.gpu_range:
                continue
            low, high = unit.gpu_range[asset.id]
            part = slice(low, high)
            if np.isnan(gpus.temperature_degc[part]).all():
                continue
            hottest = float(np.fmax.reduce(gpus.temperature_degc[part]))
            _add(
                table,
                asset.id,
                unit.id,
                _value(observer, f"{asset.id}.RackLiquidFlow", "L/min"),
                _value(observer, f"{asset.id}.RackLiquidSupplyTemperature", "°C"),
                _value(observer, f"{asset.id}.RackPower", "kW"),
                Text(f"{hottest:.1f} °C", "red" if hottest > 80 else ""),
                f"{np.nanmean(gpus.temperature_degc[part]):.1f} °C",
                f"{np.nansum(gpus.power_w[part]) / 1000:.1f} kW",
                f"{np.fmin.reduce(gpus.limit_w[part]):.0f} W",
            )
    return Panel(table, title="racks", title_align="left")


def _value(observer: Observer, point: str, unit: str) -> Text:
    known = observer.points.get(point)
    if known is None:
        return Text("–", "dim")
    return Text(f"{known[0]:.1f} {unit}", _QUALITY_STYLE[Quality(known[1])])


def _alarms(observer: Observer) -> Panel:
    table = _table("at", "severity", "rule", "asset", "message")
    table.show_header = False
    active = observer.active
    for alarm in active[:10]:
        _add(
            table,
            iso_utc(alarm.raised_ns)[11:23],
            Text(alarm.severity, _SEVERITY_STYLE[alarm.severity]),
            alarm.rule,
            alarm.asset,
            told(alarm),
        )
    return Panel(table, title=f"active alarms: {len(active)}", title_align="left")


def _commands(observer: Observer) -> Panel:
    table = _table("at", "actuator", "value", "status", "reason")
    table.show_header = False
    for seen in list(observer.commands.values())[-5:]:
        status = seen.receipt.status if seen.receipt else "on its way"
        _add(
            table,
            iso_utc(seen.at_ns)[11:23],
            seen.command.actuator,
            f"{seen.command.value:g} {seen.command.engineering_unit}",
            status,
            seen.command.reason,
        )
    return Panel(table, title=f"commands: {len(observer.commands)}", title_align="left")
