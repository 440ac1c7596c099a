"""The tables of a rule set, kept on disk, so that a process that starts again need not work them out again.

Rules: they are kept under a digest of the rule set's texts and of the code of `rules/`, and hold for both only; what is
damaged, or of something else, is made anew, and said; where nothing can be written, that is said, and all goes on
without. Tables are there only for rule sets that have no finding.

Layout: `FOLDER/DIGEST/UNIT.tables`, written beside and renamed; the last few digests stay.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Final

import rules
from rules.engine import kept_tables
from rules.engine.packed import PackedError
from rules.engine.tables import Compiled, compile_unit
from rules.language.program import Program
from rules.site.model import Site
from streams.rule_sets.rule_set import RuleSet

log = logging.getLogger("headrace.rules")

FOLDER: Final = "tables"
"""Below the run folder."""
KEPT: Final = 5
"""Digests: the rules that rule, the next, and those that a worker without a snapshot may come across in the log."""


class KeptTables:
    """What `folder` has of a rule set, by unit."""

    def __init__(self, rules_digest: str, folder: Path) -> None:
        key = hashlib.sha256(f"{rules_digest} {code_digest()}".encode()).hexdigest()
        self._key = {"rules": rules_digest, "code": code_digest()}
        self._folder = folder / key[:32]
        self._writes = True

    def __bool__(self) -> bool:
        return any(self._folder.glob("*.tables"))

    def read(self, unit: str) -> Compiled | None:
        """Those of one unit, if they are there and whole."""
        path = self._path(unit)
        try:
            return self.unpacked(unit, path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, PackedError) as error:
            log.warning("%s: %s; the tables are made anew", path, error)
            return None

    def packed(self, unit: str, made: Compiled) -> bytes:
        """As they are kept."""
        return kept_tables.pack(made, self._of(unit))

    def unpacked(self, unit: str, data: bytes) -> Compiled:
        """What `packed` gave. Raises PackedError."""
        return kept_tables.unpack(bytearray(data), self._of(unit))

    def keep(self, unit: str, data: bytes) -> None:
        """For the next start. Where nothing can be written, that is said once."""
        if not self._writes:
            return
        path = self._path(unit)
        beside = path.with_suffix(f".{os.getpid()}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(data)
            beside.replace(path)
        except OSError as error:
            self._writes = False
            log.warning("%s: %s; every start has to make the tables of the rules anew", path, error.strerror)
            return
        for old in self._too_old():
            shutil.rmtree(old, ignore_errors=True)

    def _too_old(self) -> list[Path]:
        def changed_s(folder: Path) -> float:
            with contextlib.suppress(FileNotFoundError):  # another process has removed it
                return folder.stat().st_mtime
            return 0.0

        return sorted(self._folder.parent.iterdir(), key=changed_s)[:-KEPT]

    def _path(self, unit: str) -> Path:
        return self._folder / f"{unit}.tables"

    def _of(self, unit: str) -> dict[str, str]:
        return {**self._key, "unit": unit}


class KeptRules:
    """The tables of a rule set for the units of a site, from `folder` or made and kept there.

    `made`: units whose tables had to be made. Raises ConfigurationError, as `RuleSet.load` does.
    """

    def __init__(self, rule_set: RuleSet, site: Site, folder: Path) -> None:
        self._rule_set = rule_set
        self._site = site
        self._kept = KeptTables(rule_set.digest, folder)
        self._program: Program | None = None
        self.made: list[str] = []
        if not self._kept:
            self._loaded()

    def tables(self, unit: str) -> Compiled:
        """Of one unit."""
        kept = self._kept.read(unit)
        if kept is not None:
            return kept
        self.made.append(unit)
        made = compile_unit(self._loaded(), self._site, self._site.units[unit])
        self._kept.keep(unit, self._kept.packed(unit, made))
        return made

    def _loaded(self) -> Program:
        if self._program is None:
            self._program = self._rule_set.program(self._site)
        return self._program


@cache
def code_digest() -> str:
    """SHA-256 of the code that makes tables of rules: whatever is changed in it, none are taken over."""
    digest = hashlib.sha256()
    for path in sorted(Path(rules.__file__).parent.rglob("*.py")):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()
