"""How well alarms of a replay fit known incidents: `streams/compare/scoring.py` for halves of a recording, as JSON.

    score_incidents.py REC.mcap FAULTS.csv [--rules RULES] [--half first|second]
    score_incidents.py REC.mcap WINDOWS.json#KEY [--rules RULES] [--half first|second]

`--half`: of the time from the first to the last sample; time, alarms and incidents of the other half are left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rules.errors import ConfigurationError
from streams.compare.episodes import recorded_time, said_in_replay
from streams.compare.incidents import load_incidents
from streams.compare.scoring import DAY_NS, EVER, Score, score
from streams.compare.spans import Span
from streams.recording.recording import Recording
from streams.replay.replay import replay
from streams.replay.replayed import Replay
from streams.replay.rules import choose_site
from streams.times import iso_utc

MONTH_DAYS = 365.25 / 12
MINUTE_NS = 60_000_000_000


def replayed(recording: Path, rules: Path | None) -> Replay:
    """The recording with its rules, or with others."""
    opened = Recording(recording)
    return replay([opened], choose_site(opened, None, rules), verify=False)


def half_of(recorded: list[Span], half: str | None) -> Span:
    """From when to when is scored; a fault may follow the last sample."""
    middle = (recorded[0][0] + recorded[-1][1]) // 2
    return {None: EVER, "first": (EVER[0], middle), "second": (middle, EVER[1])}[half]


def plain(said: Score) -> dict[str, Any]:
    """The score in minutes, shares and alarms a month."""
    both = [one for one in said.found if None not in (one.early_share, one.late_share)]
    month_ns = DAY_NS * MONTH_DAYS
    return {
        "incidents": said.incidents,
        "with_samples": said.always_true,
        "in_alarm": said.detected,
        "raised": said.raised,
        "lead_min_median": _minutes(
            [one.incident.end_ns - (one.first_ns or 0) for one in said.found if one.is_detected]
        ),
        "new_lead_min_median": _minutes([one.lead_ns for one in said.found if one.lead_ns is not None]),
        "with_early_and_late": len(both),
        "share_mean": _mean(one.share for one in said.found),
        "early_share_mean": _mean(one.early_share or 0.0 for one in both),
        "late_share_mean": _mean(one.late_share or 0.0 for one in both),
        "share_of_recorded_time": round(said.in_alarm_ns / said.recorded_ns, 3),
        "alarms": said.alarms,
        "false_alarms": len(said.false_ns),
        "false_at": [iso_utc(at_ns) for at_ns in said.false_ns],
        "days_outside": round(said.outside_ns / DAY_NS, 1),
        "false_alarms_a_month": round(len(said.false_ns) / said.outside_ns * month_ns, 2)
        if said.false_alarms_per_day is not None
        else None,
        "share_outside_in_alarm": None if said.outside_share is None else round(said.outside_share, 4),
        "caveats": said.caveats,
    }


def _minutes(spans_ns: list[int]) -> float | None:
    return round(statistics.median(spans_ns) / MINUTE_NS, 1) if spans_ns else None


def _mean(shares: Iterable[float]) -> float | None:
    known = list(shares)
    return round(statistics.fmean(known), 3) if known else None


def main() -> None:
    """Print the score as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recording", type=Path)
    parser.add_argument("incidents")
    parser.add_argument("--rules", type=Path)
    parser.add_argument("--half", choices=["first", "second"])
    asked = parser.parse_args()
    try:
        incidents = load_incidents(asked.incidents)
        result = replayed(asked.recording, asked.rules)
    except ConfigurationError as error:
        parser.error(str(error))
    recorded = recorded_time(result)
    episodes = said_in_replay(result).episodes
    print(json.dumps(plain(score(episodes, recorded, incidents, half_of(recorded, asked.half)))))


if __name__ == "__main__":
    main()
