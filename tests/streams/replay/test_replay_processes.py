"""However many processes share the units of a recording, the answer is the same to the byte."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing import resource_tracker, util
from pathlib import Path

import orjson
import pytest

from gateways.cli.main import run_app
from gateways.cli.replay import as_dict
from rules.errors import UnreachableError
from streams.record import Record, header
from streams.recording.recording import Recording
from streams.replay import processes
from streams.replay.inputs import Watch
from streams.replay.processes import AHEAD_NS, Work, jobs_for, shares_of, side_by_side
from streams.replay.replay import replay
from streams.replay.replayed import Replay
from streams.replay.rules import choose_site
from streams.replay.start import WHOLE, Part, Share
from streams.topics import ALARMS, EVENTS, JOURNAL, partition_of
from tests.streams.replay.many_units import FIRST, LIVE_PARTITIONS, T0, S, write
from tests.streams.replay.many_workers import live


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """What eight units and their workers wrote in two minutes: facts, other rules, snapshots, garbage."""
    records = asyncio.run(live(tmp_path_factory.mktemp("lived")))
    unknown = next(one for one in records if header(one.headers, "schema") == b"frame/1")
    of_partition = [one for one in records if (one.topic, one.partition) == (EVENTS.name, unknown.partition)]
    at_ms = records[-1].timestamp_ms
    return [
        *records,
        replace(unknown, key=b"elsewhere", offset=of_partition[-1].offset + 1, timestamp_ms=at_ms),
    ]


def without(records: Sequence[Record], begin: float, end: float) -> list[Record]:
    """A hole in `events` from one part of the log to another."""
    low, high = int(begin * len(records)), int(end * len(records))
    return [one for n, one in enumerate(records) if not (low <= n < high and one.topic == EVENTS.name)]


def tampered(records: Sequence[Record], topic: str, number: int) -> list[Record]:
    """One output says another message, and one is there twice, with two contents."""
    found = [n for n, one in enumerate(records) if one.topic == topic]
    changed = list(records)
    for place in (found[number], found[-1]):
        body = orjson.loads(records[place].value or b"")
        body["body"]["rule"] = "another"
        changed[place] = replace(records[place], value=orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
    return changed


def facts_tampered(records: Sequence[Record]) -> list[Record]:
    """Some of what the hall has told the rows, and they it, is not what their replay tells."""
    facts = [n for n, one in enumerate(records) if header(one.headers, "schema") == b"fact/1"]
    changed = list(records)
    for place in facts[len(facts) // 2 :: 7]:
        body = orjson.loads(records[place].value or b"")
        body["body"]["value"] += 1
        changed[place] = replace(records[place], value=orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
    return changed


def behind(records: Sequence[Record], unit: str) -> list[Record]:
    """The recorder was behind on a partition's inputs, before their rules changed, and not on what was said."""
    partition = partition_of(unit, LIVE_PARTITIONS)
    own = {n for n, one in enumerate(records) if one.topic == EVENTS.name and one.partition == partition}
    changes = [n for n in own if header(records[n].headers, "schema") == b"activation/1"]
    return [one for n, one in enumerate(records) if n not in own or n < changes[-1]]


CASES: dict[str, Callable[[list[Record]], list[Record]]] = {
    "whole": lambda records: records,
    "a difference": lambda records: tampered(records, ALARMS.name, 20),
    "a later difference": lambda records: tampered(records, JOURNAL.name, -30),
    "facts differ": facts_tampered,
    "lost inputs": lambda records: without(records, 0.6, 0.61),
    "lost inputs and a difference": lambda records: tampered(without(records, 0.8, 0.9), ALARMS.name, 3),
    "an end before other rules": lambda records: behind(records, "row-k"),
    "outputs of some": lambda records: [
        one for one in records if one.topic != ALARMS.name or b"row-a" in (one.key or b"")
    ],
    "no outputs": lambda records: [one for one in records if one.topic == EVENTS.name],
}
PARTS = {
    "begin and end": Part(T0 + 50 * S, T0 + 70 * S),
    "two units": Part(units=("row-f", "hall")),
    "three units from a moment": Part(T0 + 70 * S, None, ("row-f", "hall", "row-b")),
}
ASKED = [
    *((case, "all", WHOLE) for case in CASES),
    *((case, name, part) for case in ("whole", "facts differ") for name, part in PARTS.items()),
]


def serially(
    work: Work[object], recordings: Sequence[Recording], shares: Sequence[Share], watch: Watch | None
) -> list[object]:
    """As the processes do it, without their starts."""
    return [
        pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(work))(recordings, one, watch))) for one in shares
    ]


def answer(path: Path, part: Part = WHOLE, watch: Watch | None = None, jobs: int = 1) -> tuple[Replay, bytes]:
    recording = Recording(path)
    found = replay([recording], choose_site(recording, None, None), True, part, watch, jobs=jobs)
    return found, orjson.dumps(as_dict(found))


@pytest.mark.parametrize(
    ("case", "part"), [(case, part) for case, _, part in ASKED], ids=[f"{a}, {b}" for a, b, _ in ASKED]
)
def test_shares_say_together_what_the_whole_says(
    case: str, part: Part, lived: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.mcap"
    write(path, CASES[case](lived))
    whole, expected = answer(path, part)
    assert whole.counter("inputs") > 100
    found = whole.verification
    assert (found is None) == (case == "no outputs")
    if found is not None:
        assert found.compared > 10
        assert (found.differences > 0) == ("differ" in case)
        assert (found.not_compared > 0) == ("lost" in case)
    assert bool(whole.begins) == bool(part.from_ns)
    assert ("unknown-unit" in whole.undecodable) == (part.to_ns is None)
    monkeypatch.setattr("streams.replay.replay.side_by_side", serially)
    for jobs in (2, 5):
        assert answer(path, part, jobs=jobs)[1] == expected


@pytest.fixture
def run(lived: list[Record], tmp_path: Path) -> Path:
    path = tmp_path / "run.mcap"
    write(path, tampered(lived, ALARMS.name, 20))
    return path


@pytest.mark.parametrize("jobs", ["2", "3"])
def test_the_command_prints_the_same_bytes(
    run: Path, jobs: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    one = run_app(["replay", str(run), "--json", "--jobs", "1"]), capfdbinary.readouterr().out
    several = run_app(["replay", str(run), "--json", "--jobs", jobs]), capfdbinary.readouterr().out
    assert several == one
    assert one[0] == 1


@pytest.mark.parametrize("jobs", [2, 3])
def test_an_end_that_is_asked_for_is_the_same_record_for_all(run: Path, jobs: int) -> None:
    asked_ns = T0 + 30 * S
    ended, said = answer(run, watch=lambda event_ns: event_ns < asked_ns, jobs=jobs)
    assert ended.is_partial
    # the first process may have been ahead of the slowest, and ends behind where anyone may have been
    assert asked_ns <= ended.now_ns < asked_ns + 2 * AHEAD_NS
    shorter, expected = answer(run, watch=lambda event_ns: event_ns <= ended.now_ns)
    assert shorter.is_partial
    assert said == expected


def ends_itself(_recordings: Sequence[Recording], share: Share, watch: Watch | None) -> None:
    """The first share goes on for as long as it may; the second one's process is killed."""
    if not share.is_first:
        os.kill(os.getpid(), signal.SIGKILL)
    assert watch is not None
    for second in range(1, 10**9):
        watch(second * S)


def fails(_recordings: Sequence[Recording], share: Share, _watch: Watch | None) -> None:
    """A fault of our own in the second process."""
    if not share.is_first:
        raise ValueError("the second one")


@pytest.mark.parametrize(("work", "how"), [(ends_itself, "was ended by signal 9"), (fails, "has failed")])
def test_a_process_that_dies_is_an_error_at_once(work: Work[None], how: str) -> None:
    shares = [Share(frozenset("a")), Share(frozenset("b"), is_first=False)]
    with pytest.raises(UnreachableError, match=how):
        side_by_side(work, [], shares, None)


def goes_on(_recordings: Sequence[Recording], _share: Share, _watch: Watch | None, _much: bytes) -> None:
    """Work that takes more room than a pipe has."""


def test_a_process_that_dies_before_it_knows_its_work_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    resource_tracker.ensure_running()  # which is started in the same way
    start = util.spawnv_passfds

    def start_dead(path: bytes, arguments: Sequence[str], passed: Sequence[int]) -> int:
        pid = start(path, arguments, passed)
        os.kill(pid, signal.SIGKILL)
        return pid

    monkeypatch.setattr(util, "spawnv_passfds", start_dead)
    shares = [Share(frozenset("a")), Share(frozenset("b"), is_first=False)]
    with pytest.raises(UnreachableError, match="was ended by signal 9"):
        side_by_side(partial(goes_on, _much=bytes(1 << 20)), [], shares, None)


def hears_ctrl_c(_recordings: Sequence[Recording], _share: Share, _watch: Watch | None) -> bool:
    """Whether the process that has this share would be interrupted."""
    return signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_ctrl_c_is_for_the_first_process() -> None:
    shares = [Share(frozenset("a")), Share(frozenset("b"), is_first=False)]
    assert side_by_side(hears_ctrl_c, [], shares, None) == [True, False]


def test_none_is_far_ahead_of_the_slowest_nor_behind_the_end() -> None:
    reached = [0, T0, processes._NEVER_NS]
    heard: list[int] = []

    def pause() -> None:
        reached[1] += 5 * S  # meanwhile the other one reads on

    turns = processes._Turns(reached, 0, heard.append, pause)
    assert turns(T0 + 5 * S)
    assert heard == [T0]
    assert turns(T0 + 5 * S + S // 2)
    assert reached[0] == T0 + 5 * S  # it need not ask for that
    assert turns(T0 + 40 * S)
    assert reached[1] + AHEAD_NS >= T0 + 41 * S
    reached[2] = T0 + 45 * S
    assert turns(T0 + 44 * S)
    assert not turns(T0 + 45 * S)


def test_shares_weigh_about_the_same_and_none_is_empty() -> None:
    site = FIRST.load_site()
    for jobs in range(1, 12):
        shares = shares_of(site.units, site, jobs)
        assert len(shares) == min(jobs, len(site.units))
        assert sorted(unit for share in shares for unit in share.units) == sorted(site.units)
        assert [share.is_first for share in shares] == [True] + [False] * (len(shares) - 1)
        assert max(len(share.units) for share in shares) <= min(len(share.units) for share in shares) + 2


def test_a_small_recording_or_part_needs_no_second_process(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = [Recording(run)]
    assert jobs_for(recordings, WHOLE, None) == 1
    assert jobs_for(recordings, WHOLE, 7) == 7
    monkeypatch.setattr(processes, "LARGE_BYTES", run.stat().st_size // 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5})
    assert jobs_for(recordings, WHOLE, None) == 3
    assert jobs_for(recordings, Part(T0 + 20 * S, T0 + 60 * S), None) == 1
