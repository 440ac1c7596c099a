"""The recorder's folder in a run, and what its recording has to come to.

Rules: whoever is killed leaves what the operating system had been handed by then, to the byte; what is still written
while its tasks are cancelled is taken back before the next one begins. A recording replays through the production
code: every recorded output is what the replay gives, and the replay gives what the undisturbed engines said.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateways.whole.reference import Reference, is_fact
from streams.recording.segments import open_recordings
from streams.replay.replay import replay
from streams.replay.replayed import without_place
from streams.replay.rules import choose_site

SHOWN: Final = 5


class Recordings:
    """The folder as a process leaves it. `close` says that this is now; a file only grows, but for small ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sizes: dict[Path, int] = {}
        self._notes: dict[Path, bytes] = {}

    def take_over(self) -> None:
        """The folder as the process before left it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in self.folder.iterdir():
            if file not in self._sizes:
                file.unlink()
            elif file in self._notes:
                file.write_bytes(self._notes[file])
            elif file.stat().st_size > self._sizes[file]:
                os.truncate(file, self._sizes[file])

    def close(self) -> None:
        """The process ends here."""
        self._sizes = {file: file.stat().st_size for file in self.folder.iterdir()}
        self._notes = {file: file.read_bytes() for file in self._sizes if file.suffix == ".json"}


def recording_holds(folder: Path, reference: Reference) -> Iterator[str]:
    """What of the recording is not as it has to be."""
    recordings = open_recordings([folder])
    heard: dict[str, bytes] = {}

    def hear(_: str, __: str, name: str, value: bytes) -> None:
        if not is_fact(name):
            heard[name] = value

    result = replay(recordings, choose_site(recordings[0], None, None), verify=True, hear=hear)
    for line in [*result.damage, *result.missed]:
        yield f"the recording: {line}"
    for (topic, partition), gap in result.missing.items():
        yield f"the recording lacks {gap.records} records of {topic}/{partition} from {gap.first_offset} on"
    compared = result.verification
    if compared is None or not compared.compared:
        yield "the recording has no outputs to compare"
    elif compared.differences:
        yield f"the replay of the recording differs in {compared.differences} outputs, first in {compared.first}"
    expected = {name: without_place(value) for name, value in reference.expected.items() if not is_fact(name)}
    others = {name for name in expected.keys() | heard.keys() if expected.get(name) != heard.get(name)}
    if others:
        some = ", ".join(sorted(others)[:SHOWN])
        yield f"the replay of the recording gives {len(others)} outputs otherwise, such as {some}"
