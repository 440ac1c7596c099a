"""The rule sets of the log, made ready for this worker's engines before an activation asks for them.

Rules: what compiles does so in another process (`prepare_rules`), which keeps it for the next start; what is kept, or
comes back, is taken up unit by unit, so that the stream goes on in between. An activation that comes before its rule
set is ready waits for it, and so does the stream: that is counted, and `headrace activate` asks for readiness first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from rules.engine.engine import Engine
from rules.engine.tables import Compiled
from rules.errors import ConfigurationError, HeadraceError, UnreachableError
from rules.site.model import Site
from streams.bus.bus import Bus, Producer
from streams.role import RoleContext
from streams.rule_sets.kept_rules import FOLDER, KeptRules, KeptTables
from streams.rule_sets.prepare_rules import prepare_aside
from streams.rule_sets.rule_set import (
    UNKNOWN,
    RuleSet,
    newest_believed,
    note_rule_set,
    published_rule_sets,
    rule_set_message,
    rule_set_of,
)
from streams.topics import RULE_SETS

log = logging.getLogger("headrace.worker")

KEPT: Final = 3
"""Prepared rule sets: the one that rules, the next, and the one before, to which one may want to return."""
_READ_S: Final = 1.0

Prepared = dict[str, Compiled] | str
T = TypeVar("T")


class PreparedRules:
    """`first` is what a unit without a snapshot or an activation begins with: the newest of the log, or the folder's.

    `folder`: where tables are kept. Raises ConfigurationError, as `RuleSet.load` does of `first`.
    """

    def __init__(self, bus: Bus, site: Site, first: RuleSet, folder: Path, known: dict[str, RuleSet]) -> None:
        self._bus = bus
        self._site = site
        self._folder = folder
        self._kept = KeptRules(first, site, folder)
        self._known = {**known, first.digest: first}
        self._first = None if first.digest in known else first
        """To be published before it is named on the log."""
        self._prepared: dict[str, Prepared] = {}
        self._preparing = asyncio.Lock()
        self.first_digest = first.digest
        self.waits = 0
        """How often an activation, and the stream with it, had to wait."""
        self.pause_ms_max = 0.0
        """The longest that the stream stood still while prepared rules were taken over from the other process."""

    @property
    def ready(self) -> list[str]:
        """Digests that an activation need not wait for."""
        return sorted({self.first_digest, *self._prepared})

    def new_engine(self, unit: str, digest: str = "") -> Engine:
        """With the first rules, or those of `digest`, if `rules_of` has been asked for them."""
        if digest in ("", self.first_digest):
            return Engine(self._kept.tables(unit), self._site, unit, self.first_digest)
        prepared = self._prepared.get(digest, UNKNOWN)
        if isinstance(prepared, str):
            raise HeadraceError(f"the rules that ruled there ({digest[:12]}): {prepared}")
        return Engine(prepared[unit], self._site, unit, digest)

    async def publish_first(self, producer: Producer) -> None:
        """Put the first rules on the log, if it does not have them. UnreachableError."""
        if self._first is not None:
            await (await producer.send(rule_set_message(self._first)))
            self._first = None

    async def rules_of(self, digest: str, unit: str) -> Compiled | str:
        """What an activation of `digest` means to a unit; waits until that is known."""
        if digest == self.first_digest:
            return self._kept.tables(unit)
        if digest not in self._prepared:
            self.waits += 1
            await self.prepare(digest)
        prepared = self._prepared.get(digest, UNKNOWN)
        return prepared if isinstance(prepared, str) else prepared[unit]

    async def prepare(self, digest: str) -> None:
        """Make it ready, if it is not; what nobody has published takes no place of what is ready.

        Raises UnreachableError when the log can't be asked for it.
        """
        async with self._preparing:
            if digest in self._prepared:
                return
            if digest not in self._known:
                self._known.update(await published_rule_sets(self._bus))
            rule_set = self._known.get(digest)
            if rule_set is None:
                return
            began_s = asyncio.get_running_loop().time()
            prepared = await self._compiled(rule_set)
            log.info(
                "rules %s: %s in %.1f s",
                digest[:12],
                f"refused, {prepared}" if isinstance(prepared, str) else "ready",
                asyncio.get_running_loop().time() - began_s,
            )
            while len(self._prepared) >= KEPT:
                del self._prepared[next(iter(self._prepared))]
            self._prepared[digest] = prepared

    async def _compiled(self, rule_set: RuleSet) -> Prepared:
        kept = KeptTables(rule_set.digest, self._folder)
        made: dict[str, Compiled] = {}
        if rule_set.site_digest == self._site.digest:  # another site's worker may keep its own there
            for unit in self._site.units:
                tables = await self._taken_over(partial(kept.read, unit))
                if tables is not None:
                    made[unit] = tables
        missing = [unit for unit in self._site.units if unit not in made]
        if missing:
            answer = await prepare_aside(rule_set, self._site.digest, missing, self._folder)
            if isinstance(answer, str):
                return answer
            for unit, data in answer.items():
                made[unit] = await self._taken_over(partial(kept.unpacked, unit, data))
        return made

    async def _taken_over(self, tables: Callable[[], T]) -> T:
        began_s = time.perf_counter()
        taken = tables()
        self.pause_ms_max = max(self.pause_ms_max, (time.perf_counter() - began_s) * 1e3)
        await asyncio.sleep(0)
        return taken

    async def follow(self, on_failure: Callable[[BaseException], None]) -> None:
        """Make ready whatever is published from now on; until cancelled."""
        reader = await self._bus.reader([RULE_SETS.name])
        try:
            while True:
                found: dict[str, RuleSet] = {}
                for record in await reader.read(_READ_S):
                    note_rule_set(record, found)
                new = [digest for digest in found if digest not in self._known]
                self._known.update(found)
                for digest in new:
                    await self.prepare(digest)
        except Exception as error:
            on_failure(error)
        finally:
            await reader.close()


async def prepared_rules(context: RoleContext) -> PreparedRules:
    """With the newest rule set of the log, or the folder's where the log has none that is believed and of this site."""
    site, tables = context.site, context.settings.run_dir / FOLDER
    known = await _published(context.bus)
    newest = newest_believed(known, site)
    if newest is not None:
        if newest.site_digest == site.digest:
            try:
                return PreparedRules(context.bus, site, newest, tables, known)
            except ConfigurationError as error:
                log.error("the newest rule set of the log can't be read any more: %s", error)
        else:
            log.warning("the newest rule set of the log is for another site file than %s", context.site_dir)
    folder = rule_set_of(context.site_dir, site)
    return PreparedRules(context.bus, site, folder, tables, known)


async def _published(bus: Bus) -> dict[str, RuleSet]:
    try:
        return await published_rule_sets(bus)
    except UnreachableError as error:
        log.warning("%s; beginning with the rules of the folder", error)
        return {}
