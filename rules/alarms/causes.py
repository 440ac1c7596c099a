"""Which alarm explains which: a cause suppresses its consequences along the plant's relations.

Rules: a rule says of which rules its alarm is the cause (`suppresses`); a cause explains the alarms of its own asset,
of the one that it is part of, and of all that either contains or feeds, at any level, in its unit: a pump those of the
racks that its CDU feeds. What it explains is not heard, and stays in the journal; causes may have causes, but not in a
circle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

from rules.language.upward import Upward
from rules.site.model import Site

Key = tuple[str, str]
"""Rule and asset: names an alarm of a unit."""


class OfRule(Protocol):
    """What is asked of a rule."""

    @property
    def id(self) -> str: ...

    @property
    def suppresses(self) -> tuple[str, ...]: ...


class Causes:
    """Of the rules of a unit."""

    def __init__(self, site: Site, rules: Iterable[OfRule]) -> None:
        self.suppresses: dict[str, frozenset[str]] = {
            rule.id: frozenset(rule.suppresses) for rule in rules if rule.suppresses
        }
        self._causes: dict[str, tuple[str, ...]] = {}
        """The rules that suppress one, in order."""
        for cause in sorted(self.suppresses):
            for rule in self.suppresses[cause]:
                self._causes[rule] = (*self._causes.get(rule, ()), cause)
        self._parts: dict[str, list[str]] = defaultdict(list)
        self._part_of: dict[str, str] = {}
        feeders: dict[str, list[str]] = defaultdict(list)
        if self.suppresses:
            for asset in site.assets.values():
                if asset.part_of is not None:
                    self._parts[asset.part_of].append(asset.id)
                    self._part_of[asset.id] = asset.part_of
                for fed in asset.feeds:
                    feeders[fed].append(asset.id)
        self._above = Upward(site, feeders, within_unit=True)
        self._known = site.assets

    def is_consequence(self, rule: str) -> bool:
        """Whether another rule's alarm may explain it."""
        return rule in self._causes

    def of(self, key: Key, is_believed: Callable[[Key], bool]) -> Key | None:
        """The cause of an alarm among those that are believed: the first by rule, then by asset."""
        rule, asset = key
        causes = self._causes.get(rule)
        if not causes or asset not in self._known:
            return None
        above = (asset, *self._above.above(asset))
        near = sorted({*above, *(part for one in above for part in self._parts.get(one, ()))})
        return next(((by, at) for by in causes for at in near if is_believed((by, at))), None)

    def explains(self, cause: Key, key: Key) -> bool:
        """Whether an alarm is the cause of another."""
        if key[0] not in self.suppresses.get(cause[0], ()) or key[1] not in self._known:
            return False
        above = (key[1], *self._above.above(key[1]))
        return cause[1] in above or self._part_of.get(cause[1]) in above
