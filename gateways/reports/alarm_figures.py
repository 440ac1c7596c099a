"""A report on the alarm system in texts: figures beside their targets, and what the recording can't say.

Source of the targets: ANSI/ISA-18.2-2016, clause 16, for one operator position, as EEMUA 191 has them. Where they have
no target, none is stated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gateways.compare.figures import UNKNOWN, Measured, measured
from gateways.compare.words import counted, duration
from streams.compare.kpis import PERIODS_NS
from streams.compare.spans import length_ns
from streams.reports.alarm_words import AlarmWords
from streams.reports.alarms import Position
from streams.reports.delays import Delays
from streams.reports.histories import Quiet

_QUIET_WORDS: dict[Quiet, str] = {
    "suppressed": "suppressed by a cause or in a flood",
    "shelved": "shelved",
    "out-of-service": "out of service",
    "waiting": "only within the hold-off",
}
_IN = {"10 min": "10 min", "hour": "an hour", "day": "a day"}


class AlarmReport(NamedTuple):
    """Of recordings of a site; `lacks`: what of them can't be read or was never recorded."""

    site: str
    found: AlarmWords
    positions: Sequence[Position]
    lacks: Sequence[str]

    @property
    def recorded_ns(self) -> int:
        """How long the system ran."""
        return length_ns(self.found.ran)


def figures(one: Position) -> Iterator[Measured]:
    """All of an operator position."""
    yield from measured(one.kpis)
    yield Measured("floods", "", f"{one.kpis.floods:,}")
    acknowledging = one.acknowledging
    yield Measured("time to acknowledge, mean", "", _duration(acknowledging.mean_ns))
    yield Measured("time to acknowledge, 95 of 100 within", "", _duration(acknowledging.p95_ns))
    yield Measured("acknowledged", "", f"{acknowledging.count:,} of {one.kpis.alarms:,}")
    yield Measured("unacknowledged at the end", "", f"{len(acknowledging.left):,}")
    yield Measured("went off, and not annunciated", "", _unheard(one))
    for kind, silenced in one.silenced.items():
        yield Measured(
            f"times {_QUIET_WORDS[kind]}", "",
            f"{silenced.count:,}, {duration(silenced.lasted_ns)} in all" if silenced.lasted_ns else "0",
        )  # fmt: skip
    refused = UNKNOWN if one.refused is None else f"{one.refused.total():,}"
    yield Measured("actions refused", "", refused)


def _duration(ns: int | None) -> str:
    return UNKNOWN if ns is None else duration(ns)


def _unheard(one: Position) -> str:
    by = one.unheard_by
    said = ", ".join(f"{by[kind]:,} {text}" for kind, text in _QUIET_WORDS.items() if by[kind])
    return said or "0"


def suggestion(of: Delays) -> str:
    """Which delays would have kept an alarm from chattering, and what they would have cut."""
    if any(cut is not None and not cut.cut for cut in (of.suggested_on, of.suggested_off)):
        return "it did not go off so often, but was heard again after a silence or a re-alarm: no delay ends that"
    said = [
        f"{name} of {cut.delay_s} s would have cut {cut.cut:,} of {of.raised:,}"
        for name, cut in (("an on-delay", of.suggested_on), ("an off-delay", of.suggested_off))
        if cut is not None
    ]
    if not said:
        return f"no delay up to {of.on[-1].delay_s} s would have ended it"
    return ", ".join(said)


def limits(report: AlarmReport) -> Iterator[str]:
    """What the figures can't know, the most important first."""
    found = report.found
    if found.is_partial:
        yield "It was ended by Ctrl-C: all figures are of what was read until then."
    if not report.recorded_ns:
        yield "Nothing was recorded in this time."
    yield from (f"The recording lacks something: {line}." for line in report.lacks)
    unrecorded = sum(one.unrecorded for one in report.positions)
    if unrecorded:
        yield (
            f"{counted(unrecorded, 'transition')} of alarms stand in the journal only: the topic alarms keeps last "
            "words and had lost them when it was recorded. All counts are too low by what came of them."
        )
    if not found.has_journal:
        yield "The recording has no journal: nobody knows which actions were refused."
    if found.undecodable:
        yield f"{counted(found.undecodable.total(), 'record')} of alarms and journal can't be decoded."
    short = [_IN[name] for name, period_ns in PERIODS_NS.items() if report.recorded_ns < period_ns]
    if short:
        yield (
            f"{duration(report.recorded_ns)} were recorded: too little to say how many alarms come in "
            f"{' or '.join(short)} on average."
        )
    if report.recorded_ns < PERIODS_NS["day"]:
        yield "An alarm is stale after 24 h: in less than that only one that stood before can be."
