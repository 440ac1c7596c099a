"""A report on the alarm system for machines. What can't be known is null, never 0."""

from __future__ import annotations

from typing import Any

from gateways.compare.plain import named, plain_kpis
from gateways.reports.alarm_figures import AlarmReport, figures, limits
from streams.reports.alarms import Position
from streams.reports.delays import Cut
from streams.times import iso_utc


def plain(report: AlarmReport) -> dict[str, Any]:
    """The JSON object."""
    has_any = bool(report.recorded_ns)
    return {
        "site": report.site,
        "partial": report.found.is_partial,
        "from": iso_utc(report.found.begin_ns) if has_any else None,
        "to": iso_utc(report.found.end_ns) if has_any else None,
        "recorded_s": report.recorded_ns / 1e9,
        "units": [_plain(one) for one in report.positions],
        "cannot_know": list(limits(report)),
    }


def _plain(one: Position) -> dict[str, Any]:
    acknowledging = one.acknowledging
    return {
        "unit": one.unit,
        "annunciated": one.kpis.alarms,
        "raised": one.raised,
        "not_annunciated": dict(sorted(one.unheard_by.items())),
        "kpis": plain_kpis(one.kpis),
        "figures": [figure._asdict() for figure in figures(one)],
        "floods": [
            {"from": iso_utc(flood.begin_ns), "to": iso_utc(flood.end_ns), "annunciated": flood.alarms}
            for flood in one.kpis.flooded
        ],
        "stale": [{**named(name), "since": iso_utc(since_ns)} for name, since_ns in one.stale],
        "chattering": [
            {
                **named(each.name),
                "annunciated": each.count,
                "raised": each.delays.raised,
                "on_delay_s": _delay(each.delays.suggested_on),
                "off_delay_s": _delay(each.delays.suggested_off),
                "on_delays": [cut._asdict() for cut in each.delays.on],
                "off_delays": [cut._asdict() for cut in each.delays.off],
            }
            for each in one.chattering
        ],
        "acknowledged": acknowledging.count,
        "acknowledge_s_mean": _seconds(acknowledging.mean_ns),
        "acknowledge_s_p95": _seconds(acknowledging.p95_ns),
        "unacknowledged_at_end": [named(name) for name in acknowledging.left],
        "silenced": {
            kind: {"count": silenced.count, "lasted_s": silenced.lasted_ns / 1e9}
            for kind, silenced in one.silenced.items()
        },
        "actions_refused": None if one.refused is None else dict(sorted(one.refused.items())),
        "journal_only": one.unrecorded,
    }


def _delay(cut: Cut | None) -> int | None:
    return None if cut is None else cut.delay_s


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9
