"""What is known of the site's alarms beyond their words: the kinds of their rules, their limits, their sources."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from asyncua import ua

from gateways.scada.alarm_kinds import AlarmKind, kind_of, kind_of_own
from gateways.scada.condition_fields import Source
from gateways.scada.event import SERVER
from gateways.scada.model import Model
from gateways.scada.names import node
from rules.language.program import OWN_RULES, Program
from rules.site.model import Site

SOURCES_MAX: Final = 50_000
_NO_NODE: Final = ua.NodeId()


class RuleFacts:
    """`take_up` when other rules rule."""

    def __init__(self, site: Site, model: Model) -> None:
        self._site, self._model = site, model
        self._states = frozenset(one.id for one in site.points.values() if not one.engineering_unit)
        self._kinds: dict[str, AlarmKind] = {}
        self._assets: dict[str, frozenset[str]] = {}
        self._latching: frozenset[str] = frozenset()
        self._heard_at = lru_cache(maxsize=SOURCES_MAX)(self._notifiers)
        self.source = lru_cache(maxsize=SOURCES_MAX)(self._source)
        """Of unit, rule and asset: what does not change of their alarm, and the nodes at which it is heard."""

    def take_up(self, program: Program) -> None:
        """These are the rules from now on."""
        self._kinds = {rule.id: kind_of(rule, self._states) for rule in program.rules}
        self._assets = {rule.id: frozenset(rule.assets) for rule in program.rules}
        self._latching = frozenset(rule.id for rule in program.rules if rule.latches)
        self.source.cache_clear()

    def has_rule(self, unit: str, rule: str, asset: str) -> bool:
        """Whether there may be an alarm of that name."""
        if rule in OWN_RULES:
            return unit in self._site.units and asset in self._site.sources
        at = self._site.assets.get(asset)
        return at is not None and at.unit == unit and asset in self._assets.get(rule, ())

    def _source(self, unit: str, rule: str, asset: str) -> tuple[Source, frozenset[Any]]:
        kind = self._kinds.get(rule) or kind_of_own(rule)
        at = asset if asset in self._site.assets else f"/{unit}"
        point = kind.point_of(asset) if asset in self._assets.get(rule, ()) else ""
        source = Source(
            node(f"{unit}:{rule}:{asset}"),
            node(at),
            asset,
            rule,
            kind,
            node(point) if point else _NO_NODE,
            None if kind.limit is None else kind.limit.of(asset),
            self._site.shelving_max_ns,
            rule in self._latching,
        )
        return source, self._heard_at(unit, asset)

    def _notifiers(self, unit: str, asset: str) -> frozenset[Any]:
        return frozenset({SERVER, *(node(text) for text in self._model.chain(unit, asset))})
