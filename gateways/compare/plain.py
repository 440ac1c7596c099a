"""A comparison as plain data for `--json`: all of it, whatever the page leaves out. Times are ISO 8601, UTC."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rules.engine.outputs import Command
from streams.compare.changes import CommandChange, EpisodeChange
from streams.compare.comparison import Comparison, Side, Total
from streams.compare.episodes import Episode
from streams.compare.kpis import Kpis
from streams.compare.scoring import IncidentScore, Score
from streams.times import iso_utc


def plain(found: Comparison, limits: Sequence[str]) -> dict[str, Any]:
    """The same comparison gives the same bytes."""
    return {
        "differs": found.differs,
        "from": iso_utc(found.recorded[0][0]) if found.recorded else None,
        "to": iso_utc(found.end_ns) if found.recorded else None,
        "recorded_s": sum(end - begin for begin, end in found.recorded) / 1e9,
        "before": _side(found.before),
        "after": _side(found.after),
        "alarm_changes": _kinds(found.episodes),
        "command_changes": _kinds(found.commands),
        "alarms": [_episode_change(change) for change in found.episodes if change.kinds],
        "commands": [_command_change(change) for change in found.commands if change.kinds],
        "totals": [
            {"rule": rule, "unit": unit, "asset": asset, **_total(total)}
            for (rule, unit, asset), total in found.totals_by_asset().items()
        ],
        "rules": [
            {
                "rule": change.rule,
                "change": "added" if change.before is None else "gone" if change.after is None else "changed",
                "fields": [one._asdict() for one in change.fields],
            }
            for change in found.rules
        ],
        "kpis": {"before": plain_kpis(found.kpis[0]), "after": plain_kpis(found.kpis[1])},
        "incidents": None
        if found.scores is None
        else {"before": _score(found.scores[0]), "after": _score(found.scores[1])},
        "cut_off": found.cut_off,
        "cannot_know": list(limits),
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "name": side.name,
        "recorded": side.is_recorded,
        "alarms": len(side.said.episodes),
        "commands": len(side.said.commands),
    }


def _kinds(changes: Sequence[EpisodeChange] | Sequence[CommandChange]) -> dict[str, int]:
    kinds = Counter(kind for change in changes for kind in change.kinds or ("same",))
    return dict(sorted(kinds.items()))


def _episode_change(change: EpisodeChange) -> dict[str, Any]:
    one = change.episode
    return {
        "kinds": change.kinds,
        "unit": one.unit,
        "rule": one.rule,
        "asset": one.asset,
        "raised_by_s": change.raised_by_ns / 1e9,
        "lasted_by_s": change.lasted_by_ns / 1e9,
        "before": _episode(change.before),
        "after": _episode(change.after),
    }


def _episode(one: Episode | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "id": one.id,
        "severity": one.severity,
        "message": one.message,
        "raised_at": iso_utc(one.raised_ns),
        "cleared_at": None if one.cleared_ns is None else iso_utc(one.cleared_ns),
    }


def _command_change(change: CommandChange) -> dict[str, Any]:
    one = change.command
    return {
        "kinds": change.kinds,
        "unit": one.unit,
        "rule": one.rule,
        "asset": one.asset,
        "actuator": one.actuator,
        "given_by_s": change.given_by_ns / 1e9,
        "before": _command(change.before),
        "after": _command(change.after),
    }


def _command(one: Command | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "id": one.id,
        "value": one.value,
        "engineering_unit": one.engineering_unit,
        "cause_at": iso_utc(one.cause_ns),
        "expires_at": iso_utc(one.expires_ns),
    }


def _total(total: Total) -> dict[str, Any]:
    return {
        "alarms": total.alarms,
        "stood_s": [ns / 1e9 for ns in total.stood_ns],
        "kinds": dict(sorted(total.kinds.items())),
    }


def plain_kpis(one: Kpis) -> dict[str, Any]:
    """Of an alarm system."""
    return {
        "alarms": one.alarms,
        "rates": {name: rate._asdict() for name, rate in one.rates.items()},
        "flood_share": one.flood_share,
        "floods": one.floods,
        "chattering": [{**named(name), "raised": count} for name, count in sorted(one.chattering.items())],
        "stale": one.stale,
        "top": [{**named(name), "raised": count} for name, count in one.top],
        "top_share": one.top_share,
        "priorities": one.priorities,
    }


def named(name: tuple[str, str, str]) -> dict[str, str]:
    """An alarm by its unit, rule and asset."""
    return dict(zip(("unit", "rule", "asset"), name, strict=True))


def _score(one: Score) -> dict[str, Any]:
    return {
        "known": one.incidents,
        "with_samples": len(one.found),
        "detected": one.detected,
        "raised_in": one.raised,
        "always_true_detects": one.always_true,
        "lead_s_median": None if one.lead_ns is None else one.lead_ns / 1e9,
        "alarms": one.alarms,
        "false_alarms": len(one.false_ns),
        "false_at": [iso_utc(at_ns) for at_ns in one.false_ns],
        "false_alarms_per_day": one.false_alarms_per_day,
        "outside_s": one.outside_ns / 1e9,
        "outside_in_alarm_share": one.outside_share,
        "in_alarm_s": one.in_alarm_ns / 1e9,
        "incidents": [_incident(found) for found in one.found],
    }


def _incident(found: IncidentScore) -> dict[str, Any]:
    return {
        "from": iso_utc(found.incident.begin_ns),
        "to": iso_utc(found.incident.end_ns),
        "is_fault": found.incident.is_fault,
        "detected": found.is_detected,
        "stood_before": found.stood_before,
        "raised": found.new,
        "raised_at": None if found.new_ns is None else iso_utc(found.new_ns),
        "lead_s": None if found.lead_ns is None else found.lead_ns / 1e9,
        "share_in_alarm": found.share,
        "early_share_in_alarm": found.early_share,
        "late_share_in_alarm": found.late_share,
    }
