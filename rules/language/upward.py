"""What is above each asset of a site: what it is part of and what feeds it or that, at any level."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from rules.site.model import Asset, Site


def feeders_of(assets: Iterable[Asset]) -> Mapping[str, Sequence[str]]:
    """Which of `assets` feed each asset directly."""
    feeders: dict[str, list[str]] = defaultdict(list)
    for asset in assets:
        for fed in asset.feeds:
            feeders[fed].append(asset.id)
    return feeders


class Upward:
    """What is above each asset: everywhere, or without leaving its unit."""

    def __init__(self, site: Site, feeders: Mapping[str, Sequence[str]], within_unit: bool) -> None:
        self._site = site
        self._feeders = feeders
        self._within_unit = within_unit
        self._above: dict[str, tuple[str, ...]] = {}
        self._lines: dict[str, tuple[str, ...]] = {}

    def above(self, asset: str) -> tuple[str, ...]:
        """What holds or feeds it, at any level; in no promised order."""
        parent = self._site.assets[asset].part_of
        if parent is None or asset in self._feeders:
            return self._all_above(asset)
        line = self._lines.get(parent)
        if line is None:  # what is above all parts that nothing feeds
            line = self._lines[parent] = (parent, *self.above(parent))
        return line if asset not in line else self._all_above(asset)

    def _all_above(self, asset: str) -> tuple[str, ...]:
        if asset in self._above:
            return self._above[asset]
        unit = self._site.assets[asset].unit
        found: dict[str, None] = {}
        waiting = [asset]
        while waiting:
            current = waiting.pop()
            parent = self._site.assets[current].part_of
            for other in [*([parent] if parent else ()), *self._feeders.get(current, ())]:
                known = self._site.assets.get(other)
                left = known is None or (self._within_unit and known.unit != unit)
                if not left and other not in found and other != asset:
                    found[other] = None
                    waiting.append(other)
        self._above[asset] = tuple(found)
        return self._above[asset]
