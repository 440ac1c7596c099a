"""Candidates of one rule, side by side on a small recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rules.engine.inputs import Gap, Identity
from rules.language.candidates import rule_alone
from rules.language.program import Program
from rules.site.model import Site
from streams.compare.episodes import Episode
from streams.compare.sweep import Candidate, Swept, every_choice, make_candidate, side_by_side
from streams.compare.sweep_processes import cut_off, sweep
from streams.record import Record
from streams.recording.recording import Recording
from streams.rule_sets.rule_folder import rule_texts
from streams.site_folder import load_site
from streams.wire import encode_input
from tests.streams.replay.conftest import T0, S

Written = Callable[[list[Record]], Path]
Made = tuple[Path, list[Record]]


@pytest.fixture
def small(made: Made, written: Written) -> tuple[Site, list[Recording], dict[str, str]]:
    site = load_site(made[0])
    return site, [Recording(written(made[1]))], rule_texts(made[0], site)


def candidates(site: Site, texts: dict[str, str], **choices: list[str]) -> list[Candidate]:
    alone = rule_alone(texts, "pump-slow")
    return [make_candidate(alone, values, site) for values in every_choice(choices)]


def program_of(site: Site, found: list[Candidate]) -> Program:
    return side_by_side([one.rule for one in found if one.rule is not None], site)


def raised(swept: Swept) -> list[list[tuple[str, int, int | None]]]:
    return [
        [
            (one.asset, (one.raised_ns - T0) // S, one.cleared_ns and (one.cleared_ns - T0) // S)
            for one in episodes
        ]
        for episodes in swept.episodes
    ]


def test_choices_are_a_product_with_the_last_fastest() -> None:
    found = list(every_choice({"limit": ["1 %", "2 %"], "on_delay": ["0 s", "1 s"]}))
    assert found[1] == {"limit": "1 %", "on_delay": "1 s"}
    assert [one["limit"] for one in found] == ["1 %", "1 %", "2 %", "2 %"]


def test_candidates_are_heard_side_by_side(
    small: tuple[Site, list[Recording], dict[str, str]],
) -> None:
    site, recordings, texts = small
    found = candidates(site, texts, limit=["20 percent", "50 percent"], on_delay=["2 s", "12 s"])
    together = program_of(site, found)
    swept = sweep(recordings, site, together)
    first, last = 10, 40  # slow, at 30 %, from the first of these for 10 s, and from the last on
    assert raised(swept) == [
        [],
        [],
        [(pump, at, to) for at, to in ((first + 2, first + 10), (last + 2, None)) for pump in ("P-1", "P-2")],
        [(pump, last + 12, None) for pump in ("P-1", "P-2")],
    ]
    assert (swept.first_ns, swept.last_ns) == (T0 + 1000, T0 + 89 * S + 1000)
    assert len(swept.gaps) == 2
    assert not swept.lacks


def test_a_gap_in_receipts_is_no_gap_in_samples(made: Made, written: Written) -> None:
    site, records = load_site(made[0]), made[1]
    told = encode_input(Gap("row-a", Identity("actuators", 1, 1), "restart", T0 + 40 * S, T0 + 80 * S, 0), 2)
    last = records[-1]
    assert (told.topic, told.partition) == (last.topic, last.partition)
    more = replace(last, offset=last.offset + 1, key=told.key, value=told.value, headers=told.headers)
    program = program_of(site, candidates(site, rule_texts(made[0], site), on_delay=["2 s"]))
    swept = sweep([Recording(written([*records, more]))], site, program)
    assert swept.gaps == [(T0 + 29 * S, T0 + 30 * S)] * 2
    assert swept.inputs == sweep([Recording(written(records))], site, program).inputs + 1


def test_what_the_language_refuses_is_said(small: tuple[Site, list[Recording], dict[str, str]]) -> None:
    site, _, texts = small
    [wrong, right] = candidates(site, texts, limit=["50 kW", "50 %"])
    assert (wrong.rule, right.refused) == (None, "")
    assert wrong.refused == "percent and kW can't be compared"


def test_two_processes_hear_what_one_hears(small: tuple[Site, list[Recording], dict[str, str]]) -> None:
    site, recordings, texts = small
    together = program_of(site, candidates(site, texts, limit=["20 %", "40 %", "50 %"]))
    one = sweep(recordings, site, together)
    two = sweep(recordings, site, together, jobs=2)
    assert any(one.episodes)
    assert two == one


@pytest.mark.parametrize("jobs", [1, 2])
def test_ended_early_it_is_the_sweep_of_a_shorter_recording(
    small: tuple[Site, list[Recording], dict[str, str]], jobs: int
) -> None:
    site, recordings, texts = small
    together = program_of(site, candidates(site, texts, limit=["50 %"]))
    swept = sweep(recordings, site, together, lambda event_ns: event_ns < T0 + 16 * S, jobs)
    assert swept.is_partial
    # of two processes one may have been further when the end was asked for: both go up to there
    assert T0 + 15 * S <= swept.now_ns <= T0 + (15 if jobs == 1 else 36) * S
    assert "P-1" in {one.asset for one in swept.episodes[0]}
    assert swept.last_ns is not None
    assert swept.last_ns <= swept.now_ns
    end_ns = swept.now_ns
    assert sweep(recordings, site, together, lambda event_ns: event_ns <= end_ns) == swept


def test_what_one_process_heard_beyond_the_other_is_cut_off() -> None:
    def episode(raised_ns: int, cleared_ns: int | None) -> Episode:
        return Episode(str(raised_ns), "row-a", "0", "P-1", "high", "", raised_ns, cleared_ns)

    heard = [episode(1, 5), episode(2, 15), episode(10, None), episode(11, 12)]
    swept = Swept([heard], 0, 20, is_partial=True, now_ns=10)
    assert cut_off(swept).episodes == [[episode(1, 5), episode(2, None), episode(10, None)]]
    assert swept.last_ns == 10
    whole = Swept([heard], 0, 20, now_ns=10)
    assert cut_off(whole).episodes == [heard]
