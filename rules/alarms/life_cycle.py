"""Every state of an alarm, every event, and what follows: the one table of it.

The engine, the docs (`diagram`) and the tests read this table and no other. States and their letters are those of the
alarm state diagram of ISA-18.2-2016 (clause 10, as IEC 62682 has them): A to F are heard by the operator, G to I are
not. Where an alarm is not heard, the table goes on knowing whether its condition holds (`quiet-…`); why it is not
heard (shelved, suppressed by design, out of service; any of them, or several) stands beside the state, in `Silence`.

Rules: acknowledge is not reset, and neither clears; what nobody heard needs no acknowledgement; what is true when the
last silence ends rises at once, as new; a latched alarm stays until a person resets it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where an alarm is. `quiet-…`: not heard; its condition is false, true, or was true and latches."""

    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED_UNACKNOWLEDGED = "returned-unacknowledged"
    LATCHED_UNACKNOWLEDGED = "latched-unacknowledged"
    LATCHED_ACKNOWLEDGED = "latched-acknowledged"
    QUIET_FALSE = "quiet-false"
    QUIET_TRUE = "quiet-true"
    QUIET_LATCHED = "quiet-latched"


class Event(StrEnum):
    """What can happen to it. `latch`: the condition of an alarm that latches returns; `clear`, of any other.

    `re-alarm`: it was acknowledged long ago, and its condition holds all the same. `silence`: the first reason not to
    be heard begins. `sound`: the last one ends. `close`: its rule has changed or is gone.
    """

    RAISE = "raise"
    CLEAR = "clear"
    LATCH = "latch"
    ACKNOWLEDGE = "acknowledge"
    RESET = "reset"
    RE_ALARM = "re-alarm"
    SILENCE = "silence"
    SOUND = "sound"
    CLOSE = "close"


class Silence(StrEnum):
    """Why an alarm is not heard, the strongest first: that one gives the state its name."""

    OUT_OF_SERVICE = "out-of-service"
    SHELVED = "shelved"
    SUPPRESSED = "suppressed"


OF_OPERATORS: Final = frozenset({Event.ACKNOWLEDGE, Event.RESET})
"""Those that a person asks for: where the table has no next state they are refused, with the word that it has."""

QUIET: Final = frozenset({State.QUIET_FALSE, State.QUIET_TRUE, State.QUIET_LATCHED})
TRUE: Final = frozenset({State.UNACKNOWLEDGED, State.ACKNOWLEDGED, State.QUIET_TRUE})
"""The condition holds."""
HEARD: Final = frozenset(State) - QUIET - {State.NORMAL}
"""On the operator's list."""
NEEDS_ACKNOWLEDGEMENT: Final = frozenset(
    {State.UNACKNOWLEDGED, State.RETURNED_UNACKNOWLEDGED, State.LATCHED_UNACKNOWLEDGED}
)

ISA_LETTER: Final[Mapping[State | Silence, str]] = {
    State.NORMAL: "A",
    State.UNACKNOWLEDGED: "B",
    State.ACKNOWLEDGED: "C",
    State.RETURNED_UNACKNOWLEDGED: "D",
    State.LATCHED_UNACKNOWLEDGED: "E",
    State.LATCHED_ACKNOWLEDGED: "F",
    Silence.SHELVED: "G",
    Silence.SUPPRESSED: "H",
    Silence.OUT_OF_SERVICE: "I",
}

_IS_TRUE = "its condition still holds"
_IS_QUIET = "it is not heard now"
_IS_ACKNOWLEDGED = "it is acknowledged already"
_NOTHING = "nothing of it stands"
_NO_LATCH = "it is not latched"
_NOT_ACKNOWLEDGED = "it is not acknowledged yet"

TABLE: Final[Mapping[State, Mapping[Event, State | str]]] = {
    State.NORMAL: {
        Event.RAISE: State.UNACKNOWLEDGED,
        Event.ACKNOWLEDGE: _NOTHING,
        Event.RESET: _NOTHING,
        Event.SILENCE: State.QUIET_FALSE,
        Event.CLOSE: State.NORMAL,
    },
    State.UNACKNOWLEDGED: {
        Event.CLEAR: State.RETURNED_UNACKNOWLEDGED,
        Event.LATCH: State.LATCHED_UNACKNOWLEDGED,
        Event.ACKNOWLEDGE: State.ACKNOWLEDGED,
        Event.RESET: _IS_TRUE,
        Event.SILENCE: State.QUIET_TRUE,
        Event.CLOSE: State.NORMAL,
    },
    State.ACKNOWLEDGED: {
        Event.CLEAR: State.NORMAL,
        Event.LATCH: State.LATCHED_ACKNOWLEDGED,
        Event.ACKNOWLEDGE: _IS_ACKNOWLEDGED,
        Event.RESET: _IS_TRUE,
        Event.RE_ALARM: State.UNACKNOWLEDGED,
        Event.SILENCE: State.QUIET_TRUE,
        Event.CLOSE: State.NORMAL,
    },
    State.RETURNED_UNACKNOWLEDGED: {
        Event.RAISE: State.UNACKNOWLEDGED,
        Event.ACKNOWLEDGE: State.NORMAL,
        Event.RESET: _NO_LATCH,
        Event.SILENCE: State.QUIET_FALSE,
        Event.CLOSE: State.NORMAL,
    },
    State.LATCHED_UNACKNOWLEDGED: {
        Event.RAISE: State.UNACKNOWLEDGED,
        Event.ACKNOWLEDGE: State.LATCHED_ACKNOWLEDGED,
        Event.RESET: _NOT_ACKNOWLEDGED,
        Event.SILENCE: State.QUIET_LATCHED,
        Event.CLOSE: State.NORMAL,
    },
    State.LATCHED_ACKNOWLEDGED: {
        Event.RAISE: State.UNACKNOWLEDGED,
        Event.ACKNOWLEDGE: _IS_ACKNOWLEDGED,
        Event.RESET: State.NORMAL,
        Event.SILENCE: State.QUIET_LATCHED,
        Event.CLOSE: State.NORMAL,
    },
    State.QUIET_FALSE: {
        Event.RAISE: State.QUIET_TRUE,
        Event.ACKNOWLEDGE: _IS_QUIET,
        Event.RESET: _IS_QUIET,
        Event.SOUND: State.NORMAL,
        Event.CLOSE: State.NORMAL,
    },
    State.QUIET_TRUE: {
        Event.CLEAR: State.QUIET_FALSE,
        Event.LATCH: State.QUIET_LATCHED,
        Event.ACKNOWLEDGE: _IS_QUIET,
        Event.RESET: _IS_QUIET,
        Event.SOUND: State.UNACKNOWLEDGED,
        Event.CLOSE: State.NORMAL,
    },
    State.QUIET_LATCHED: {
        Event.RAISE: State.QUIET_TRUE,
        Event.ACKNOWLEDGE: _IS_QUIET,
        Event.RESET: _IS_QUIET,
        Event.SOUND: State.LATCHED_UNACKNOWLEDGED,
        Event.CLOSE: State.NORMAL,
    },
}
"""The next state; in its place, for what a person asks for, the reason why not. What is not named can't happen."""


def shown(state: State, silences: Collection[Silence]) -> str:
    """The name of a state for people and the wire: where it is not heard, why not."""
    if state not in QUIET:
        return state.value
    return next(silence.value for silence in Silence if silence in silences)


def diagram() -> str:
    """The table as a Mermaid state diagram, for the docs."""
    lines = ["stateDiagram-v2", "    [*] --> normal"]
    for state in State:
        letter = ISA_LETTER.get(state, "G, H, I")
        lines.append(f"    {_name(state)} : {state.value} ({letter})")
    for state, events in TABLE.items():
        by_next: dict[State, list[str]] = {}
        for event, after in events.items():
            if isinstance(after, State) and event is not Event.CLOSE:
                by_next.setdefault(after, []).append(event.value)
        lines += [
            f"    {_name(state)} --> {_name(after)} : {', '.join(names)}" for after, names in by_next.items()
        ]
    return "\n".join(lines)


def _name(state: State) -> str:
    return state.value.replace("-", "_")
