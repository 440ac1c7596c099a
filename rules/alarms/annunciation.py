"""When an alarm is annunciated: its word makes a person look. Figures of an alarm system count this and nothing else.

Source: ANSI/ISA-18.2-2016, clause 3 (an alarm's annunciation) and 10 (its states).
"""

from __future__ import annotations

from typing import Final

from rules.alarms.life_cycle import Silence, State
from rules.engine.outputs import Alarm

SILENT: Final = frozenset(silence.value for silence in Silence)
_BEFORE: Final = SILENT | {State.ACKNOWLEDGED.value}


def is_annunciated(before: Alarm | None, word: Alarm) -> bool:
    """Whether it has become unacknowledged by this word: it went off and was heard, its last silence has ended, or it
    is heard again because it was acknowledged long ago.

    `before`: the word before it on the same occurrence, as far as it is known.
    """
    if word.state != State.UNACKNOWLEDGED.value:
        return False
    return word.id == word.raised_id or (before is not None and before.state in _BEFORE)
