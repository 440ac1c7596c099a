"""The small run of the replay tests, written as a recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streams.record import Record
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.recording import RecordingWriter
from streams.rule_sets.rule_set import rule_set_of
from streams.site_folder import load_site
from tests.streams.replay.conftest import made

__all__ = ["made", "written"]


@pytest.fixture
def written(tmp_path: Path, made: tuple[Path, list[Record]]) -> Callable[[list[Record]], Path]:
    """Writes records as a recording of the small run's site, and says where."""

    def write(records: list[Record]) -> Path:
        site = load_site(made[0])
        attachments = site_attachments(rule_set_of(made[0], site))
        metadata = recording_metadata(site, attachments)
        with RecordingWriter(tmp_path / "run.mcap", attachments=attachments, metadata=metadata) as writer:
            for log_ns, record in enumerate(records):
                writer.write(record, log_ns)
        return tmp_path / "run.mcap"

    return write
