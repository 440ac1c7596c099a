"""The rules of a run, compiled once for all runs of a process: what the reference's engines begin with."""

from __future__ import annotations

from pathlib import Path

from rules.engine.engine import Engine
from rules.site.model import Site
from streams.rule_sets.kept_rules import FOLDER, KeptRules
from streams.rule_sets.rule_set import rule_set_of


class Rules:
    """`folder`: the run folder of the workers, where the tables are kept. Raises ConfigurationError."""

    def __init__(self, site_dir: Path, site: Site, folder: Path) -> None:
        self.folder = folder
        self._site = site
        first = rule_set_of(site_dir, site)
        kept = KeptRules(first, site, folder / FOLDER)
        self._digest = first.digest
        self._tables = {unit: kept.tables(unit) for unit in site.units}

    def new_engine(self, unit: str) -> Engine:
        """An undisturbed one, with the rules that every unit's log begins with."""
        return Engine(self._tables[unit], self._site, unit, self._digest)
