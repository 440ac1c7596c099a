"""What the replay of a run's recording says beside the run, for benches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateways.cli.replay import as_dict
from streams.recording.segments import open_recordings
from streams.replay.replay import replay
from streams.replay.rules import choose_site


@dataclass(frozen=True, slots=True)
class Replayed:
    """`alarms`, `commands`: ids. `equal`: outputs were compared, and none differs, is missing or stands beside."""

    alarms: frozenset[str]
    commands: frozenset[str]
    verification: Any
    equal: bool


def replay_of(recording: Path) -> Replayed:
    """Of a file or a folder of segments, by an engine that nobody disturbs."""
    opened = open_recordings([recording])
    result = replay(opened, choose_site(opened[0], None, None), verify=True)
    verification = result.verification
    assert verification is not None
    return Replayed(
        frozenset(alarm.raised_id for alarm in result.alarms.values()),
        frozenset(command.id for command in result.commands),
        as_dict(result).get("verification"),
        verification.compared > 0
        and verification.differences == verification.after_end == verification.beyond_the_end == 0,
    )
