"""Incidents: the time around an alarm of high or urgent severity, marked so that its segments are kept.

Rules: an incident is one small JSON file beside the segments, and nothing else: who deletes it gives the segments
free; alarms whose times overlap are one incident; an alarm that is said again marks nothing again. Times are those
that names of segments have, which run ahead of a clock that was set back: `before_ns` before the recorder had the alarm
to `after_ns` after it. A mark is on the disk before more is recorded.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from rules.engine.outputs import Alarm
from rules.errors import UndecodableError
from streams.output_file import sync_folder, write_beside
from streams.record import Record
from streams.recording.segments import begin_ns, segment_name
from streams.times import iso_utc
from streams.topics import ALARMS
from streams.wire import decode_output

MARKING: Final = ("urgent", "high")
"""Severities of alarms that mark an incident."""
SUFFIX: Final = ".incident.json"
UNREADABLE_NS: Final = 3_600_000_000_000
"""What a mark that can't be read keeps from the time in its name on: an incident's by default. Were it without an end,
nothing would go any more, and the recorder stand still on a full disk.
"""


@dataclass(slots=True)
class Incident:
    """What a mark says. `alarms`: what raised it, as plain data with the `id` of the raising."""

    file: Path
    from_ns: int
    to_ns: int
    alarms: list[dict[str, Any]] = field(default_factory=list)

    def write(self) -> None:
        """Put the mark on the disk, whole or not at all. OSError."""
        body = {
            "from": iso_utc(self.from_ns), "to": iso_utc(self.to_ns), "from_ns": self.from_ns, "to_ns": self.to_ns,
            "alarms": self.alarms,
        }  # fmt: skip
        data = orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n"
        write_beside(self.file, data, 0o644).replace(self.file)
        sync_folder(self.file.parent)


def incidents_in(folder: Path) -> list[Incident]:
    """The marks of a folder in the order of their times."""
    files = sorted(folder.glob(f"*{SUFFIX}"))
    return [found for file in files if (found := read_mark(file)) is not None]


def read_mark(file: Path) -> Incident | None:
    """A mark; None for one that was deleted in this moment. One that can't be read has no alarms."""
    try:
        body = orjson.loads(file.read_bytes())
        return Incident(file, int(body["from_ns"]), int(body["to_ns"]), list(body["alarms"]))
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        named_ns = _named_ns(file)
        return Incident(file, named_ns, named_ns + UNREADABLE_NS)


def _named_ns(file: Path) -> int:
    """The time in the name of a mark; 0 where it is no name of ours."""
    try:
        return begin_ns(file.with_name(file.name.replace(SUFFIX, ".mcap")))
    except ValueError:
        return 0


class IncidentMarks:
    """Looks on at what is recorded, and marks. `note` remembers, `flush` writes."""

    def __init__(self, folder: Path, before_ns: int, after_ns: int) -> None:
        self._folder = folder
        self._before_ns = before_ns
        self._after_ns = after_ns
        known = [one for one in incidents_in(folder) if one.alarms]
        self._seen = {alarm["id"] for one in known for alarm in one.alarms}
        self._last = known[-1] if known else None
        self._is_written = True

    def note(self, record: Record, log_ns: int) -> None:
        """A record; `log_ns`: when the recorder had it, or the time in the segment's name where that is later."""
        if record.topic != ALARMS.name or record.value is None:
            return
        try:
            alarm = decode_output(record.headers, record.value)
        except UndecodableError:
            return
        is_raising = isinstance(alarm, Alarm) and alarm.id == alarm.raised_id and alarm.cleared_ns is None
        if (
            not isinstance(alarm, Alarm)
            or not is_raising
            or alarm.severity not in MARKING
            or alarm.id in self._seen
        ):
            return
        self._seen.add(alarm.id)
        from_ns, to_ns = log_ns - self._before_ns, log_ns + self._after_ns
        last = self._last
        if (
            last is None
            or not (from_ns <= last.to_ns and last.from_ns <= to_ns)
            or (self._is_written and not last.file.exists())
        ):
            self.flush()
            file = self._folder / segment_name(from_ns).replace(".mcap", SUFFIX)
            last = self._last = Incident(file, from_ns, to_ns)
        last.from_ns, last.to_ns = min(last.from_ns, from_ns), max(last.to_ns, to_ns)
        last.alarms.append(_plain(alarm))
        self._is_written = False

    def flush(self) -> None:
        """Write what was noted since the last time."""
        if self._last is not None and not self._is_written:
            self._last.write()
            self._is_written = True


def _plain(alarm: Alarm) -> dict[str, Any]:
    named = asdict(alarm)
    kept = ("id", "unit", "rule", "asset", "severity", "message")
    return {"raised_at": iso_utc(alarm.raised_ns), **{name: named[name] for name in kept}}
