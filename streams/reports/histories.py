"""The history of an alarm, out of its words: when it was annunciated, acknowledged, silenced, and what nobody heard.

Rules: *annunciated* is what became `unacknowledged`: an occurrence when it went off, or what was still true when its
last silence ended. An occurrence that went off in a silence and was never annunciated counts apart. What waits for its
cause (`hold_off`) is not suppressed: it is annunciated, or suppressed, a moment later. An alarm that is out of service
and shelved is out of service, as its state says (`rules.alarms.life_cycle`).

Source: ANSI/ISA-18.2-2016, clause 10 (states) and 16 (monitoring).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from rules.alarms.annunciation import SILENT, is_annunciated
from rules.alarms.life_cycle import NEEDS_ACKNOWLEDGEMENT
from rules.engine.outputs import Alarm
from streams.compare.episodes import Episode
from streams.compare.spans import Span

Quiet = Literal["shelved", "suppressed", "out-of-service", "waiting"]
"""Why an alarm is not heard; `waiting`: for its cause."""
_NEEDED: Final = frozenset(state.value for state in NEEDS_ACKNOWLEDGEMENT)


@dataclass(slots=True)
class History:
    """Of one alarm, in event time up to the end; `raisings`: of its condition, heard or not.

    `annunciated`: each from there until its condition returned or it was silenced; `acknowledged`: when the last
    annunciation was, and the acknowledgement; `unheard`: occurrences that nobody heard, and the last reason; `quiet`:
    spans by reason; `is_unacknowledged`: at the end.
    """

    raisings: list[Episode] = field(default_factory=list)
    annunciated: list[Episode] = field(default_factory=list)
    acknowledged: list[Span] = field(default_factory=list)
    unheard: list[tuple[int, Quiet]] = field(default_factory=list)
    quiet: list[tuple[Quiet, Span]] = field(default_factory=list)
    is_unacknowledged: bool = False


def history(words: Sequence[Alarm], end_ns: int) -> History:
    """Out of the words on one alarm, in their order."""
    found = History()
    before: Alarm | None = None
    silent: tuple[Quiet, int] | None = None
    waits_since_ns: int | None = None
    for word in words:
        reason = _reason(word)
        if silent is not None and reason != silent[0]:
            found.quiet.append((silent[0], (silent[1], word.at_ns)))
        if reason is None:
            silent = None
        elif silent is None or reason != silent[0]:
            silent = reason, word.at_ns
        if word.id == word.raised_id:
            found.raisings.append(_episode(word))
        _end(found.raisings, word, word.cleared_ns)
        _end(found.annunciated, word, word.at_ns if reason is not None else word.cleared_ns)
        if is_annunciated(before, word):
            found.annunciated.append(_episode(word))
            waits_since_ns = word.at_ns
        acknowledged_ns = word.acknowledged_ns
        is_new = acknowledged_ns is not None and (
            before is None or before.acknowledged_ns != acknowledged_ns or before.raised_id != word.raised_id
        )
        if is_new and waits_since_ns is not None and acknowledged_ns is not None:
            found.acknowledged.append((waits_since_ns, acknowledged_ns))
        if is_new or reason is not None:
            waits_since_ns = None
        before = word
    if silent is not None:
        found.quiet.append((silent[0], (silent[1], end_ns)))
    found.unheard = list(_unheard(words, found.annunciated))
    found.is_unacknowledged = before is not None and before.state in _NEEDED
    return found


def _reason(word: Alarm) -> Quiet | None:
    if word.state not in SILENT:
        return None
    if word.state == "suppressed" and not word.suppressed_by:
        return "waiting"
    return word.state


def _episode(word: Alarm) -> Episode:
    return Episode(
        word.raised_id, word.unit, word.rule, word.asset, word.severity, word.message, word.at_ns, word.cleared_ns
    )  # fmt: skip


def _end(episodes: list[Episode], word: Alarm, end_ns: int | None) -> None:
    """The last one ends, if it goes on and is of the occurrence that the word is about."""
    if (
        episodes
        and end_ns is not None
        and episodes[-1].cleared_ns is None
        and episodes[-1].id == word.raised_id
    ):
        episodes[-1] = episodes[-1]._replace(cleared_ns=end_ns)


def _unheard(words: Iterable[Alarm], annunciated: Iterable[Episode]) -> Iterable[tuple[int, Quiet]]:
    heard = {one.id for one in annunciated}
    raised: dict[str, int] = {}
    reasons: dict[str, Quiet] = {}
    for word in words:
        if word.id == word.raised_id:
            raised[word.id] = word.at_ns
        reason = _reason(word)
        if word.raised_id in raised and word.raised_id not in heard and reason and word.cleared_ns is None:
            reasons[word.raised_id] = reason
    return ((raised[id_], reason) for id_, reason in reasons.items())
