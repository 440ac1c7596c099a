"""What `subscriptions.yaml` says: channels, and who wants to hear what over them. Read by `parse`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from zoneinfo import ZoneInfo

from rules.alarms.life_cycle import HEARD, State
from rules.language.program import ALARM_FLOOD

ChannelKind = Literal["webhook", "apprise", "alertmanager", "file"]

TOLD: Final = frozenset(state.value for state in (*HEARD, State.NORMAL))
"""The states that a subscription is told of when it names none: all but the silent ones."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A text that no log, error or output may show."""

    text: str = field(repr=False)

    def __str__(self) -> str:
        return "***"


@dataclass(frozen=True, slots=True)
class Channel:
    """Where notifications go. `url`: of a file its path.

    `secret`: the key that signs webhooks. `parallel`: so many are on their way at once. `give_up_s`: it is dead when
    nothing went through for so long; then its notifications go to the channel `fallback`, '' where it has none.
    """

    name: str
    kind: ChannelKind
    url: Secret
    secret: Secret | None = None
    timeout_s: float = 10.0
    parallel: int = 8
    give_up_s: float = 60.0
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class Hours:
    """A time of the day, `begin_min` to `end_min` after midnight, over midnight where the end is not later.

    `days`: on which it begins, Monday is 0.
    """

    begin_min: int
    end_min: int
    days: frozenset[int] = frozenset(range(7))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which transitions. Empty: any. Names may be patterns, as of file names.

    `states`: what the alarm has become. `hours`: when, in the site's time zone, by event time.
    """

    units: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    severities: frozenset[str] = frozenset()
    states: frozenset[str] = TOLD
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class Digest:
    """Above `above` transitions in `every_ns` they fold into one notification in each `every_ns`, with the `worst`."""

    above: int
    every_ns: int
    worst: int = 5


@dataclass(frozen=True, slots=True)
class Step:
    """Of an escalation: who hears of it when it is not acknowledged `after_ns` after it was told."""

    after_ns: int
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who wants what. `to`: channels. `always_ns`: above 0 it fires at this period, and is about no alarm. `user`: who
    acts over its links, '' for the role itself.

    `group_by`, `wait_ns`: what goes off within the wait is one notification for each value of these. `quiet`: until
    its end nothing is sent. `at_once`: severities that neither wait, nor fold, nor are quiet.
    """

    name: str
    to: tuple[str, ...]
    filter: Filter = Filter()
    group_by: tuple[str, ...] = ()
    wait_ns: int = 0
    digest: Digest | None = None
    quiet: Hours | None = None
    at_once: frozenset[str] = frozenset({"urgent"})
    escalate: tuple[Step, ...] = ()
    always_ns: int = 0
    user: str = ""

    @property
    def is_held(self) -> bool:
        """Whether any of its transitions may have to wait."""
        return bool(self.wait_ns or self.digest or self.quiet)


@dataclass(frozen=True, slots=True)
class Edge:
    """The HTTP edge: streams and links. `base_url`: how those who get a link reach it, '' for no links."""

    host: str = "127.0.0.1"
    port: int = 0
    token: Secret | None = None
    base_url: str = ""
    link_ns: int = 12 * 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """The whole file. `edge` None: nothing is served. `groups`: by rule its group, where any subscription asks."""

    channels: Mapping[str, Channel] = field(default_factory=dict)
    subscriptions: Mapping[str, Subscription] = field(default_factory=dict)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    edge: Edge | None = None
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def of_alarms(self) -> tuple[Subscription, ...]:
        """Those that are about alarms."""
        return tuple(one for one in self.subscriptions.values() if not one.always_ns)

    def group_of(self, rule: str, asset: str) -> str:
        """Of an alarm; one about a flood is of the group that it folds."""
        return asset if rule == ALARM_FLOOD else self.groups.get(rule, "")
