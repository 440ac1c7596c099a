"""Limits for rules, chosen on the first half of a recording: `choose_rules.py CANDIDATES REC.mcap INCIDENTS[#KEY]`.

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
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from score_incidents import half_of, plain, replayed

from streams.compare.episodes import Episode, recorded_time, said_in_replay
from streams.compare.incidents import KnownIncident, load_incidents
from streams.compare.scoring import Score, score
from streams.compare.spans import Span

Rules = dict[str, dict[str, Any]]
LEAST_GAIN = 0.02
MOST_SHARE = 1 / 3


class Heard(NamedTuple):
    """What all candidates said to a recording, and what it is scored by."""

    episodes: Sequence[Episode]
    recorded: list[Span]
    incidents: Sequence[KnownIncident]

    def first_half(self, names: Sequence[str]) -> Score:
        """The score of the first half, had there been only these rules."""
        ours = [one for one in self.episodes if one.rule in names]
        return score(ours, self.recorded, self.incidents, half_of(self.recorded, "first"))


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


def hear(recording: Path, rules: Rules, incidents: Sequence[KnownIncident]) -> Heard:
    """One replay of a recording with all these rules."""
    whole = {name: {"severity": "low", "message": "candidate", **rule} for name, rule in rules.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "candidates.yaml"
        file.write_text(yaml.safe_dump({"rules": whole}))
        result = replayed(recording, file)
    return Heard(said_in_replay(result).episodes, recorded_time(result), incidents)


def gain(said: Score) -> float:
    """By how much more of the last hours is in alarm than of those before, in the worse half of the run-ups.

    An alarm that knows nothing gains nothing, however often it rings. The lesser of two halves, because what holds in
    one only is chance.
    """
    gains = [
        one.late_share - one.early_share
        for one in said.found
        if one.late_share is not None and one.early_share is not None
    ]
    middle = len(gains) // 2
    return min(statistics.fmean(part) for part in (gains[:middle], gains[middle:]))


def by_gain(heard: Heard, names: list[str]) -> list[str]:
    """Rules, each the one that adds most to those before it."""
    chosen: tuple[str, ...] = ()
    best = 0.0
    while True:
        scores = [heard.first_half((*chosen, name)) for name in names]
        shares = [statistics.fmean(one.share for one in said.found) for said in scores]
        gains = [
            gain(said) if share <= MOST_SHARE else 0.0 for said, share in zip(scores, shares, strict=True)
        ]
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


def by_windows(heard: Heard, rows: list[list[str]]) -> list[str]:
    """Rules, each of the row (one candidate, its limits varying) in which most limits do as well as the best."""
    chosen: tuple[str, ...] = ()
    found = 0
    while True:
        keys = []
        for row in rows:
            scores = [heard.first_half((*chosen, name)) for name in row]
            keys.append([(said.detected, -len(said.false_ns)) for said in scores])
        best = max(key for row in keys for key in row)
        if best[0] <= found:
            return list(chosen)
        found = best[0]
        runs = [longest_run(row, best) for row in keys]
        at = max(range(len(rows)), key=lambda place: (runs[place][0], -place))
        chosen = (*chosen, rows[at][runs[at][1]])


def without_alarm(heard: Heard, rows: list[list[str]]) -> list[str]:
    """Of each row the rule one step looser than the first from which on there is no alarm in the first half."""
    chosen = []
    for row in rows:
        loud = [heard.first_half((name,)).alarms > 0 for name in row]
        first_quiet = max((place + 1 for place, one in enumerate(loud) if one), default=0)
        if first_quiet + 1 < len(row):
            chosen.append(row[first_quiet + 1])
    return chosen


def main() -> None:
    """Print the chosen rules, with what they score on the first half."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("candidates", type=Path)
    parser.add_argument("recording", type=Path)
    parser.add_argument("incidents")
    asked = parser.parse_args()
    candidates = yaml.safe_load(asked.candidates.read_text())["candidates"]
    limits = {name: len(candidate["grid"]["limit"]) for name, candidate in candidates.items()}
    families = expanded(candidates)
    rules = {name: rule for family in families.values() for name, rule in family.items()}
    incidents = load_incidents(asked.incidents)
    heard = hear(asked.recording, rules, incidents)
    rows = [
        list(family)[place : place + limits[name]]
        for name, family in families.items()
        for place in range(0, len(family), limits[name])
    ]
    if incidents[0].is_fault:
        chosen = by_gain(heard, list(rules))
    elif heard.first_half(()).incidents:
        chosen = by_windows(heard, rows)
    else:
        chosen = without_alarm(heard, rows)
    print(yaml.safe_dump({"rules": {name: rules[name] for name in chosen}}, sort_keys=False))
    print(json.dumps({"candidates": len(rules), **plain(heard.first_half(chosen))}))


if __name__ == "__main__":
    main()
