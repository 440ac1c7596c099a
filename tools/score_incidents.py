"""How well alarms of a replay fit known incidents.

    score_incidents.py REPLAY.json FAULTS.csv [--half first|second]
    score_incidents.py REPLAY.json WINDOWS.json KEY [--half first|second]

FAULTS.csv: one fault time a line under a head; each is looked at over the 12 h before it. WINDOWS.json: `{KEY: [[from,
to], …]}`; what is raised outside of the windows is a false alarm. Only recorded time counts: what lies in the gaps
that the replay reports is left out of every share. The engine's own alarms, `source-gap` and `source-clock`, are no
detection. Needs no Headrace.

`--half`: of the time from the first to the last sample. A fault belongs to the half in which it is, a window to that of
its middle; time, alarms and incidents of the other half are left out.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RUN_UP_S = 12 * 3600.0
EARLY_S = 9 * 3600.0
LATE_S = 3 * 3600.0
MONTH_DAYS = 365.25 / 12
Span = tuple[float, float]


def seconds(text: str) -> float:
    """A time as seconds since 1970; without a zone it is UTC, digits beyond microseconds are cut."""
    head, dot, rest = text.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(head + dot + rest[:6])
    return moment.replace(tzinfo=UTC).timestamp()


def half_of(replay: dict[str, Any], half: str | None) -> Span:
    """From when to when is scored; a fault may follow the last sample."""
    start, end = seconds(replay["from"]), seconds(replay["to"])
    middle = (start + end) / 2
    return {None: (-math.inf, math.inf), "first": (-math.inf, middle), "second": (middle, math.inf)}[half]


def recorded_spans(replay: dict[str, Any], half: str | None) -> list[Span]:
    """From the first to the last sample of the half, without the gaps."""
    start, end = seconds(replay["from"]), seconds(replay["to"])
    spans = []
    for gap in sorted(replay["gaps"], key=lambda gap: str(gap["from"])):
        spans.append((start, seconds(gap["from"])))
        start = seconds(gap["to"])
    return cut([*spans, (start, end)], [half_of(replay, half)])


def overlap(spans: list[Span], low: float, high: float) -> float:
    """Seconds of `spans`, which do not overlap one another, that lie between `low` and `high`."""
    return sum(max(0.0, min(end, high) - max(start, low)) for start, end in spans)


def length(spans: list[Span]) -> float:
    """Seconds of spans that do not overlap one another."""
    return sum(end - start for start, end in spans)


def share_of(in_alarm: list[Span], recorded: list[Span], low: float, high: float) -> float | None:
    """The share of what is recorded between two times that was spent in alarm, where any is."""
    covered = overlap(recorded, low, high)
    return overlap(in_alarm, low, high) / covered if covered else None


def rounded(value: float | None, digits: int) -> float | None:
    """Rounded, where there is one."""
    return None if value is None or math.isnan(value) else round(value, digits)


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
        if alarm["rule"] not in ("source-gap", "source-clock")
    ]


def score_faults(replay: dict[str, Any], faults: list[float], half: str | None = None) -> dict[str, Any]:
    """Lead times, and the share of each run-up's recorded time that was spent in alarm.

    `lead_min`: since when an alarm stands, 720 where it stood before the run-up; `new_lead_min`: since the first one
    that was raised within it. `late_share`: of the last 3 h of the run-up; `early_share`: of the 6 h before them.
    An alarm that knows nothing has as much of the one as of the other. The first 3 h are in neither: where recording
    begins with the run-up, functions of a window are unknown in them. Their means are over the run-ups that have both.
    """
    low_end, high_end = half_of(replay, half)
    faults = [fault for fault in faults if low_end <= fault < high_end]
    recorded = recorded_spans(replay, half)
    raised = alarm_spans(replay)
    in_alarm = cut(merged(raised), recorded)
    rows = []
    for fault in faults:
        low = max(fault - RUN_UP_S, low_end)
        covered = overlap(recorded, low, fault)
        if covered <= 0:
            continue
        new = [start for start, _ in raised if low <= start < fault]
        first = low if any(start < low < end for start, end in raised) else min(new, default=None)
        early = share_of(in_alarm, recorded, max(low, fault - EARLY_S), max(low, fault - LATE_S))
        late = share_of(in_alarm, recorded, max(low, fault - LATE_S), fault)
        rows.append({"fault": datetime.fromtimestamp(fault, UTC).isoformat(), "new": len(new),
                     "share": rounded(share_of(in_alarm, recorded, low, fault), 3),
                     "early_share": rounded(early, 3), "late_share": rounded(late, 3),
                     "lead_min": rounded(None if first is None else (fault - first) / 60, 1),
                     "new_lead_min": rounded((fault - min(new)) / 60 if new else None, 1)})  # fmt: skip

    def known(key: str) -> list[float]:
        return [row[key] for row in rows if row[key] is not None]

    both = [row for row in rows if None not in (row["early_share"], row["late_share"])]
    return {
        "faults": len(faults), "with_samples": len(rows), "in_alarm_before": len(known("lead_min")),
        "raised_before": sum(row["new"] > 0 for row in rows),
        "lead_min_median": rounded(statistics.median(known("lead_min") or [math.nan]), 1),
        "new_lead_min_median": rounded(statistics.median(known("new_lead_min") or [math.nan]), 1),
        "with_early_and_late": len(both),
        "share_mean": rounded(statistics.fmean(known("share") or [math.nan]), 3),
        "early_share_mean": rounded(statistics.fmean([row["early_share"] for row in both] or [math.nan]), 3),
        "late_share_mean": rounded(statistics.fmean([row["late_share"] for row in both] or [math.nan]), 3),
        "share_of_recorded_time": round(length(in_alarm) / length(recorded), 3),
        "alarms": sum(low_end <= start < high_end for start, _ in raised), "run_ups": rows,
    }  # fmt: skip


def score_windows(replay: dict[str, Any], windows: list[Span], half: str | None = None) -> dict[str, Any]:
    """Windows in which an alarm was raised or stood, and what was raised outside of all of them."""
    low_end, high_end = half_of(replay, half)
    recorded, raised = recorded_spans(replay, half), cut(alarm_spans(replay), [half_of(replay, half)])
    ours = [(low, high) for low, high in windows if low_end <= (low + high) / 2 < high_end]
    hit = [any(start < high and end > low for start, end in raised) for low, high in ours]
    new = [start for start, _ in alarm_spans(replay) if low_end <= start < high_end]
    false = [start for start in new if not any(low <= start <= high for low, high in windows)]
    outside_s = length(recorded) - length(cut(recorded, merged(windows)))
    in_alarm = cut(merged(raised), recorded)
    false_s = length(in_alarm) - length(cut(in_alarm, merged(windows)))
    return {
        "windows": len(ours), "windows_with_alarm": sum(hit), "alarms": len(new), "false_alarms": len(false),
        "false_at": [datetime.fromtimestamp(start, UTC).isoformat() for start in false],
        "days_outside": round(outside_s / 86400, 1),
        "false_alarms_a_month": round(len(false) / outside_s * 86400 * MONTH_DAYS, 2) if outside_s else None,
        "share_outside_in_alarm": round(false_s / outside_s, 4) if outside_s else None,
    }  # fmt: skip


def incidents(path: Path, key: str | None) -> list[float] | list[Span]:
    """Fault times of a CSV file, or the windows below a key of a JSON file."""
    if path.suffix == ".json":
        return [(seconds(low), seconds(high)) for low, high in json.loads(path.read_text())[key]]
    with path.open(newline="") as file:
        return sorted(seconds(row[0]) for row in list(csv.reader(file))[1:])


def main() -> None:
    """Print the score as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("replay", type=Path)
    parser.add_argument("incidents", type=Path)
    parser.add_argument("key", nargs="?")
    parser.add_argument("--half", choices=["first", "second"])
    asked = parser.parse_args()
    score = score_windows if asked.key else score_faults
    known: Any = incidents(asked.incidents, asked.key)
    print(json.dumps(score(json.loads(asked.replay.read_text()), known, asked.half)))


if __name__ == "__main__":
    main()
