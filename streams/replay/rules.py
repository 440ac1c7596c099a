"""The rules of a replay: those that the recording carries, those that its log activates, or others.

Rules: what an activation means is worked out from the recorded texts alone; rules that were given rule from end to end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from rules.engine.engine import Engine
from rules.engine.inputs import Activation, Input
from rules.engine.tables import Compiled, compile_unit
from rules.errors import HeadraceError
from rules.language.program import Program
from rules.site.model import Site
from streams.recording.recorded_site import published_rules, recorded_rules
from streams.recording.recording import Recording
from streams.rule_sets.rule_folder import load_program
from streams.rule_sets.rule_set import UNKNOWN, RuleSet
from streams.site_folder import SITE_FILE, load_site
from streams.snapshots import Snapshot


class Chosen(NamedTuple):
    """With what a recording is replayed. `recorded`: the rule set that it carries, None where others were given."""

    site: Site
    program: Program
    recorded: RuleSet | None = None


def choose_site(recording: Recording, site_dir: Path | None, rules: Path | None) -> Chosen:
    """The recorded site and rules, or those of `site_dir`, or other `rules` (a folder or file) for either."""
    if site_dir is not None:
        site = load_site(site_dir)
        return Chosen(site, load_program(site_dir, site, rules))
    recorded = recorded_rules(recording)
    site, program = recorded.load(f"{recording.path}:")
    if rules is not None:
        return Chosen(site, load_program(Path(), site, rules))
    return Chosen(site, program, recorded)


class ActivatedRules:
    """The rule sets that the log activates, as the recordings have them."""

    def __init__(self, recordings: Sequence[Recording], chosen: Chosen) -> None:
        self._recordings = recordings
        self._site = chosen.site
        self._program = chosen.program
        self._keeps = chosen.recorded is None
        self._first_digest = chosen.recorded.digest if chosen.recorded else ""
        self._compiled: dict[str, Compiled] = {}
        self._made: dict[str, dict[str, Compiled] | str] = {}

    def offer(self, inputs: Iterable[Input], engine: Engine) -> None:
        """What the activations among `inputs` mean to an engine."""
        for value in inputs:
            if isinstance(value, Activation) and not self._keeps and engine.lacks(value.rules_digest):
                made = self._meaning(value.rules_digest)
                engine.offer(value.rules_digest, made if isinstance(made, str) else made[value.unit])

    def _meaning(self, digest: str) -> dict[str, Compiled] | str:
        if digest not in self._made:
            rule_set = self._carried.get(digest) or self._published.get(digest)
            self._made[digest] = (
                UNKNOWN if rule_set is None else rule_set.compiled_for(self._site.digest, self._site.units)
            )
        return self._made[digest]

    @cached_property
    def _carried(self) -> dict[str, RuleSet]:
        """Those that recordings begin with: the segment of their publication may be long gone."""
        sets = (recorded_rules(one) for one in self._recordings if SITE_FILE in one.attachments)
        return {one.digest: one for one in sets}

    @cached_property
    def _published(self) -> dict[str, RuleSet]:
        return published_rules(self._recordings)

    def rules(self, unit: str) -> set[str]:
        """Ids of all rules that may have ruled."""
        offered = (made[unit] for made in self._made.values() if not isinstance(made, str))
        return {rule.id for compiled in offered for rule in compiled.rules}

    def engine(self, unit: str) -> Engine:
        """An empty one, with the rules that the replay begins with."""
        return Engine(self._first(unit), self._site, unit, self._first_digest)

    def restored(self, snapshot: Snapshot) -> Engine | None:
        """The engine of a snapshot, with the rules that ruled then or with those that were given."""
        rules, digest = self._first(snapshot.unit), self._first_digest
        if not self._keeps and snapshot.rules_digest not in ("", digest):
            digest = snapshot.rules_digest
            made = self._meaning(digest)
            if isinstance(made, str):
                return None
            rules = made[snapshot.unit]
        engine = Engine(rules, self._site, snapshot.unit, digest)
        try:
            engine.restore(snapshot.state)
        except HeadraceError:
            return None  # another version's
        return engine

    def _first(self, unit: str) -> Compiled:
        if unit not in self._compiled:
            self._compiled[unit] = compile_unit(self._program, self._site, self._site.units[unit])
        return self._compiled[unit]
