"""Limits for rules, chosen on the first half of a recording: `choose_rules.py CANDIDATES REC.mcap INCIDENTS [KEY]`.

CANDIDATES: rules with a `grid` of values for the names in their braces. Each combination is a rule of one replay; its
alarms are scored alone, and of the first half only. What is best depends on the incidents:

- faults: alarms lie late in the run-ups, by `gain`, and in a third of their time at most; further rules are added while
  the gain of all together grows.
- windows: most windows found, then fewest false alarms; of equal ones the middle of the longest run of limits. A
  further rule is added while more windows are found.
- no window in the first half: of each candidate, limits from tight to loose, the first without an alarm, and a step.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from score_incidents import incidents, score_faults, score_windows

Rules = dict[str, dict[str, Any]]
LEAST_GAIN = 0.02
MOST_SHARE = 1 / 3


def expanded(candidates: Rules) -> dict[str, Rules]:
    """Candidate -> its rules by name, one for each combination of its grid, the limit varying fastest."""
    families: dict[str, Rules] = {}
    for name, candidate in candidates.items():
        grid = candidate.pop("grid")
        keys = sorted(grid, key=lambda key: key == "limit")
        families[name] = {}
        for number, values in enumerate(itertools.product(*(grid[key] for key in keys))):
            filled = {
                key: value.format(**dict(zip(keys, values, strict=True))) for key, value in candidate.items()
            }
            families[name][f"{name}-{number}"] = filled
    return families


def alarms_of(recording: Path, rules: Rules) -> dict[str, Any]:
    """The replay of a recording with these rules."""
    whole = {name: {"severity": "low", "message": "candidate", **rule} for name, rule in rules.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "candidates.yaml"
        file.write_text(yaml.safe_dump({"rules": whole}))
        call = [sys.executable, "-m", "gateways.cli.main", "replay", recording, "--rules", file, "--json"]
        done = subprocess.run([str(word) for word in call], stdout=subprocess.PIPE, check=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def only(replay: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The replay, had it only these rules."""
    return {**replay, "alarms": [alarm for alarm in replay["alarms"] if alarm["rule"] in names]}


def gain(score: dict[str, Any]) -> float:
    """By how much more of the last hours is in alarm than of those before, in the worse half of the run-ups.

    An alarm that knows nothing gains nothing, however often it rings. The lesser of two halves, because what holds in
    one only is chance.
    """
    rows = [row for row in score["run_ups"] if None not in (row["early_share"], row["late_share"])]
    middle = len(rows) // 2
    return min(
        statistics.fmean(row["late_share"] - row["early_share"] for row in part)
        for part in (rows[:middle], rows[middle:])
    )


def by_gain(replay: dict[str, Any], faults: list[float], names: list[str]) -> list[str]:
    """Rules, each the one that adds most to those before it."""
    chosen: tuple[str, ...] = ()
    best = 0.0
    while True:
        scores = [score_faults(only(replay, (*chosen, name)), faults, "first") for name in names]
        gains = [gain(score) if score["share_mean"] <= MOST_SHARE else 0.0 for score in scores]
        if max(gains) < best + LEAST_GAIN:
            return list(chosen)
        best = max(gains)
        chosen = (*chosen, names[gains.index(best)])


def longest_run(keys: list[Any], best: Any) -> tuple[int, int]:
    """Length and middle of the longest run of `best`."""
    runs = [
        (len(places), places[len(places) // 2])
        for key, group in itertools.groupby(range(len(keys)), keys.__getitem__)
        if key == best and (places := list(group))
    ]
    return max(runs, key=lambda run: (run[0], -run[1]), default=(0, 0))


def by_windows(replay: dict[str, Any], windows: Any, rows: list[list[str]]) -> list[str]:
    """Rules, each of the row (one candidate, its limits varying) in which most limits do as well as the best."""
    chosen: tuple[str, ...] = ()
    found = 0
    while True:
        keys = []
        for row in rows:
            scores = [score_windows(only(replay, (*chosen, name)), windows, "first") for name in row]
            keys.append([(score["windows_with_alarm"], -score["false_alarms"]) for score in scores])
        best = max(key for row in keys for key in row)
        if best[0] <= found:
            return list(chosen)
        found = best[0]
        runs = [longest_run(row, best) for row in keys]
        at = max(range(len(rows)), key=lambda place: (runs[place][0], -place))
        chosen = (*chosen, rows[at][runs[at][1]])


def without_alarm(replay: dict[str, Any], windows: Any, rows: list[list[str]]) -> list[str]:
    """Of each row the rule one step looser than the first from which on there is no alarm in the first half."""
    chosen = []
    for row in rows:
        loud = [score_windows(only(replay, (name,)), windows, "first")["alarms"] > 0 for name in row]
        first_quiet = max((place + 1 for place, one in enumerate(loud) if one), default=0)
        if first_quiet + 1 < len(row):
            chosen.append(row[first_quiet + 1])
    return chosen


def main() -> None:
    """Print the chosen rules, with what they score on the first half."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("candidates", type=Path)
    parser.add_argument("recording", type=Path)
    parser.add_argument("incidents", type=Path)
    parser.add_argument("key", nargs="?")
    asked = parser.parse_args()
    candidates = yaml.safe_load(asked.candidates.read_text())["candidates"]
    limits = {name: len(candidate["grid"]["limit"]) for name, candidate in candidates.items()}
    families = expanded(candidates)
    rules = {name: rule for family in families.values() for name, rule in family.items()}
    known: Any = incidents(asked.incidents, asked.key)
    replay = alarms_of(asked.recording, rules)
    rows = [
        list(family)[place : place + limits[name]]
        for name, family in families.items()
        for place in range(0, len(family), limits[name])
    ]
    if asked.key is None:
        chosen = by_gain(replay, known, list(rules))
        score = score_faults(only(replay, tuple(chosen)), known, "first")
    elif score_windows(replay, known, "first")["windows"]:
        chosen = by_windows(replay, known, rows)
        score = score_windows(only(replay, tuple(chosen)), known, "first")
    else:
        chosen = without_alarm(replay, known, rows)
        score = score_windows(only(replay, tuple(chosen)), known, "first")
    print(yaml.safe_dump({"rules": {name: rules[name] for name in chosen}}, sort_keys=False))
    print(json.dumps({"candidates": len(rules), **{key: score[key] for key in score if key != "run_ups"}}))


if __name__ == "__main__":
    main()
