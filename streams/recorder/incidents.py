"""Incidents: the time around an alarm of high or urgent severity, marked so that its segments are kept.

Rules: an incident is one small JSON file beside the segments, and nothing else: who deletes it gives the segments
free; alarms whose times overlap are one incident; an alarm that is said again marks nothing again. Times are the
recorder's own, as segments have them: `before_ns` before it had the alarm to `after_ns` after it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from rules.engine.outputs import Alarm
from rules.errors import UndecodableError
from streams.record import Record
from streams.recording.segments import segment_name
from streams.times import iso_utc
from streams.topics import ALARMS
from streams.wire import decode_output

MARKING: Final = ("urgent", "high")
"""Severities of alarms that mark an incident."""
SUFFIX: Final = ".incident.json"


@dataclass(slots=True)
class Incident:
    """What a mark says. `alarms`: what raised it, as plain data with the `id` of the raising."""

    file: Path
    from_ns: int
    to_ns: int
    alarms: list[dict[str, Any]] = field(default_factory=list)

    def write(self) -> None:
        """Put the mark on disk, whole or not at all."""
        body = {
            "from": iso_utc(self.from_ns), "to": iso_utc(self.to_ns), "from_ns": self.from_ns, "to_ns": self.to_ns,
            "alarms": self.alarms,
        }  # fmt: skip
        unfinished = self.file.with_name(self.file.name + ".part")
        unfinished.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n")
        unfinished.replace(self.file)


def incidents_in(folder: Path) -> list[Incident]:
    """The marks of a folder in the order of their times. One that can't be read keeps everything: it may be a mark."""
    files = sorted(folder.glob(f"*{SUFFIX}"))
    return [found for file in files if (found := read_mark(file)) is not None]


def read_mark(file: Path) -> Incident | None:
    """A mark; None for one that was deleted in this moment."""
    try:
        body = orjson.loads(file.read_bytes())
        return Incident(file, int(body["from_ns"]), int(body["to_ns"]), list(body["alarms"]))
    except FileNotFoundError:
        return None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return Incident(file, 0, 1 << 62)


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
        """A record; `log_ns`: when the recorder had it."""
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
        last = self._last
        if (
            last is None
            or log_ns - self._before_ns > last.to_ns
            or (self._is_written and not last.file.exists())
        ):
            self.flush()
            begin_ns = log_ns - self._before_ns
            file = self._folder / segment_name(begin_ns).replace(".mcap", SUFFIX)
            last = self._last = Incident(file, begin_ns, log_ns)
        last.to_ns = log_ns + self._after_ns
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
