"""The history of one alarm, told by the engine's own words."""

from __future__ import annotations

from dataclasses import replace

from rules.engine.outputs import Alarm
from rules.site.model import Site
from streams.reports.histories import History, history
from tests.streams.reports.conftest import T0, S, Unit

END_S = 1000


def of(unit: Unit) -> History:
    words = [one for one in unit.until(END_S) if isinstance(one, Alarm)]
    return history(words, T0 + END_S * S)


def seconds(spans: list[tuple[int, int]]) -> list[tuple[float, float]]:
    return [((begin - T0) / S, (end - T0) / S) for begin, end in spans]


def test_annunciated_acknowledged_and_over(site: Site) -> None:
    unit = Unit(site)
    unit.act(15, "acknowledge", occurrence=unit.up(10))
    unit.down(20)
    unit.up(30)
    unit.down(31)  # nobody has acknowledged it
    found = of(unit)
    assert seconds([one.span(0) for one in found.annunciated]) == [(10, 20), (30, 31)]
    assert seconds(found.acknowledged) == [(10, 15)]
    assert found.is_unacknowledged
    assert (found.unheard, found.quiet) == ([], [])


def test_an_acknowledgement_after_its_end_counts(site: Site) -> None:
    unit = Unit(site)
    occurrence = unit.up(10)
    unit.down(20)
    unit.act(50, "acknowledge", occurrence=occurrence)
    found = of(unit)
    assert seconds(found.acknowledged) == [(10, 50)]
    assert not found.is_unacknowledged


def test_what_is_true_when_a_silence_ends_is_annunciated_again(site: Site) -> None:
    unit = Unit(site)
    unit.act(12, "acknowledge", occurrence=unit.up(10))
    unit.act(20, "shelve", for_s=30)
    found = of(unit)
    assert seconds([one.span(T0 + END_S * S) for one in found.annunciated]) == [(10, 20), (50, END_S)]
    assert [(reason, seconds([span])) for reason, span in found.quiet] == [("shelved", [(20, 50)])]
    assert seconds(found.acknowledged) == [(10, 12)]
    assert len(found.raisings) == 1
    assert found.is_unacknowledged


def test_what_nobody_heard_counts_apart(site: Site) -> None:
    unit = Unit(site)
    unit.act(5, "shelve", for_s=100)
    for at_s in (10, 20):
        unit.up(at_s)
        unit.down(at_s + 5)
    unit.act(200, "remove-from-service", for_s=500)
    unit.up(210)
    found = of(unit)
    assert [(at_ns - T0, reason) for at_ns, reason in found.unheard] == [
        (10 * S, "shelved"), (20 * S, "shelved"),
    ]  # fmt: skip
    assert [one.raised_ns - T0 for one in found.annunciated] == [700 * S]  # by the end of the silence
    assert [one.raised_ns - T0 for one in found.raisings] == [10 * S, 20 * S, 210 * S]
    assert [reason for reason, _ in found.quiet] == ["shelved", "out-of-service"]


def test_the_stronger_reason_names_the_time(site: Site) -> None:
    unit = Unit(site)
    unit.act(10, "shelve", for_s=100)
    unit.act(20, "remove-from-service", for_s=30)
    assert [(reason, seconds([span])) for reason, span in of(unit).quiet] == [
        ("shelved", [(10, 20)]), ("out-of-service", [(20, 50)]), ("shelved", [(50, 110)]),
    ]  # fmt: skip


def test_waiting_for_a_cause_is_no_suppression(site: Site) -> None:
    unit = Unit(site)
    unit.up(10)
    [word] = [one for one in unit.outputs if isinstance(one, Alarm)]
    waiting = replace(word, state="suppressed")
    suppressed = replace(waiting, id="2", at_ns=T0 + 11 * S, suppressed_by="row-a:pump:P-1")
    over = replace(
        suppressed, id="3", at_ns=T0 + 20 * S, state="normal", cleared_ns=T0 + 20 * S, suppressed_by=""
    )
    found = history([waiting, suppressed, over], T0 + END_S * S)
    assert [(reason, seconds([span])) for reason, span in found.quiet] == [
        ("waiting", [(10, 11)]), ("suppressed", [(11, 20)]),
    ]  # fmt: skip
    assert [reason for _, reason in found.unheard] == ["suppressed"]
    alone = replace(waiting, id="2", at_ns=T0 + 11 * S, state="unacknowledged")
    found = history([waiting, alone], T0 + END_S * S)
    assert ([one.raised_ns - T0 for one in found.annunciated], found.unheard) == ([11 * S], [])


def test_a_latched_alarm_ends_with_its_condition(site: Site) -> None:
    unit = Unit(site)
    unit.up(10)
    unit.down(20, latches=True)
    found = of(unit)
    assert seconds([one.span(0) for one in found.annunciated]) == [(10, 20)]
    assert found.is_unacknowledged
