"""A sweep with its scores, for the terminal, for machines and for the page; and what it can't know.

Rules: the same recording and values give the same bytes; what isn't known is null, never 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateways.compare.words import duration
from rules.language.candidates import Parameter
from streams.compare.scoring import DAY_NS
from streams.compare.spans import Span, length_ns
from streams.compare.sweep import Candidate, Swept
from streams.compare.sweep_scores import SHARE, Known, Score, front, nuisance_of
from streams.times import iso_utc


@dataclass(frozen=True, slots=True)
class SweepResult:
    """`candidates`: the rule as it is, then all others, with their scores; None for one that the language refuses.

    `against`: what was to be detected, in words. `sends`: the command of the rule, or ''.
    """

    rule: str
    site: str
    parameters: dict[str, Parameter]
    candidates: Sequence[Candidate]
    scores: Sequence[Score | None]
    recorded: Sequence[Span]
    known: Known
    against: str
    swept: Swept
    sends: str

    @property
    def now(self) -> Score:
        """Of the rule as it is, which nobody refuses."""
        return self._scored[0]

    @property
    def nuisance(self) -> str:
        """What candidates are compared by, beside what they detect."""
        return nuisance_of(self._scored, self.known)[0]

    def nuisance_of(self, score: Score) -> float:
        """That of a candidate."""
        return nuisance_of(self._scored, self.known)[1](score)

    @property
    def front(self) -> set[int]:
        """The places of the candidates that no other beats."""
        places = [place for place, score in enumerate(self.scores) if score is not None]
        return {places[place] for place in front(self._scored, nuisance_of(self._scored, self.known)[1])}

    @property
    def _scored(self) -> list[Score]:
        return [score for score in self.scores if score is not None]

    @property
    def limits(self) -> list[str]:
        """What this sweep can't know, in sentences."""
        return list(_limits(self))


def _limits(result: SweepResult) -> Iterator[str]:
    swept, scored = result.swept, result.now
    if result.sends:
        yield (
            f"The rule gives a command ({result.sends}). Given earlier, later or not at all, it would have changed the "
            "plant afterwards; here every candidate hears what the plant did under the commands of its own time."
        )
    if result.known.incidents is not None:
        known = len(result.known.incidents)
        if scored.to_detect:
            yield f"A rule that always stands detects all {scored.to_detect}: to detect them is not all."
        if scored.to_detect < known:
            yield (
                f"Of {known - scored.to_detect} of {known} incidents nothing was recorded in their span: they are left "
                "out of what is to be detected."
            )
        if result.nuisance == SHARE:
            yield (
                "Less than a day of recorded time lies outside of the incidents, so nobody can know how many alarms a "
                "day are false: candidates are compared by the share of the time that they stand."
            )
    elif not scored.to_detect:
        yield (
            f"There is nothing to detect: {result.against} has no alarm in this recording. --incidents or --reference "
            "name something."
        )
    else:
        yield (
            f"What is to be detected are the alarms of {result.against}. Whether those were right, and what "
            "they missed, only a person knows (--incidents)."
        )
    recorded_ns = length_ns(result.recorded)
    if recorded_ns < DAY_NS:
        yield f"{duration(recorded_ns)} are recorded: too little for how many alarms come in a day."
    yield (
        "Values that were chosen by a recording do best on that one. Try them on another, which had no part in the "
        "choice, before they rule a plant."
    )
    if swept.is_partial:
        yield f"It was ended by Ctrl-C: all of this is about the time up to {iso_utc(swept.now_ns)[:19]}Z."
    yield from (f"The recording lacks something: {line}." for line in swept.lacks)


def as_dict(result: SweepResult) -> dict[str, Any]:
    """As plain data; times in s."""
    best = result.front
    swept = result.swept
    return {
        "rule": result.rule,
        "site": result.site,
        "from": None if swept.first_ns is None else iso_utc(swept.first_ns),
        "to": None if swept.last_ns is None else iso_utc(swept.last_ns),
        "recorded_s": length_ns(result.recorded) / 1e9,
        "partial": swept.is_partial,
        "inputs": swept.inputs,
        "parameters": {name: one._asdict() for name, one in result.parameters.items()},
        "against": result.against,
        "nuisance": result.nuisance,
        "candidates": [
            {
                "values": dict(candidate.values),
                "refused": candidate.refused or None,
                "front": place in best,
                **({} if score is None else _plain(score, result.nuisance_of(score))),
            }
            for place, (candidate, score) in enumerate(zip(result.candidates, result.scores, strict=True))
        ],
        "cannot_know": result.limits,
        "lacks": swept.lacks,
    }


def _plain(score: Score, nuisance: float) -> dict[str, Any]:
    return {
        "alarms": score.alarms,
        "alarms_per_day": score.a_day,
        "in_alarm_share": score.in_alarm,
        "chattering": score.chattering,
        "to_detect": score.to_detect,
        "detected": score.detected,
        "lead_s": None if score.lead_ns is None else score.lead_ns / 1e9,
        "false": score.false,
        "false_per_day": score.false_a_day,
        "nuisance": nuisance,
        "needless_share": score.needless,
    }


def figures(result: SweepResult, score: Score) -> Iterator[tuple[str, str]]:
    """Of a candidate, as the table and the page show them: name and text."""
    yield "alarms", f"{score.alarms:,}"
    yield "chattering", f"{score.chattering:,}"
    yield "in alarm", f"{score.in_alarm:.1%}"
    yield "needlessly", f"{score.needless:.1%}"
    yield "detected", f"{score.detected} of {score.to_detect}"
    yield "lead", "" if score.lead_ns is None else _signed(score.lead_ns)
    if result.nuisance != SHARE:  # that is what stands under needlessly
        nuisance = result.nuisance_of(score)
        is_round = nuisance >= 100 or nuisance.is_integer()
        yield result.nuisance, f"{nuisance:,.0f}" if is_round else f"{nuisance:.3g}"


def _signed(ns: int) -> str:
    return f"{'+' if ns >= 0 else '−'}{duration(abs(ns))}"
