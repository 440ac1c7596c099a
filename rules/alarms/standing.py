"""One alarm that is not simply normal: its state, the occurrence behind it, and why it is not heard."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from rules.alarms.first_up import FirstUp
from rules.alarms.life_cycle import QUIET, TABLE, TRUE, Event, Silence, State, shown
from rules.errors import InvariantError

NO_END_NS: Final = 1 << 62
"""A silence that no time ends."""


class Reason(NamedTuple):
    """Of a silence: until when (ns, `NO_END_NS` without an end), who wanted it and why.

    `one_shot`: it ends when the condition returns. Of a suppression `by` names the alarm that is the cause.
    """

    until_ns: int
    by: str
    comment: str
    one_shot: bool = False


@dataclass(slots=True)
class Standing:
    """One alarm. Times are event times in ns; `raised_id` '' as long as it never went off.

    `raised_ns`, `cleared_ns`: when its condition became true, and false again. `unknown_ns`: since when nobody knows
    whether it holds. `value`, `message`: what its last word showed. `last_ns`: of its last transition, whichever.
    """

    severity: str
    state: State = State.NORMAL
    raised_id: str = ""
    raised_ns: int = 0
    cleared_ns: int | None = None
    unknown_ns: int | None = None
    value: float | None = None
    message: str = ""
    acknowledged_ns: int | None = None
    confirmed_ns: int | None = None
    first_up: FirstUp = ""
    re_alarm_ns: int = NO_END_NS
    """When it is to be heard again, once it is acknowledged."""

    by: str = ""
    """Who acted on it last, and what they wrote."""

    comment: str = ""
    last_ns: int = 0
    silences: dict[Silence, Reason] = field(default_factory=dict)

    @property
    def is_true(self) -> bool:
        """Whether its condition holds."""
        return self.state in TRUE

    @property
    def is_forgettable(self) -> bool:
        """Whether nothing of it need be remembered."""
        return self.state is State.NORMAL and not self.silences

    @property
    def shown_state(self) -> str:
        """The name of its state for people."""
        return shown(self.state, self.silences.keys())

    @property
    def ends_ns(self) -> int:
        """When time changes it next: the first of its silences ends, or it is to be heard again."""
        if self.state is State.ACKNOWLEDGED:
            return self.re_alarm_ns
        return min((reason.until_ns for reason in self.silences.values()), default=NO_END_NS)

    def refusal(self, event: Event) -> str:
        """Why a person can't have this now; '' where they can."""
        after = TABLE[self.state].get(event, "")
        return "" if isinstance(after, State) else after

    def move(self, event: Event) -> None:
        """Go on to the next state. InvariantError where the table has none: whoever calls has to know."""
        after = TABLE[self.state].get(event)
        if not isinstance(after, State):
            raise InvariantError(f"an alarm that is {self.state} can't {event}")
        self.state = after

    def silence(self, why: Silence, reason: Reason) -> None:
        """One reason more not to be heard, or another one of the kind that there was."""
        self.silences[why] = reason
        if self.state not in QUIET:
            self.move(Event.SILENCE)

    def sound(self, why: Silence) -> None:
        """A reason less; with the last one it is heard again."""
        del self.silences[why]
        if not self.silences:
            self.hear_anew(Event.SOUND)

    def hear_anew(self, event: Event) -> None:
        """What was acknowledged before counts no more."""
        self.move(event)
        self.acknowledged_ns = self.confirmed_ns = None

    def saved(self) -> list[Any]:
        """For a snapshot: plain values."""
        silences = {why.value: list(reason) for why, reason in self.silences.items()}
        return [
            self.severity, self.state.value, self.raised_id, self.raised_ns, self.cleared_ns, self.unknown_ns,
            self.value, self.message, self.acknowledged_ns, self.confirmed_ns, self.first_up, self.re_alarm_ns, self.by,
            self.comment, self.last_ns, silences,
        ]  # fmt: skip

    @classmethod
    def restored(cls, severity: str, state: str, *rest: Any) -> Self:
        """What `saved` gave."""
        *plain, silences = rest
        made = cls(severity, State(state), *plain)
        made.silences = {Silence(why): Reason(*reason) for why, reason in silences.items()}
        return made
