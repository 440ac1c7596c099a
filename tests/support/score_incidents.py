"""How well alarms of a replay fit known incidents: `score_incidents.py REPLAY.json FAULTS.csv|WINDOWS.json [KEY]`.

FAULTS.csv: one fault time a line under a head; each is looked at over the 12 h before it. WINDOWS.json: `{KEY: [[from,
to], …]}`; what is raised outside of the windows is a false alarm. Only recorded time counts: what lies in the gaps
that the replay reports is left out of every share. The engine's own `source-gap` is no detection. Needs no Headrace.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RUN_UP_S = 12 * 3600.0
Span = tuple[float, float]


def seconds(text: str) -> float:
    """A time as seconds since 1970; without a zone it is UTC, digits beyond microseconds are cut."""
    head, dot, rest = text.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(head + dot + rest[:6])
    return moment.replace(tzinfo=UTC).timestamp()


def recorded_spans(replay: dict[str, Any]) -> list[Span]:
    """From the first to the last sample, without the gaps."""
    start, end = seconds(replay["from"]), seconds(replay["to"])
    spans = []
    for gap in sorted(replay["gaps"], key=lambda gap: str(gap["from"])):
        spans.append((start, seconds(gap["from"])))
        start = seconds(gap["to"])
    return [*spans, (start, end)]


def overlap(spans: list[Span], low: float, high: float) -> float:
    """Seconds of `spans`, which do not overlap one another, that lie between `low` and `high`."""
    return sum(max(0.0, min(end, high) - max(start, low)) for start, end in spans)


def merged(spans: list[Span]) -> list[Span]:
    """The same time without overlaps."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return out


def cut(spans: list[Span], by: list[Span]) -> list[Span]:
    """What both have."""
    return [(max(a, c), min(b, d)) for a, b in spans for c, d in by if max(a, c) < min(b, d)]


def alarm_spans(replay: dict[str, Any]) -> list[Span]:
    """From raised to cleared (or the end), without the engine's own alarms."""
    end = replay["to"]
    return [
        (seconds(alarm["raised_at"]), seconds(alarm["cleared_at"] or end))
        for alarm in replay["alarms"]
        if alarm["rule"] != "source-gap"
    ]


def score_faults(replay: dict[str, Any], faults: list[float]) -> dict[str, Any]:
    """Lead times, and the share of each run-up's recorded time that was spent in alarm.

    `lead_min`: since when an alarm stands, 720 where it stood before the run-up; `new_lead_min`: since the first one
    that was raised within it.
    """
    recorded = recorded_spans(replay)
    raised = alarm_spans(replay)
    in_alarm = cut(merged(raised), recorded)
    rows = []
    for fault in faults:
        low = fault - RUN_UP_S
        covered = overlap(recorded, low, fault)
        if covered <= 0:
            continue
        new = [start for start, _ in raised if low <= start < fault]
        share = overlap(in_alarm, low, fault) / covered
        first = low if any(start < low < end for start, end in raised) else min(new, default=None)
        lead = None if first is None else (fault - first) / 60
        new_lead = (fault - min(new)) / 60 if new else None
        rows.append({"fault": datetime.fromtimestamp(fault, UTC).isoformat(), "new": len(new), "share": round(share, 3),
                     "lead_min": None if lead is None else round(lead, 1),
                     "new_lead_min": None if new_lead is None else round(new_lead, 1)})  # fmt: skip
    leads = [row["lead_min"] for row in rows if row["lead_min"] is not None]
    new_leads = [row["new_lead_min"] for row in rows if row["new_lead_min"] is not None]
    return {
        "faults": len(faults), "with_samples": len(rows), "in_alarm_before": len(leads),
        "raised_before": sum(row["new"] > 0 for row in rows),
        "lead_min_median": statistics.median(leads) if leads else None,
        "new_lead_min_median": statistics.median(new_leads) if new_leads else None,
        "share_mean": round(statistics.fmean(row["share"] for row in rows), 3) if rows else None,
        "share_of_recorded_time": round(sum(b - a for a, b in in_alarm) / sum(b - a for a, b in recorded), 3),
        "alarms": len(raised), "run_ups": rows,
    }  # fmt: skip


def score_windows(replay: dict[str, Any], windows: list[Span]) -> dict[str, Any]:
    """Windows in which an alarm was raised or stood, and what was raised outside of all of them."""
    recorded, raised = recorded_spans(replay), alarm_spans(replay)
    hit = [any(start < high and end > low for start, end in raised) for low, high in windows]
    false = [start for start, _ in raised if not any(low <= start <= high for low, high in windows)]
    outside_s = sum(b - a for a, b in recorded) - sum(overlap(recorded, *window) for window in windows)
    false_s = sum(b - a for a, b in cut(merged(raised), recorded)) - sum(
        overlap(cut(merged(raised), recorded), *window) for window in windows
    )
    return {
        "windows": len(windows), "windows_with_alarm": sum(hit), "alarms": len(raised), "false_alarms": len(false),
        "false_at": [datetime.fromtimestamp(start, UTC).isoformat() for start in false],
        "days_outside": round(outside_s / 86400, 1), "share_outside_in_alarm": round(false_s / outside_s, 4),
    }  # fmt: skip


def main(arguments: list[str]) -> int:
    """Print the score as JSON."""
    replay = json.loads(Path(arguments[0]).read_text())
    incidents = Path(arguments[1])
    if incidents.suffix == ".json":
        windows = [
            (seconds(low), seconds(high)) for low, high in json.loads(incidents.read_text())[arguments[2]]
        ]
        score = score_windows(replay, windows)
    else:
        with incidents.open(newline="") as file:
            score = score_faults(replay, sorted(seconds(row[0]) for row in list(csv.reader(file))[1:]))
    print(json.dumps(score))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
