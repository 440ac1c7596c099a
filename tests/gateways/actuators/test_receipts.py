"""Which receipts are safe, in which order, and what becomes of those that a publisher does not take."""

from __future__ import annotations

import sqlite3
from typing import Any

from gateways.actuators.outcome import Outcome
from gateways.actuators.receipts import Receipts
from rules.engine.outputs import Command


class Publisher:
    """Counts as the publisher does; what it is handed goes to the log, or to the spool where `spools`."""

    def __init__(self) -> None:
        self.metrics: dict[str, Any] = {"spooled": 0, "unsent": 0, "units": {}}
        self.spools = self.is_full = False
        self.taken: list[str] = []

    def publish_receipt(self, unit: str, command: str, *_: object) -> None:
        if self.is_full:
            raise sqlite3.OperationalError("database or disk is full")
        self.taken.append(command)
        if self.spools:
            self.metrics["spooled"] += 1
        else:
            counts = self.metrics["units"].setdefault(unit, {"accepted": 0, "acknowledged": 0})
            counts["accepted"] += 1

    def acknowledge(self, unit: str, sequence: int) -> None:
        self.metrics["units"][unit]["acknowledged"] = sequence


def receipts_to(publisher: Any) -> Receipts:
    return Receipts(publisher)


def say(receipts: Receipts, name: str, actuator: str = "P1", unit: str = "row-a") -> None:
    command = Command(name, unit, "rule", "P1", actuator, 50.0, "percent", 1, 2, "test")
    receipts.say(command, Outcome("done", 50.0), 3, name)


def test_a_receipt_on_disk_is_not_safe_before_an_older_one_of_its_actuator_is() -> None:
    publisher = Publisher()
    receipts = receipts_to(publisher)
    say(receipts, "older")
    publisher.spools = True
    say(receipts, "newer")
    say(receipts, "another", actuator="P2")
    assert receipts.safe() == ["another"]
    publisher.acknowledge("row-a", 1)
    assert receipts.safe() == ["older", "newer", "another"]
    receipts.told(["older"])
    assert receipts.safe() == ["newer", "another"]


def test_what_a_closed_publisher_took_is_safe_and_what_it_did_not_take_is_not() -> None:
    publisher = Publisher()
    receipts = receipts_to(publisher)
    say(receipts, "taken")
    publisher.is_full = True
    say(receipts, "waits")
    assert receipts.safe(everything=True) == ["taken"]


def test_what_a_closed_publisher_could_leave_nowhere_is_not_safe() -> None:
    publisher = Publisher()
    receipts = receipts_to(publisher)
    for name in ("arrived", "left"):
        say(receipts, name)
    publisher.acknowledge("row-a", 1)
    publisher.metrics["unsent"] = 1
    assert receipts.safe(everything=True) == ["arrived"]


def test_what_a_full_disk_refuses_is_handed_over_again_in_order() -> None:
    publisher = Publisher()
    receipts = receipts_to(publisher)
    publisher.is_full = True
    say(receipts, "first")
    publisher.is_full = False
    say(receipts, "second")
    assert publisher.taken == ["first", "second"]


def test_receipts_wait_for_a_publisher() -> None:
    receipts = Receipts()
    say(receipts, "early")
    assert receipts.safe() == []
    publisher: Any = Publisher()
    receipts.carry(publisher)
    assert publisher.taken == ["early"]


def test_a_unit_without_counts() -> None:
    publisher = Publisher()
    publisher.publish_receipt = lambda *_: None  # type: ignore[method-assign] # too long for the log
    receipts = receipts_to(publisher)
    say(receipts, "long")
    assert receipts.safe() == ["long"]
