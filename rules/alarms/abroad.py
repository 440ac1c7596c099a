"""Causes across units: which of a unit's alarms others must know of, and which of theirs it believes.

Rules: a cause is told when it becomes true, when it is over, and once in each fact period between, so that whoever is
told no more does not believe for ever: what was not told for three periods is believed no more, as with all facts
(decision 0015). What a unit tells hangs on nothing that it is told: an alarm whose rule needs facts is not told.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from rules.alarms.causes import Causes, Key
from rules.language.upward import Upward, feeders_of
from rules.site.model import Site, Unit

NAME: Final = "alarm:"
"""How the name of a fact about an alarm begins; its rule and its asset follow."""

PERIODS: Final = 3


def name_of(key: Key) -> str:
    """What a fact about an alarm is called."""
    return f"{NAME}{key[0]}:{key[1]}"


def key_of(name: str) -> Key:
    """The alarm that a fact of such a name is about."""
    rule, _, asset = name.removeprefix(NAME).partition(":")
    return rule, asset


class Abroad:
    """Of a unit. `silent`: rules that are not told, as they need facts. `told`: our causes that are true, each with
    the units that must know. `believed`: those of others, each until when; part of a snapshot.
    """

    def __init__(self, site: Site, unit: Unit, causes: Causes, silent: Iterable[str]) -> None:
        self.told: dict[Key, tuple[str, ...]] = {}
        self.believed: dict[Key, int] = {}
        self.period_ns = site.fact_period_ns
        self._site = site
        self._unit = unit
        self._causes = causes
        self._silent = frozenset(silent)
        self._units: dict[str, tuple[str, ...]] = {}
        self._below: Mapping[str, Iterable[str]] | None = None
        self._above: Upward | None = None

    def concerns(self, key: Key) -> tuple[str, ...]:
        """The other units that an alarm of this one may explain something in, in order."""
        if key[0] not in self._causes.suppresses or key[0] in self._silent:
            return ()
        if key[1] not in self._units:
            self._units[key[1]] = self._units_below(key[1])
        return self._units[key[1]]

    def _units_below(self, asset: str) -> tuple[str, ...]:
        """Units of all that the asset, or what it is part of, holds or feeds at any level."""
        if self._below is None:
            below: dict[str, list[str]] = defaultdict(list)
            for known in self._site.assets.values():
                below[known.id] += known.feeds
                if known.part_of is not None:
                    below[known.part_of].append(known.id)
            self._below = below
        whole = self._site.assets[asset].part_of
        found, waiting = {asset}, [asset, *([whole] if whole else ())]
        while waiting:
            for one in self._below[waiting.pop()]:
                if one not in found and one in self._site.assets:
                    found.add(one)
                    waiting.append(one)
        return tuple(sorted({self._site.assets[one].unit for one in found} - {self._unit.id}))

    def explains(self, cause: Key, key: Key) -> bool:
        """Whether an alarm of another unit is the cause of one of this unit."""
        if key[0] not in self._causes.suppresses.get(cause[0], ()) or key[1] not in self._site.assets:
            return False
        if self._above is None:
            self._above = Upward(self._site, feeders_of(self._site.assets.values()), within_unit=False)
        above = (key[1], *self._above.above(key[1]))
        return cause[1] in above or self._site.assets[cause[1]].part_of in above

    def may_believe(self, key: Key) -> bool:
        """Whether a fact about this alarm is of any use here."""
        known = self._site.assets.get(key[1])
        return known is not None and known.unit != self._unit.id and key[0] in self._causes.suppresses

    def of(self, key: Key) -> Key | None:
        """The cause of an alarm among those of other units: the first by rule, then by asset."""
        return min((cause for cause in self.believed if self.explains(cause, key)), default=None)
