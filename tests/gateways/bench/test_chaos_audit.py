"""What the audit of a chaotic run finds, on a log made by hand: each kind of wrong, and nothing where all is well."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateways.bench import chaos_audit
from gateways.bench.chaos_audit import SECOND_NS, TOPICS, audit
from rules.engine.inputs import Frame, Gap, Identity, Receipt
from rules.engine.outputs import Alarm, Command
from streams.wire import encode_input, encode_output

T0_NS = 1_800_000_000 * SECOND_NS
SUBSCRIPTION = "night"
FRAMES = 6


@dataclass(frozen=True)
class Stored:
    """A record as the audit's client gives it."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    offset: int = 0


@dataclass
class Run:
    """A log, the device's writes and what the receiver of notifications took."""

    log: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in TOPICS})
    writes: list[dict[str, Any]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def add(self, value: Any) -> None:
        is_input = isinstance(value, Frame | Gap | Receipt)
        message = encode_input(value, 1) if is_input else encode_output(value, 1)
        self.log[message.topic].append(Stored(message.key, message.value or b"", message.headers))

    def write(self, old: float, new: float, at_s: float) -> None:
        at_ns = T0_NS + round(at_s * SECOND_NS)
        self.writes.append({"at_ns": at_ns, "via": "opcua", "actuator": "V1.Sp", "old": old, "new": new})

    def findings(self) -> dict[str, int]:
        result = audit(self.log, self.writes, self.told, SUBSCRIPTION)
        return {kind: found["count"] for kind, found in result["findings"].items()}


def frame(sequence: int, at_s: int, epoch: int = 1, power_w: float = 500.0) -> Frame:
    return Frame(
        "row-a", Identity("nvml", epoch, sequence), T0_NS + at_s * SECOND_NS, "R01-T01",
        np.array([T0_NS + at_s * SECOND_NS]), np.array([1], np.uint16), np.full((1, 1, 24), power_w, np.float32),
        np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.int64),
    )  # fmt: skip


def gap(sequence: int, from_s: int, to_s: int, epoch: int = 2, reason: str = "restart") -> Gap:
    span = (T0_NS + from_s * SECOND_NS, T0_NS + to_s * SECOND_NS)
    return Gap("row-a", Identity("nvml", epoch, sequence), reason, *span, 4)


def command(number: int, value: float, at_s: int) -> Command:
    at_ns = T0_NS + at_s * SECOND_NS
    return Command(
        f"c{number}", "row-a", "r", "R01", "V1.Sp", value, "%", at_ns, at_ns + 10 * SECOND_NS, "why"
    )


def receipt(number: int, value: float, status: Any = "done") -> Receipt:
    return Receipt(
        "row-a", Identity("actuators", 1, number), f"c{number}", "V1.Sp", status, value, value, T0_NS
    )


def raised(number: int) -> Alarm:
    return Alarm(
        f"a{number}",
        "row-a",
        "r",
        f"R{number}",
        "high",
        "unacknowledged",
        f"a{number}",
        T0_NS,
        None,
        1.0,
        "m",
    )


@pytest.fixture
def run() -> Run:
    """A run in which nothing is wrong: one restart that says so, a repeat, and two commands that move a valve."""
    run = Run()
    for number in range(1, FRAMES + 1):
        run.add(frame(number, number))
    run.add(frame(FRAMES, FRAMES))
    run.add(gap(1, FRAMES, FRAMES + 8))
    run.add(frame(2, FRAMES + 9, epoch=2))
    for number, value in ((1, 55.0), (2, 65.0)):
        run.add(command(number, value, number))
        run.add(receipt(number, value))
        run.add(raised(number))
        run.told.append(f"{SUBSCRIPTION}/a{number}")
    run.write(60.0, 55.0, 1.1)
    run.write(55.0, 55.0, 1.2)
    run.write(55.0, 65.0, 2.1)
    return run


def test_a_run_in_which_nothing_is_wrong(run: Run) -> None:
    result = audit(run.log, run.writes, run.told, SUBSCRIPTION)
    assert result["findings"] == {}
    assert (result["lost"], result["duplicated_effects"], result["unexplained"]) == (0, 0, 0)
    assert result["sources"]["repeats"] == 1
    assert result["effects"] == {"changes": 2, "written_again": 1}


def test_the_last_word_of_a_source_that_sends_receipts_only_is_its_last_receipt(run: Run) -> None:
    run.add(Gap("row-a", Identity("actuators", 2, 1), "restart", T0_NS, T0_NS + 9 * SECOND_NS, 0))
    assert audit(run.log, run.writes, run.told, SUBSCRIPTION)["findings"] == {}


@pytest.mark.parametrize(("counted_s", "found"), [(3.0, 0), (20.0, 1)])
def test_a_watchdog_acts_in_a_silence_only(run: Run, counted_s: float, found: int) -> None:
    counted_ns, acted_ns = (T0_NS + round(at_s * SECOND_NS) for at_s in (counted_s, 30.0))
    run.writes.append({"at_ns": counted_ns, "via": "count", "source": "plant", "number": 7})
    run.writes.append({"at_ns": acted_ns, "via": "watchdog", "actuator": "V1.Sp", "old": None, "new": 60.0})
    result = audit(run.log, run.writes, run.told, SUBSCRIPTION)
    assert (result["unexplained"], result["watchdog_writes"]) == (found, 1)


def test_what_falls_back_in_a_silence_says_so_by_its_receipt(run: Run) -> None:
    at_ns = T0_NS + 30 * SECOND_NS
    own = Receipt(
        "row-a", Identity("actuators", 1, 3), "fallback:V1.Sp:7", "V1.Sp", "done", 60.0, 60.0, at_ns
    )
    run.add(own)
    run.add(command(3, 60.0, 29))
    run.add(dataclasses.replace(receipt(3, 60.0, "refused"), identity=Identity("actuators", 1, 4)))
    run.write(65.0, 60.0, 29.5)
    assert run.findings() == {}
    run.write(60.0, 65.0, 29.8)
    assert run.findings() == {"unexplained: a device was changed without a command": 1}


def without(topic: str, wrong: Callable[[Any], bool]) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        run.log[topic] = [record for record in run.log[topic] if not wrong(record)]

    return change


def is_gap(record: Any) -> bool:
    return ("schema", b"gap/1") in record.headers


def is_receipt_of_2(record: Any) -> bool:
    return b'"c2"' in record.value and ("schema", b"receipt/1") in record.headers


def garbled(run: Run) -> None:
    run.log["journal"].append(Stored(b"row-a", b"{", (("schema", b"entry/1"),)))


WRONG: dict[str, tuple[Callable[[Run], None], dict[str, int]]] = {
    "a frame is not on the log": (
        lambda run: run.log["events"].pop(2),
        {"lost: a sequence": 1},
    ),
    "a source starts again without a word": (
        without("events", is_gap),
        {"lost: a sequence": 1, "lost: a restart without a gap": 1, "lost: a pause without a gap": 1},
    ),
    "its word leaves out the time before it": (
        lambda run: (without("events", is_gap)(run), run.add(gap(1, FRAMES + 5, FRAMES + 8))),
        {"lost: time before a restart": 1, "lost: a pause without a gap": 1},
    ),
    "frames stop for a while and nobody says so": (
        lambda run: run.add(frame(3, FRAMES + 14, epoch=2)),
        {"lost: a pause without a gap": 1},
    ),
    "a sequence comes with another content": (
        lambda run: run.add(frame(3, 3, power_w=501.0)),
        {"unexplained: a sequence with two contents": 1},
    ),
    "a command without a receipt": (
        without("events", is_receipt_of_2),
        {"lost: a command without a receipt": 1},
    ),
    "two receipts that differ": (
        lambda run: run.add(dataclasses.replace(receipt(2, 65.0, "failed"), identity=Identity("actuators", 1, 3))),
        {"unexplained: two receipts of a command": 1},
    ),
    "a receipt of nothing": (
        lambda run: run.add(receipt(3, 65.0)),
        {"unexplained: a receipt without a command": 1},
    ),
    "a command written once more behind a later one": (
        lambda run: (run.write(65.0, 55.0, 2.5), run.write(55.0, 65.0, 2.6)),
        {"duplicated_effects: a command changed its device twice": 2},
    ),
    "a write that nobody asked for": (
        lambda run: run.write(65.0, 70.0, 3.0),
        {"unexplained: a device was changed without a command": 1},
    ),
    "a write long after its expiry": (
        lambda run: run.write(65.0, 55.0, 60.0),
        {"unexplained: a device was changed without a command": 1},
    ),
    "an alarm of which nobody was told": (
        lambda run: run.told.pop(),
        {"lost: a notification": 1},
    ),
    "a notification of nothing": (
        lambda run: run.told.append(f"{SUBSCRIPTION}/a9"),
        {"unexplained: a notification of nothing on the log": 1},
    ),
    "an output's id with another content": (
        lambda run: run.add(dataclasses.replace(command(1, 55.0, 1), reason="another")),
        {"unexplained: an id with two contents on commands": 1},
    ),
    "a record that can't be read": (garbled, {"unexplained: a record that can't be read": 1}),
    "a dead letter": (
        lambda run: run.log["dead-letters"].append(Stored(b"", b"", (("dead-letter-reason", b"json"),))),
        {"unexplained: a dead letter": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found_and_nothing_else(run: Run, name: str) -> None:
    change, expected = WRONG[name]
    change(run)
    assert run.findings() == expected


def test_the_audit_imports_nothing_of_headrace() -> None:
    text = Path(chaos_audit.__file__).read_text()
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) == {"aiokafka", "pyarrow"}
