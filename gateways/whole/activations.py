"""Rule sets that a run activates, and the operator who does it.

Rules: `other` are the site's rules with their delays doubled and some files left out, `bad` has a finding; what each
means is worked out once, before any run. The operator does not wait until the workers are ready, as `headrace activate`
does: half of the time an activation comes before its rule set is, and the stream has to wait for it.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from unittest.mock import patch

from gateways.whole.process import Process
from rules.engine.tables import Compiled
from rules.errors import ConfigurationError, UnreachableError
from rules.site.model import Site
from streams.bus.bus import Bus
from streams.rule_sets import prepared_rules
from streams.rule_sets.kept_rules import FOLDER, KeptRules
from streams.rule_sets.rule_set import RuleSet, activation, rule_set_message, rule_set_of
from streams.site_folder import SITE_FILE
from streams.wire import encode_input

APART_S: Final = 0.1
"""Between two units, as `headrace activate` does it."""
PREPARE_S: Final = 2.0
"""What another process takes to come to know what a rule set means."""
_DELAY: Final = re.compile(r"(on_delay: )(\d+)( s)")


@dataclass(frozen=True, slots=True)
class RuleSets:
    """`sets` by name (`own`, `other`, `bad`); `meanings` by digest: tables by unit, or why it is refused."""

    sets: Mapping[str, RuleSet]
    meanings: Mapping[str, Mapping[str, Compiled] | str]

    @classmethod
    def of(cls, site_dir: Path, site: Site, run_dir: Path) -> RuleSets:
        """Tables are kept in `run_dir`, where workers find them. ConfigurationError where the rules are wrong."""
        sets = rule_sets_of(site_dir, site)
        meanings: dict[str, Mapping[str, Compiled] | str] = {}
        for name in ("own", "other"):
            kept = KeptRules(sets[name], site, run_dir / FOLDER)
            meanings[sets[name].digest] = {unit: kept.tables(unit) for unit in site.units}
        meanings[sets["bad"].digest] = sets["bad"].compiled_for(site.digest, ())
        return cls(sets, meanings)

    @contextmanager
    def offered(self) -> Iterator[None]:
        """Whoever has a rule set prepared within it asks no other process, and has an answer after `PREPARE_S`."""

        async def prepare(rule_set: RuleSet, *_: object) -> str:
            await asyncio.sleep(PREPARE_S)
            meaning = self.meanings[rule_set.digest]
            # tables are kept already: only what a refused one means is ever asked for
            assert isinstance(meaning, str)
            return meaning

        with patch.object(prepared_rules, "prepare_aside", prepare):
            yield


def rule_sets_of(site_dir: Path, site: Site) -> dict[str, RuleSet]:
    """By name. ConfigurationError where the site's own are wrong."""
    own = rule_set_of(site_dir, site)
    site_text, texts = {SITE_FILE: own.files[SITE_FILE]}, own.rule_texts
    slower = {name: _DELAY.sub(_doubled, text) for name, text in texts.items()}
    names = list(slower)
    other = RuleSet(site_text | {name: slower[name] for name in names if name not in names[1::3]})
    try:
        other.program(site)
    except ConfigurationError:  # what is left needs them
        other = RuleSet(site_text | slower)
    bad = RuleSet(site_text | texts | {"bad.yaml": "rules:\n  bad: {for: Nothing, when: nothing > 1}\n"})
    return {"own": own, "other": other, "bad": bad}


def _doubled(found: re.Match[str]) -> str:
    return f"{found[1]}{2 * int(found[2])}{found[3]}"


class Operator:
    """Activates rule sets; a broker that is away makes it give up, wherever it is."""

    def __init__(
        self, bus: Bus, site: Site, sets: Mapping[str, RuleSet], partitions: int, clock: Callable[[], int]
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._bus = bus
        self._site = site
        self._sets = sets
        self._partitions = partitions
        self._clock = clock

    def begin(self, name: str, after_s: float, length_s: float) -> None:
        """Publish a rule set, activate it after so many seconds, and the site's own `length_s` later."""
        Process("operator").run(partial(self._there_and_back, name, after_s, length_s))

    async def _there_and_back(self, name: str, after_s: float, length_s: float) -> None:
        await self._activate(self._sets[name], after_s)
        await asyncio.sleep(length_s)
        await self._activate(self._sets["own"], 0.0)

    async def _activate(self, rule_set: RuleSet, after_s: float) -> None:
        try:
            producer = await self._bus.producer("activate")
            await (await producer.send(rule_set_message(rule_set)))
            await asyncio.sleep(after_s)
            for unit in self._site.units:
                value = activation(self._site, unit, rule_set.digest, self._clock())
                await (await producer.send(encode_input(value, self._partitions)))
                await asyncio.sleep(APART_S)
        except UnreachableError:
            self.counts["activations given up"] += 1
