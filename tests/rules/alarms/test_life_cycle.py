"""The table is total: every pair of state and event has a next state, a reason to refuse, or can't be."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from rules.alarms.life_cycle import (
    HEARD,
    ISA_LETTER,
    NEEDS_ACKNOWLEDGEMENT,
    OF_OPERATORS,
    QUIET,
    TABLE,
    TRUE,
    Event,
    Silence,
    State,
    diagram,
    shown,
)
from rules.alarms.standing import NO_END_NS, Reason, Standing
from rules.engine.outputs import AlarmState
from rules.errors import InvariantError

DOCS = Path(__file__).parents[3] / "docs" / "alarms.md"


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair_of_state_and_event(state: State, event: Event) -> None:
    """What must be so of all of them, whatever the table says."""
    after = TABLE[state].get(event)
    is_true = state in TRUE
    can_be = {
        Event.RAISE: not is_true,
        Event.CLEAR: is_true,
        Event.LATCH: is_true,
        Event.SILENCE: state not in QUIET,
        Event.SOUND: state in QUIET,
        Event.CLOSE: True,
        Event.RE_ALARM: state is State.ACKNOWLEDGED,
        Event.ACKNOWLEDGE: True,
        Event.RESET: True,
    }
    assert (after is not None) == can_be[event]
    standing = Standing("low", state)
    if not isinstance(after, State):
        assert after is None or event in OF_OPERATORS
        assert standing.refusal(event) == (after or "")
        with pytest.raises(InvariantError):
            standing.move(event)
        return
    standing.move(event)
    assert standing.state is after
    assert standing.refusal(event) == "" or event in OF_OPERATORS
    truth_after = {Event.RAISE: True, Event.CLEAR: False, Event.LATCH: False, Event.CLOSE: False}
    assert (after in TRUE) == truth_after.get(event, is_true), "only the condition changes the condition"
    quiet_after = {Event.SILENCE: True, Event.SOUND: False, Event.CLOSE: False}
    assert (after in QUIET) == quiet_after.get(event, state in QUIET), "only silences silence"
    if event is Event.ACKNOWLEDGE:
        assert state in NEEDS_ACKNOWLEDGEMENT
        assert after not in NEEDS_ACKNOWLEDGEMENT
    if event is Event.RESET:
        assert (state, after) == (State.LATCHED_ACKNOWLEDGED, State.NORMAL), "acknowledge is not reset"


def test_every_state_can_be_reached_from_normal_and_left_for_it() -> None:
    def reached(state: State) -> set[State]:
        seen, todo = {state}, [state]
        while todo:
            for after in TABLE[todo.pop()].values():
                if isinstance(after, State) and after not in seen:
                    seen.add(after)
                    todo.append(after)
        return seen

    assert reached(State.NORMAL) == set(State)
    without_close = {
        state: {event: after for event, after in events.items() if event is not Event.CLOSE}
        for state, events in TABLE.items()
    }
    for state in State:
        seen, todo = {state}, [state]
        while todo:
            new = {
                after
                for after in without_close[todo.pop()].values()
                if isinstance(after, State) and after not in seen
            }
            seen |= new
            todo += new
        assert State.NORMAL in seen


def test_the_states_are_those_of_the_wire_and_of_isa() -> None:
    names = {shown(state, ()) for state in set(State) - QUIET} | {silence.value for silence in Silence}
    assert names == set(get_args(AlarmState))
    assert sorted(ISA_LETTER.values()) == list("ABCDEFGHI")
    assert HEARD | QUIET | {State.NORMAL} == set(State)


def test_the_strongest_silence_gives_the_name_and_the_last_to_end_is_heard() -> None:
    alarm = Standing("high", State.UNACKNOWLEDGED)
    alarm.silence(Silence.SUPPRESSED, Reason(NO_END_NS, "pump", ""))
    assert alarm.shown_state == "suppressed"
    alarm.silence(Silence.SHELVED, Reason(20, "eva", "noise"))
    alarm.silence(Silence.OUT_OF_SERVICE, Reason(30, "eva", "repair"))
    assert (alarm.shown_state, alarm.ends_ns) == ("out-of-service", 20)
    alarm.sound(Silence.OUT_OF_SERVICE)
    assert alarm.shown_state == "shelved"
    alarm.sound(Silence.SHELVED)
    assert alarm.state is State.QUIET_TRUE
    alarm.sound(Silence.SUPPRESSED)
    assert alarm.state is State.UNACKNOWLEDGED


def test_what_is_saved_comes_back() -> None:
    alarm = Standing("high", State.QUIET_LATCHED, "id", 1, 2, None, 0.5, "text", 3, "eva", "why", 4)
    alarm.silences = {Silence.SHELVED: Reason(20, "eva", "noise", one_shot=True)}
    assert Standing.restored(*alarm.saved()) == alarm


def test_the_diagram_of_the_docs_is_that_of_the_table() -> None:
    assert f"```mermaid\n{diagram()}\n```" in DOCS.read_text("utf-8")
