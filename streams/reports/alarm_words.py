"""What a recording holds of the alarm system: every word on `alarms`, what people were refused, and when it ran.

Rules: a word that is said again (a worker that was restarted, a log that was rolled) is one word; what can't be decoded
is counted; the system ran where there are ticks, and where they are more than a minute apart nothing was recorded.
Words from before the part are kept, as an alarm that stands in it may have gone off earlier. Memory is that of the
words, whatever the length of the recording. So the order of recordings counts, and how a log is cut into them does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from rules.alarms.standing import NO_END_NS
from rules.engine.outputs import Alarm, Entry, Output
from rules.errors import UndecodableError
from streams.compare.kpis import Name
from streams.compare.spans import Span, cut
from streams.recording.recording import Recording
from streams.recording.ticks import file_at, ticks
from streams.replay.start import Part
from streams.topics import ALARMS, EVENTS, JOURNAL
from streams.wire import decode_output, is_head

AWAY_NS: Final = 60_000_000_000
"""Ticks that are further apart than this: in between nothing was recorded."""


@dataclass(slots=True)
class AlarmWords:
    """`words`: of each alarm in their order, up to the end of the part; `refused`: in the part.

    `ran`: spans of ticks within the part, sorted; `begin_ns`, `end_ns`: of the part, as far as it is recorded.
    `transitions`: lines of the journal about alarms up to the end; `undecodable`: records by reason. `has_alarms`,
    `has_journal`: whether the recording has any record of that topic. `is_partial`: Ctrl-C ended it.
    """

    words: dict[Name, list[Alarm]] = field(default_factory=dict)
    refused: list[Entry] = field(default_factory=list)
    ran: list[Span] = field(default_factory=list)
    begin_ns: int = 0
    end_ns: int = 0
    transitions: Counter[str] = field(default_factory=Counter)
    undecodable: Counter[str] = field(default_factory=Counter)
    has_alarms: bool = False
    has_journal: bool = False
    is_partial: bool = False

    def said(self, unit: str) -> int:
        """How many words there are on the alarms of a unit."""
        return sum(len(words) for name, words in self.words.items() if name[0] == unit)


def read_alarm_words(recordings: Sequence[Recording], of: Part, watch: Callable[[int], bool]) -> AlarmWords:
    """Of recordings of one log, in their order. `watch` hears the time of each tick, and says whether to go on."""
    found = AlarmWords()
    _read_ticks(recordings, of, watch, found)
    seen: set[str] = set()
    for output in _outputs(recordings, found):
        if (of.units is not None and output.unit not in of.units) or output.id in seen:
            continue
        seen.add(output.id)
        if isinstance(output, Alarm):
            word = output if output.at_ns else _timed(output)
            if word.at_ns <= found.end_ns:
                found.words.setdefault((output.unit, output.rule, output.asset), []).append(word)
        elif isinstance(output, Entry) and output.at_ns <= found.end_ns:
            found.transitions[output.unit] += output.kind.startswith("alarm-")
            if output.kind == "action-refused" and output.at_ns >= found.begin_ns:
                found.refused.append(output)
    if found.ran:
        last_ns = max((words[-1].at_ns for words in found.words.values()), default=0)
        found.end_ns = min(found.end_ns, max(found.ran[-1][1], last_ns))
    return found


def _timed(word: Alarm) -> Alarm:
    """A word from before alarms said the time of their transition: of what it does say, the last."""
    said = (word.raised_ns, word.cleared_ns, word.unknown_ns, word.acknowledged_ns)
    return replace(word, at_ns=max(at_ns for at_ns in said if at_ns is not None))


def _read_ticks(
    recordings: Sequence[Recording], of: Part, watch: Callable[[int], bool], found: AlarmWords
) -> None:
    """When the system ran. Recordings that lie before the part or behind it are not read."""
    first = file_at(recordings, of.from_ns)
    last = len(recordings) if of.to_ns is None else file_at(recordings, of.to_ns) + 1
    to_ns = NO_END_NS if of.to_ns is None else of.to_ns
    spans: list[Span] = []
    for at_ns in _ticks(recordings[first : last + 1]):
        # units tick one after the other: the time of one may lie behind that of another
        if spans and at_ns - spans[-1][1] <= AWAY_NS:
            spans[-1] = (spans[-1][0], max(spans[-1][1], at_ns))
        else:
            spans.append((at_ns, at_ns))
        if at_ns > to_ns + AWAY_NS:
            break
        if not watch(at_ns):
            found.is_partial = True
            break
    if spans:
        found.begin_ns, last_ns = max(of.from_ns, spans[0][0]), spans[-1][1]
        # what the last samples caused may lie behind the last tick
        found.end_ns = last_ns if found.is_partial else min(to_ns, last_ns + AWAY_NS)
        found.ran = cut(spans, [(found.begin_ns, min(to_ns, last_ns))])


def _ticks(recordings: Iterable[Recording]) -> Iterator[int]:
    return (at_ns for recording in recordings for at_ns in ticks(recording.stored({EVENTS.name})))


def _outputs(recordings: Sequence[Recording], found: AlarmWords) -> Iterator[Output]:
    """What was said on `alarms` and `journal`: by the index, few chunks of a quiet day have any."""
    for recording in recordings:
        for topic in (ALARMS.name, JOURNAL.name):
            for _, place, _, _, value in recording.of_topic(topic):
                found.has_alarms |= topic == ALARMS.name
                found.has_journal |= topic == JOURNAL.name
                try:
                    if value is not None and not is_head(place.headers):
                        yield decode_output(place.headers, value)
                except UndecodableError as error:
                    found.undecodable[error.reason] += 1
