"""What a new rule set costs a running worker: making it ready in another process, taking it over, its activation.

Rules: the set is made ready as the worker does it, process included, for all units of the site; the engine that takes
it up has state from seconds of frames.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from gateways.bench.kernel_load import shares
from gateways.bench.kernel_parts import many_rules, program_of
from rules.engine.inputs import Activation, Identity
from streams.rule_sets.kept_rules import KeptTables
from streams.rule_sets.prepare_rules import prepare_aside
from streams.rule_sets.rule_set import RuleSet
from streams.site_folder import SITE_FILE, load_site, read_site_text

RULES: Final = 300
PASSES: Final = 7


def activation(site_dir: Path) -> dict[str, Any]:
    """300 rules a GPU that mean the same: all state goes over. Seconds to get ready, ms that the stream waits."""
    site = load_site(site_dir)
    text = many_rules(RULES)
    files = {SITE_FILE: read_site_text(site_dir)[0], "rules/bench.yaml": text + "# another digest\n"}
    rule_set = RuleSet(files)
    with TemporaryDirectory() as folder:
        kept = KeptTables(rule_set.digest, Path(folder))
        begun_s = time.perf_counter()
        answer = asyncio.run(prepare_aside(rule_set, site.digest, list(site.units), Path(folder)))
        ready_s = time.perf_counter() - begun_s
    if isinstance(answer, str):
        raise AssertionError(answer)
    share = shares(site, program_of(text, site), max(len(unit.gpus) for unit in site.units.values()))[0]
    engine = share.engine
    data = answer[engine.unit.id]
    over_ms: list[float] = []
    pause_ms: list[float] = []
    for number in range(PASSES):
        engine.step(share.next_second())
        begun_s = time.perf_counter()
        rules = kept.unpacked(engine.unit.id, data)
        over_ms.append((time.perf_counter() - begun_s) * 1e3)
        digest = str(number)
        engine.offer(digest, rules)
        value = Activation(engine.unit.id, Identity("activation", 1, number + 1), site.digest, digest)
        begun_s = time.perf_counter()
        engine.step([value])
        pause_ms.append((time.perf_counter() - begun_s) * 1e3)
    return {
        "activation_rules": RULES,
        "activation_gpus": len(engine.unit.gpus),
        "activation_ready_s": round(ready_s, 1),
        "activation_take_over_ms": round(median(over_ms), 1),
        "activation_pause_ms": round(median(pause_ms), 1),
    }
