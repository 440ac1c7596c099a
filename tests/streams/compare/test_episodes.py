"""What a replay says and what was recorded are the same episodes and commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rules.engine.inputs import Gap, Identity
from streams.compare.episodes import recorded_time, said_in_recordings, said_in_replay
from streams.record import Record
from streams.recording.recording import Recording
from streams.replay.replay import replay
from streams.replay.rules import choose_site
from tests.streams.replay.conftest import T0, S

Made = tuple[Path, list[Record]]
Written = Callable[[list[Record]], Path]


def test_a_replay_and_a_recording_say_the_same(made: Made, written: Written) -> None:
    recording = Recording(written(made[1]))
    result = replay([recording], choose_site(recording, None, None), verify=False)
    said = said_in_replay(result)
    assert said == said_in_recordings([recording], {"row-a", "row-b"})
    slow = [one for one in said.episodes if one.rule == "pump-slow"]
    assert [(one.unit, one.raised_ns, one.cleared_ns is None, one.message) for one in slow] == [
        ("row-a", T0 + 12 * S + 1000, False, "P-1: 30 %"),
        ("row-b", T0 + 12 * S + 1000, False, "P-2: 30 %"),
        ("row-a", T0 + 42 * S + 1000, True, "P-1: 30 %"),
        ("row-b", T0 + 42 * S + 1000, True, "P-2: 30 %"),
    ]
    assert len(said.commands) == 4
    assert recorded_time(result) == [(T0 + 1000, T0 + 29 * S), (T0 + 30 * S, T0 + 89 * S + 1000)]


def test_a_gap_in_receipts_is_no_gap_in_samples(made: Made, written: Written) -> None:
    recording = Recording(written(made[1]))
    result = replay([recording], choose_site(recording, None, None), verify=False)
    sampled = recorded_time(result)
    result.gaps.append(Gap("row-a", Identity("actuators", 1, 1), "restart", T0 + 40 * S, T0 + 80 * S, 0))
    assert recorded_time(result) == sampled
    result.gaps.append(Gap("row-a", Identity("plc", 6, 1), "restart", T0 + 40 * S, T0 + 80 * S, 0))
    assert recorded_time(result) != sampled


def test_words_said_again_change_nothing(made: Made, written: Written) -> None:
    """A worker that was restarted says again what its snapshot does not cover: a raising after its clearing."""
    records = made[1]
    once = said_in_recordings([Recording(written(records))], {"row-a"})
    said = [record for record in records if record.topic in ("alarms", "commands") and record.key]
    again = [replace(record, offset=record.offset + 1000) for record in said]
    assert said_in_recordings([Recording(written([*records, *again]))], {"row-a"}) == once


def test_nothing_was_recorded(made: Made, written: Written) -> None:
    recording = Recording(written([record for record in made[1] if record.topic == "events"]))
    assert said_in_recordings([recording], {"row-a", "row-b"}) is None
