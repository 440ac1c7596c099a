"""Candidates of a rule that looks at another unit: what that unit tells is made anew, whatever was recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from rules.language.candidates import rule_alone
from streams.compare.sweep import make_candidate, side_by_side
from streams.compare.sweep_processes import sweep
from streams.record import Record
from streams.recording.recording import Recording, RecordingWriter
from streams.replay.replay import replay
from streams.replay.rules import Chosen
from streams.rule_sets.rule_folder import load_program, rule_texts
from streams.site_folder import load_site
from tests.streams.replay.test_replay_facts import is_fact, records, site_dir
from tests.support.small_sites import RACKS_DRAW_MUCH

__all__ = ["records", "site_dir"]


@pytest.mark.parametrize("has_facts", [True, False])
def test_candidates_hear_what_other_units_tell(
    site_dir: Path, records: list[Record], tmp_path: Path, has_facts: bool
) -> None:
    path, site = tmp_path / "run.mcap", load_site(site_dir)
    with RecordingWriter(path, attachments={}, metadata={}) as writer:
        for log_ns, record in enumerate(records):
            if has_facts or not is_fact(record):
                writer.write(record, log_ns)
    recordings = [Recording(path)]
    alone = rule_alone(rule_texts(site_dir, site), "racks-draw-much")
    limits = ["90 kW", "100 kW", "130 kW"]
    rules = [make_candidate(alone, {"limit": limit}, site).rule for limit in limits]
    together = side_by_side([rule for rule in rules if rule is not None], site)
    swept = sweep(recordings, site, together)
    assert [len(episodes) for episodes in swept.episodes] == [1, 1, 0]
    for limit, episodes in zip(limits, swept.episodes, strict=True):
        (site_dir / "rules" / "racks.yaml").write_text(RACKS_DRAW_MUCH.replace("100 kW", limit))
        whole = replay(recordings, Chosen(site, load_program(site_dir, site)), verify=False)
        said = [(alarm.asset, alarm.raised_ns, alarm.cleared_ns) for alarm in whole.alarms.values()]
        assert [(one.asset, one.raised_ns, one.cleared_ns) for one in episodes] == said
