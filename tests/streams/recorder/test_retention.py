from __future__ import annotations

from pathlib import Path

import pytest

from streams.recorder.incidents import UNREADABLE_NS, Incident
from streams.recorder.retention import Retention
from streams.recording.segments import segment_name, segments_in
from streams.settings import RecorderSettings

S = 1_000_000_000
T0 = 1_795_782_615 * S
MB = 1_000_000


class Disk:
    """Ten segments of 1 MB, one each minute; what the disk has left is said, and grows with what is deleted."""

    def __init__(self, folder: Path, free_mb: float = 1000.0, **settings: float) -> None:
        self.folder = folder
        for minute in range(10):
            (folder / segment_name(T0 + minute * 60 * S)).write_bytes(bytes(MB))
        (folder / "notes.txt").write_bytes(bytes(MB))
        self.free_mb = free_mb
        self.now_ns = T0 + 600 * S
        self.retention = Retention(
            folder,
            RecorderSettings(**{"reserve_mb": 100, **settings}),
            clock_ns=lambda: self.now_ns,
            free=lambda path: round((self.free_mb + 10 - len(segments_in(path))) * MB),
        )

    def mark(self, from_minute: float, to_minute: float) -> None:
        begin_ns, end_ns = T0 + round(from_minute * 60 * S), T0 + round(to_minute * 60 * S)
        Incident(self.folder / f"{begin_ns}.incident.json", begin_ns, end_ns, [{"id": "one"}]).write()

    @property
    def left(self) -> list[int | str]:
        """Minutes whose segments are left, and the names of any others."""
        minutes = {segment_name(T0 + minute * 60 * S): minute for minute in range(10)}
        return [minutes.get(file.name, file.name) for file in segments_in(self.folder)]


def test_the_oldest_go_by_age(tmp_path: Path) -> None:
    disk = Disk(tmp_path, keep_h=4.5 / 60)  # ended before minute 5.5: those of minutes 0 to 4
    assert disk.retention.make_room()
    assert disk.left == [5, 6, 7, 8, 9]
    assert disk.retention.deleted == 5
    assert (tmp_path / "notes.txt").exists()


def test_the_oldest_go_by_total_size(tmp_path: Path) -> None:
    disk = Disk(tmp_path, keep_gb=0.007)
    assert disk.retention.make_room()
    assert disk.left == [3, 4, 5, 6, 7, 8, 9]


def test_the_oldest_go_while_the_disk_lacks_its_reserve(tmp_path: Path) -> None:
    disk = Disk(tmp_path, free_mb=98)
    assert disk.retention.make_room()
    assert disk.left == [2, 3, 4, 5, 6, 7, 8, 9]


def test_an_incident_keeps_every_segment_that_holds_a_part_of_it(tmp_path: Path) -> None:
    disk = Disk(tmp_path, keep_h=0.5 / 60)
    disk.mark(1.5, 3.2)
    assert disk.retention.make_room()
    assert disk.left == [1, 2, 3, 9]
    disk.now_ns += 3600 * S
    disk.retention.make_room()
    assert disk.left == [1, 2, 3, 9]
    next(tmp_path.glob("*.incident.json")).unlink()  # a person has done with it
    disk.retention.make_room()
    assert disk.left == [9]


@pytest.mark.parametrize("said", [b"", b"{}", b"[]", b'{"from_ns": "x", "to_ns": 1, "alarms": []}'])
def test_a_mark_that_nobody_can_read_keeps_what_its_name_says_for_a_while(
    tmp_path: Path, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk(tmp_path, keep_gb=0.001)
    (tmp_path / segment_name(T0 + 330 * S).replace(".mcap", ".incident.json")).write_bytes(said)
    (tmp_path / "by-hand.incident.json").write_bytes(said)
    for _ in range(2):
        disk.retention.make_room()
        assert disk.left == [5, 6, 7, 8, 9]
    assert caplog.text.count("20261127T123545.000Z.incident.json can't be read: by its name it keeps") == 1
    later = [segment_name(T0 + 330 * S + UNREADABLE_NS + minute * 60 * S) for minute in (1, 2, 3)]
    for name in later:
        (tmp_path / name).write_bytes(bytes(MB))
    disk.retention.make_room()
    assert disk.left == [5, 6, 7, 8, 9, later[-1]]


def test_nothing_left_to_delete_but_incidents_leaves_no_room(tmp_path: Path) -> None:
    disk = Disk(tmp_path, free_mb=50)
    disk.mark(0, 20)
    assert not disk.retention.make_room()
    assert len(disk.left) == 10
    assert disk.retention.room_bytes() == 0
    disk.free_mb = 101
    assert disk.retention.make_room()
    assert disk.retention.room_bytes() == 1 * MB


def test_room_is_what_the_disk_has_above_the_reserve_and_what_may_go(tmp_path: Path) -> None:
    disk = Disk(tmp_path, free_mb=130)
    disk.mark(0.5, 0.6)
    assert disk.retention.room_bytes() == (30 + 8) * MB  # all but the incident's and the last
    disk.free_mb = 95
    assert disk.retention.room_bytes() == (8 - 5) * MB
