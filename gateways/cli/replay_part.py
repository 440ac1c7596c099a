"""`headrace replay --from --to --unit`: which part is meant."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateways.cli.moments import begin_ns, end_ns
from gateways.compare.words import moment
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from streams.compare.incidents import KnownIncident, load_incidents
from streams.recording.recording import Recording
from streams.recording.ticks import begin_of_log_ns, end_of_log_ns
from streams.replay.start import Part, span_of
from streams.times import iso_utc


def part_of(
    recordings: Sequence[Recording],
    begin: str | None,
    end: str | None,
    units: Collection[str],
    known_units: Collection[str],
) -> Part:
    """What the options mean. Raises ConfigurationError for what can't be read or isn't there."""
    wrong = [unit for unit in units if unit not in known_units]
    if wrong:
        raise ConfigurationError(
            [
                Finding("--unit", 0, 0, f"the site has no unit '{unit}'", nearest(unit, known_units))
                for unit in wrong
            ]
        )
    from_ns, to_ns = begin_ns(recordings, begin), end_ns(recordings, end)
    first_ns, last_ns = begin_of_log_ns(recordings), end_of_log_ns(recordings)
    if last_ns is not None and from_ns > last_ns:
        raise ConfigurationError(
            [Finding("--from", 0, 0, f"the recording ends before that, at {iso_utc(last_ns)}", "")]
        )
    if first_ns is not None and to_ns is not None and to_ns < first_ns:
        raise ConfigurationError(
            [Finding("--to", 0, 0, f"the recording begins after that, at {iso_utc(first_ns)}", "")]
        )
    if to_ns is not None and to_ns <= from_ns:
        raise ConfigurationError([Finding("--to", 0, 0, "the end is not after the beginning", "")])
    return Part(from_ns, to_ns, tuple(units) or None)


def incidents_of(name: str, recordings: Sequence[Recording], of: Part) -> list[KnownIncident]:
    """Those of a file. Raises ConfigurationError as `load_incidents` does, and where the part has to do with none."""
    known = load_incidents(name)
    from_ns, to_ns = span_of(recordings, of)
    if from_ns is None or to_ns is None:
        return known
    if not any(one.begin_ns <= to_ns and from_ns <= one.end_ns for one in known):
        last_ns = max(one.end_ns for one in known)
        text = (
            f"none of its incidents ({moment(known[0].end_ns)[:19]} to {moment(last_ns)[:19]}) has anything to do with "
            f"what is recorded ({moment(from_ns)[:19]} to {moment(to_ns)[:19]})"
        )
        hint = "is it the file of another recording, or are its times of another zone? UTC where none is said"
        raise ConfigurationError([Finding(name, 0, 0, text, hint)])
    return known
