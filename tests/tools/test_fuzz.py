"""A short run over what is quick to try, and the runner itself: what it calls a finding."""

from __future__ import annotations

import faulthandler
import os
import random
from pathlib import Path

import pytest

from tools.fuzz.mutate import of_json
from tools.fuzz.runner import Case, run_target
from tools.fuzz.targets import TARGETS

QUICK = {
    "wire-inputs": 1500, "wire-heads": 500, "wire-outputs": 800, "engine": 400, "expressions": 400, "yaml": 60, "site": 30, "rules": 60,
    "subscriptions": 40, "users": 60, "settings": 40, "maps": 30, "recordings": 150, "recording-check": 100, "webhook": 60,
    "claims": 150, "rule-sets": 30, "snapshots": 150, "marks": 100, "statuses": 400, "journal-lines": 150, "journal-csv": 60, "journal-parquet": 60,
}  # fmt: skip


def case(run: object) -> Case:
    return Case(lambda rng: rng.choice((b"good", b"bad")), run, (KeyError,))  # type: ignore[arg-type]


@pytest.mark.parametrize("target", QUICK)
def test_wrong_input_is_refused_and_nothing_else(target: str, tmp_path: Path) -> None:
    outcome = run_target(target, TARGETS[target], 5, QUICK[target], tmp_path)
    assert outcome.inputs == QUICK[target]
    assert outcome.findings == []


def declared(data: bytes) -> None:
    if data == b"bad":
        raise KeyError(data)


def undeclared(data: bytes) -> None:
    if data == b"bad":
        raise IndexError(data)


def dies(data: bytes) -> None:
    if data == b"bad":
        faulthandler.disable()  # its words would look like those of a real crash
        os.abort()


def grows(data: bytes) -> None:
    if data == b"bad":
        assert len(bytearray(b"x" * (200 << 20)))


@pytest.mark.parametrize(
    ("run", "finding"),
    [
        (declared, ""),
        (undeclared, "IndexError"),
        (dies, "died of signal 6"),
        (grows, "memory: the peak rose"),
    ],
)
def test_what_is_a_finding(run: object, finding: str, tmp_path: Path) -> None:
    outcome = run_target("b", lambda _: case(run), 1, 8, tmp_path / "found")
    assert outcome.inputs == 8
    found = [one["what"] for one in outcome.findings]
    if finding:
        assert all(what.startswith(finding) for what in found)
        assert found
        assert Path(outcome.findings[0]["input"]).read_bytes() == b"bad"
    else:
        assert not found
        assert 0 < outcome.refused < 8


def test_an_input_has_a_number_and_is_the_same_again() -> None:
    make = of_json([b'{"a":[1,{"b":"x"}],"c":null}'])
    first = [make(random.Random(str(number))) for number in range(50)]
    assert first == [make(random.Random(str(number))) for number in range(50)]
    assert len(set(first)) > 30
