"""What the roles of the simulation read and write is what the table of rights says, no more and no less."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateways.whole import whole
from gateways.whole.bus import FaultyBus, Network
from gateways.whole.process import PROCESS
from gateways.whole.run import Simulator
from gateways.whole.schedule import Trouble, instances, targets
from rules.site.model import Site
from streams.bus.memory import MemoryBus
from streams.rights import RIGHTS, WORKER_GROUP
from streams.site_folder import load_site
from streams.topics import DEAD_LETTERS, RULE_SETS, SNAPSHOTS, STATUS
from streams.worker import role as worker
from tests.support.noted_bus import NotedBus, Used, check_rights, nothing_used

SITE_DIR = Path(__file__).parents[3] / "examples" / "narvik-small"
DURATION_S = 90.0
ROLES = ("opcua", "plant", "ticker", "worker", "actuators", "recorder", "operator")
NOT_IN_THIS_RUN = {
    ("worker", DEAD_LETTERS.name),
    ("actuators", DEAD_LETTERS.name),
    ("recorder", SNAPSHOTS.name),  # it gives an id to a log that has none
}


def role_of(name: str, site: Site) -> str:
    """The role of a process of the simulation: gateways have the names of their sources."""
    known = [role for role in RIGHTS if name in {role, f"{role}-2"}]
    if known:
        return known[0]
    return "opcua" if name in site.sources and site.sources[name].kind == "opcua" else "plant"


@pytest.mark.usefixtures("_quiet")
def test_roles_do_what_the_table_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = nothing_used()
    site = load_site(SITE_DIR)

    def who() -> str:
        process = PROCESS.get()
        return "operator" if process is None else role_of(process.name, site)

    def noted(log: MemoryBus, network: Network) -> NotedBus:
        return NotedBus(FaultyBus(log, network), used, who)

    monkeypatch.setattr(whole, "FaultyBus", noted)
    seed = next(seed for seed in range(1, 50) if "recorder" in instances(seed, site))
    trip = next(one for one in targets(seed, site)["plant"] if one.startswith("pump_trip"))
    troubles = [Trouble("plant", trip, 20.0, 60.0), Trouble("activate", "other", 30.0, 1.0)]
    outcome = Simulator(SITE_DIR, site, tmp_path).run(seed, DURATION_S, troubles)
    assert not outcome.broken
    for role in ROLES:
        check(role, used)


def check(role: str, used: Used) -> None:
    check_rights(role, used)
    rights = RIGHTS[role]
    reads, writes = {topic.name for topic in rights.reads}, {topic.name for topic in rights.writes}
    if role == "operator":
        return  # the simulation's only activates
    assert reads <= used[role, "reads"] | used[role, "asks"], f"{role} has rights that it does not need"
    never = {topic for one, topic in NOT_IN_THIS_RUN if one == role} | {STATUS.name}  # said outside of roles
    assert writes - never <= used[role, "writes"], f"{role} has rights that it does not need"


def test_the_group_is_the_worker_s() -> None:
    assert WORKER_GROUP == worker.GROUP
    assert RULE_SETS in RIGHTS["worker"].writes, "where the log has no rules yet, it publishes its folder's"
