"""A log belongs to one site file: a worker whose site file is another one does not begin.

Rules that this module obeys (decision 0120):
- What a unit goes on from says whose it is: its last complete snapshot, or the rule set of its log's first activation.
  What nobody would go on from says nothing: one forged or torn record keeps no worker from beginning (decision 0125).
- Another site, by its name, is refused whatever the settings say. Another file of the same site is refused, unless
  `worker.replaces_site` names the one that is found; so that setting works once, and never on what it does not name.
- It is looked at before the worker joins its group, so that one that is refused takes nothing from another that works;
  and again unit by unit, as partitions may come from a worker of another file at any time.
"""

from __future__ import annotations

from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.site.model import Site
from streams.bus.bus import Bus
from streams.rule_sets.rule_set import RuleSet, published_rule_sets
from streams.site_folder import SITE_FILE
from streams.snapshots import last_snapshots, log_ids_of


class SiteOnLog:
    """Holds `site` against what the log says. `replaces`: `worker.replaces_site`, how a digest begins, or ""."""

    def __init__(self, bus: Bus, site: Site, replaces: str) -> None:
        self._bus = bus
        self._site = site
        self.replaces = replaces

    async def look(self) -> None:
        """Raises ConfigurationError where the log is another site file's. UnreachableError."""
        last = await last_snapshots(self._bus, await log_ids_of(self._bus))
        if not last:
            await self._look_at_rules()
        mine = [one for one in last if one.unit in self._site.units]
        # a unit that the site file has no more keeps the digest of its time
        for site_digest in {one.site_digest for one in mine or last}:
            await self.is_replaced(site_digest)

    async def _look_at_rules(self) -> None:
        """They are published before the first snapshot. What is put beside those of this site makes it no other's.

        Where the site file names a root key, what nobody has signed counts for nothing.
        """
        published = (await published_rule_sets(self._bus)).values()
        names = {_name_of(one): one.site_digest for one in published}
        if names and not self._site.root_key and not names.keys() & {"", self._site.name}:
            raise self._of_other_site(*names.popitem())

    async def is_replaced(self, site_digest: str) -> bool:
        """Whether the site file of a snapshot gives way to this one. Raises as `look` does."""
        if site_digest == self._site.digest:
            return False
        published = (await published_rule_sets(self._bus)).values()
        names = (_name_of(one) for one in published if one.site_digest == site_digest)
        return self._judge(site_digest, next(names, ""))

    async def is_replaced_at_beginning(self, rules_digest: str) -> bool:
        """The same of the first activation of a log; False where its rule set is not there. Raises as `look` does."""
        rule_set = (await published_rule_sets(self._bus)).get(rules_digest)
        if rule_set is None or rule_set.site_digest == self._site.digest:
            return False
        return self._judge(rule_set.site_digest, _name_of(rule_set))

    def _judge(self, digest: str, name: str) -> bool:
        if name not in ("", self._site.name):
            raise self._of_other_site(name, digest)
        if self.replaces and digest.startswith(self.replaces):
            return True
        raise _refusal(
            f"site file {digest[:12]} of '{name or '?'}' rules on this log, and this one is {self._site.digest[:12]}",
            "start with the file that rules there; to change it on purpose, set "
            f'worker.replaces_site to "{digest[:12]}" (docs/operations.md, Change the site file)',
        )

    def _of_other_site(self, name: str, digest: str) -> ConfigurationError:
        return _refusal(
            f"this log is of site '{name}' (site file {digest[:12]}), "
            f"and this is site '{self._site.name}' ({self._site.digest[:12]})",
            f"start with the folder of '{name}', or give '{self._site.name}' a log of its own (broker.bootstrap)",
        )


def _refusal(text: str, hint: str) -> ConfigurationError:
    return ConfigurationError([Finding(SITE_FILE, 0, 0, text, hint)])


def _name_of(rule_set: RuleSet) -> str:
    """The name of its site; "" where this version can't read it."""
    try:
        return rule_set.load_site().name
    except ConfigurationError:
        return ""
