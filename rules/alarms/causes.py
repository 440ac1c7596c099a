"""Which alarm explains which: a cause suppresses its consequences along the plant's relations.

Rules: a rule says of which rules its alarm is the cause (`suppresses`); a cause explains the alarms of its own asset,
of the one that it is part of, and of all that either contains or feeds, at any level, in its unit: a pump those of the
racks that its CDU feeds. What it explains is not heard, and stays in the journal; causes may have causes, but not in a
circle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from rules.language.upward import Upward, feeders_of
from rules.site.model import Site, Unit

Key = tuple[str, str]
"""Rule and asset: names an alarm of a unit."""


class Causes:
    """Of a unit. `suppresses`: by rule those whose alarms its own explains."""

    def __init__(self, site: Site, unit: Unit, suppresses: Mapping[str, Iterable[str]]) -> None:
        self.suppresses = {rule: frozenset(others) for rule, others in suppresses.items() if others}
        self._causes: dict[str, tuple[str, ...]] = {}
        """The rules that suppress one, in order."""
        for cause in sorted(self.suppresses):
            for rule in self.suppresses[cause]:
                self._causes[rule] = (*self._causes.get(rule, ()), cause)
        self._ranks: dict[str, int] = {}
        # who explains nothing asks for no relations, and they are many
        assets = unit.assets if self.suppresses else ()
        self._known = {asset.id for asset in assets}
        self._part_of = {asset.id: asset.part_of for asset in assets if asset.part_of is not None}
        self._parts: dict[str, list[str]] = defaultdict(list)
        for part, whole in self._part_of.items():
            self._parts[whole].append(part)
        self._above = Upward(site, feeders_of(assets), within_unit=True)

    def relates(self, rule: str) -> bool:
        """Whether it explains others, or others may explain it."""
        return rule in self.suppresses or rule in self._causes

    def rank(self, rule: str) -> int:
        """How many causes may stand above it, one above the other: there is no circle."""
        if rule not in self._ranks:
            above = [self.rank(cause) for cause in self._causes.get(rule, ())]
            self._ranks[rule] = 1 + max(above) if above else 0
        return self._ranks[rule]

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
