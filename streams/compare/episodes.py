"""Alarm episodes and commands: what one side said, out of a replay or out of a recording.

Rules: one episode is one occurrence of an alarm, from its raising to its clearing; a word that is said again (a worker
that was restarted) changes nothing; what can't be decoded is no word of the engine; nothing else is kept, so that
memory is that of the alarms and commands, whatever the length of the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rules.alarms.annunciation import is_annunciated
from rules.engine.outputs import Alarm, Command, Output, Severity
from rules.errors import UndecodableError
from streams.compare.spans import Span, length_ns, recorded_spans
from streams.recording.recording import Recording
from streams.replay.replayed import Replay
from streams.topics import ALARMS, COMMANDS
from streams.wire import decode_output


class Episode(NamedTuple):
    """One occurrence of an alarm, in event time; severity and message are those of its raising.

    `id` is that of its raising; `cleared_ns` is None where it stood at the end. `annunciated_ns`: when a person was
    told, none where nobody was; None where that was when it was raised.
    """

    id: str
    unit: str
    rule: str
    asset: str
    severity: Severity
    message: str
    raised_ns: int
    cleared_ns: int | None
    annunciated_ns: tuple[int, ...] | None = None

    def span(self, end_ns: int) -> Span:
        """From raised to cleared, or to `end_ns` where it stood."""
        return self.raised_ns, end_ns if self.cleared_ns is None else self.cleared_ns

    def lasted_ns(self, end_ns: int) -> int:
        """How long it stood, up to `end_ns` where it still did."""
        return length_ns([self.span(end_ns)])


@dataclass(frozen=True, slots=True)
class Said:
    """What one side said: episodes by (raised, unit, rule, asset), commands by (cause, id)."""

    episodes: tuple[Episode, ...]
    commands: tuple[Command, ...]


def said_in_replay(result: Replay) -> Said:
    """Out of the result of a replay, which can then be let go."""
    alarms = result.alarms.items()
    told = result.annunciated
    episodes = (_episode(result.raised[id_], alarm, told.get(id_, ())) for id_, alarm in alarms)
    return _said(episodes, result.commands)


def said_in_recordings(recordings: Iterable[Recording], units: Collection[str]) -> Said | None:
    """Out of the topics `alarms` and `commands` of recordings of one log; None where neither has a word of `units`."""
    firsts: dict[str, Alarm] = {}
    lasts: dict[str, Alarm] = {}
    cleared: dict[str, Alarm] = {}
    told: dict[str, dict[int, None]] = {}
    commands: dict[str, Command] = {}
    for output in _outputs(recordings):
        if output.unit not in units:
            continue
        if isinstance(output, Command):
            commands.setdefault(output.id, output)
        elif isinstance(output, Alarm) and output.raised_id:
            firsts.setdefault(output.raised_id, output)
            if is_annunciated(lasts.get(output.raised_id), output):
                told.setdefault(output.raised_id, {})[output.at_ns or output.raised_ns] = None
            lasts[output.raised_id] = output
            if output.cleared_ns is not None:
                cleared.setdefault(output.raised_id, output)
    if not firsts and not commands:
        return None
    return _said(
        (_episode(first, cleared.get(id_, first), told.get(id_, ())) for id_, first in firsts.items()),
        commands.values(),
    )


def _outputs(recordings: Iterable[Recording]) -> Iterator[Output]:
    """What was said on `alarms`, then on `commands`: by the index, few chunks of a quiet day have any."""
    for recording in recordings:
        for topic in (ALARMS.name, COMMANDS.name):
            for _, place, _, _, value in recording.of_topic(topic):
                try:
                    if value is not None:
                        yield decode_output(place.headers, value)
                except UndecodableError:
                    continue


def recorded_time(result: Replay) -> list[Span]:
    """What of its time a replay had samples of. What the site has no source for, such as receipts, are none."""
    gaps = (gap for gap in result.gaps if gap.identity.source in result.site.sources)
    return recorded_spans(result.first_ns, result.last_ns, ((gap.from_ns, gap.to_ns) for gap in gaps))


def _episode(raised: Alarm, last: Alarm, annunciated_ns: Iterable[int]) -> Episode:
    return Episode(
        raised.raised_id, raised.unit, raised.rule, raised.asset, raised.severity, raised.message,
        raised.raised_ns, last.cleared_ns, tuple(sorted(annunciated_ns)),
    )  # fmt: skip


def _said(episodes: Iterable[Episode], commands: Iterable[Command]) -> Said:
    return Said(
        tuple(sorted(episodes, key=lambda one: (one.raised_ns, one.unit, one.rule, one.asset, one.id))),
        tuple(sorted(commands, key=lambda one: (one.cause_ns, one.id))),
    )


def cut_behind(episodes: Iterable[Episode], end_ns: Callable[[Episode], int]) -> Iterator[Episode]:
    """What was raised up to an end; an episode that goes on behind it stands."""
    for one in episodes:
        until_ns, told = end_ns(one), one.annunciated_ns
        if one.raised_ns <= until_ns:
            yield one._replace(
                cleared_ns=None if one.cleared_ns is None or one.cleared_ns > until_ns else one.cleared_ns,
                annunciated_ns=None if told is None else tuple(ns for ns in told if ns <= until_ns),
            )
