"""One run of the whole from a seed, and what it came to.

Rules: all that is random is drawn from the seed before the run begins; the log's digest says whether two runs were the
same.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateways.whole.activations import RuleSets
from gateways.whole.disk import Disk
from gateways.whole.loop import VirtualLoop, guarded
from gateways.whole.process import task_factory
from gateways.whole.reference import Steps, undisturbed_engines
from gateways.whole.schedule import Trouble, draw, instances
from gateways.whole.whole import Setting, Whole
from rules.site.model import Site


@dataclass(slots=True)
class Outcome:
    """What a run came to. `broken`: what does not hold, empty for a good one; `cpu_s`: of this process."""

    seed: int
    troubles: Sequence[Trouble]
    simulated_s: float
    broken: list[str] = field(default_factory=list)
    digest: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    cpu_s: float = 0.0


class Simulator:
    """Runs of one site; what is the same for all of them (rule tables) is made once, in `folder`.

    `undisturbed` makes the engines that the workers are held against, by unit; the production engine where it is left
    out. Raises ConfigurationError where the site or its rules are wrong.
    """

    def __init__(
        self, site_dir: Path, site: Site, folder: Path, undisturbed: Callable[[str], Steps] | None = None
    ) -> None:
        self._site_dir = site_dir
        self._site = site
        self._folder = folder
        self._tables = folder / "workers"
        self._rules = RuleSets.of(site_dir, site, self._tables)
        self._undisturbed = undisturbed or undisturbed_engines(site, self._rules)

    def run(self, seed: int, duration_s: float, troubles: Sequence[Trouble] | None = None) -> Outcome:
        """`troubles`: in place of those that the seed gives. Raises what the simulation itself fails with."""
        began_s = time.process_time()
        drawn = draw(seed, self._site, duration_s) if troubles is None else tuple(troubles)
        folder = self._folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        disk = Disk()
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            loop: Any = runner.get_loop()
            loop.set_task_factory(task_factory)
            with disk.mounted(), self._rules.offered(), guarded():
                names = instances(seed, self._site)
                setting = Setting(
                    self._site_dir, self._site, self._tables, folder, self._rules, self._undisturbed
                )
                whole = Whole(setting, seed, names, disk, loop)
                broken = runner.run(whole.run(duration_s, drawn))
        broken += whole.recording()
        outcome = Outcome(seed, drawn, duration_s, broken, whole.reference.digest(), whole.counts())
        outcome.cpu_s = time.process_time() - began_s
        return outcome

    def reduced(self, outcome: Outcome) -> Outcome:
        """The same failure with as few troubles as leaving them out, half by half and then one by one, comes to."""
        best, size = outcome, max(1, len(outcome.troubles) // 2)
        while size:
            start = 0
            while start < len(best.troubles):
                fewer = [*best.troubles[:start], *best.troubles[start + size :]]
                tried = self.run(outcome.seed, outcome.simulated_s, fewer)
                if tried.broken:
                    best = tried
                else:
                    start += size
            size //= 2
        return best
