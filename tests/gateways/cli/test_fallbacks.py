"""What `headrace doctor` finds of actuators in their fallback: in this machine's file, else in the roles' words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateways.actuators.fallback_store import FILE, FallbackStore, Held
from gateways.cli import doctor, fallbacks
from tests.gateways.observability.filled import status

SINCE_NS = 1_800_000_000_000_000_000


def said(kind: str, metrics: dict[str, Any]) -> Any:
    """Of an instance that is called after its pod."""
    return status(kind, metrics) | {"role": f"headrace-{kind}-0"}


def test_this_machines_own_file_knows(tmp_path: Path) -> None:
    store = FallbackStore(tmp_path / FILE)
    names = [f"P{number}.PumpSpeed" for number in range(7)]
    store.save([Held(name, SINCE_NS, SINCE_NS + 1, "worker", "done") for name in names])
    found = fallbacks.in_fallback(tmp_path, {})
    store.close()
    assert found is not None
    assert found.startswith("7 in their fallback since 2027-01-15T08:00:00Z (silent: worker): P0.PumpSpeed, ")
    assert found.endswith("P4.PumpSpeed and 2 more")
    assert doctor._actuators(found).word == "warning"


def test_one_that_is_over_is_none(tmp_path: Path) -> None:
    store = FallbackStore(tmp_path / FILE)
    store.save([Held("P1.PumpSpeed", 1, 2, "log")])
    store.save([], ["P1.PumpSpeed"])
    store.close()
    assert fallbacks.in_fallback(tmp_path, {}) == ""
    assert doctor._actuators("").found == "none is in its fallback"


def test_else_the_roles_say_it(tmp_path: Path) -> None:
    held = {"actuators": 1, "names": ["P1.PumpSpeed"], "since_ns": SINCE_NS, "part": "ticker"}
    others = {"a": said("worker", {"fallback": held}), "b": said("actuators", {"fallback": 3})}
    words = others | {"headrace-actuators-0": said("actuators", {"fallback": held})}
    found = fallbacks.in_fallback(tmp_path, words)
    assert found == "1 in their fallback since 2027-01-15T08:00:00Z (silent: ticker): P1.PumpSpeed"
    none = said("actuators", {"fallback": held | {"actuators": 0}})
    assert fallbacks.in_fallback(tmp_path, others | {"c": none}) == ""
    assert fallbacks.in_fallback(tmp_path, others) is None
    earlier = said(
        "actuators", {"fallback": held | {"names": ["P2.PumpSpeed"], "since_ns": SINCE_NS - 10**9}}
    )
    found = fallbacks.in_fallback(tmp_path, words | {"c": none, "d": earlier})
    assert found is not None
    assert found.startswith("2 in their fallback since 2027-01-15T07:59:59Z (silent: ticker): ")
    assert found.count(".PumpSpeed") == 2
