"""What a comparison can't know, in plain sentences: they stand on the page and in `--json`, whatever comes out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from gateways.compare.words import counted, duration, moment
from streams.compare.comparison import Comparison
from streams.compare.kpis import PERIODS_NS
from streams.compare.sides import never_recorded
from streams.compare.spans import length_ns
from streams.facts import DELAY_NS
from streams.replay.replayed import Replay
from streams.replay.start import Part

SHOWN: Final = 10
_IN: Final = {"10 min": "10 min", "hour": "an hour", "day": "a day"}


class Circumstances(NamedTuple):
    """How a comparison was made. `replayed`: the second side's replay.

    `is_rerun`: the recording holds no answers, so its rules ran again; `other_rules`: how many other rule sets the log
    has; `is_partial`: Ctrl-C ended it; `faults`: of the simulated plant, None where it was no closed loop.
    """

    replayed: Replay
    part: Part
    is_rerun: bool
    other_rules: int
    is_partial: bool
    faults: str | None = None


def limits(found: Comparison, made: Circumstances) -> list[str]:
    """One sentence each, the most important first."""
    return [
        *(_of_commands(found) if made.faults is None else _of_simulation(made.faults)),
        *_of_signals(found, made.replayed),
        *_of_inputs(made.replayed),
        *_of_sides(found, made),
        *_of_time(found),
        *(found.scores[1].caveats if found.scores else ()),
    ]


def _of_commands(found: Comparison) -> Iterator[str]:
    """The plant in the recording obeyed the commands of its own time."""
    changed = [change for change in found.commands if change.kinds]
    if changed:
        first = min(one.cause_ns for change in changed for one in change if one is not None)
        yield (
            f"{counted(len(changed), 'command')} changed, the first at {moment(first)}. A changed command would have "
            "changed the plant afterwards: what is said after it is about the plant as it was recorded, not as it "
            "would have been."
        )
    elif found.commands and found.before.is_recorded:
        yield "No command changed: the plant would have gone on as it was recorded."
    if found.commands and not found.before.is_recorded:
        yield (
            "The commands of neither side acted: the plant in the recording obeyed those of its own time, whatever "
            "was said here."
        )


def _of_simulation(faults: str) -> Iterator[str]:
    # the plant is not imported where nobody asks for it
    from gateways.compare.closed_loop import ACTS_AFTER_NS

    yield (
        f"Both sides are simulated, with {faults}: each rule set acts on a plant of its own, a command "
        f"{duration(ACTS_AFTER_NS)} after its cause. Of the recording only its site, its rules and its length were "
        "used: the recorded plant may have done otherwise."
    )
    yield "Receipts and the delays of a real log, gateway and device are not simulated."


def _of_signals(found: Comparison, replayed: Replay) -> Iterator[str]:
    changed = [change.rule for change in found.rules if change.after is not None]
    for rule, points in list(never_recorded(replayed, changed).items())[:SHOWN]:
        more = f" and {len(points) - 1:,} more" if len(points) > 1 else ""
        yield (
            f"What {rule} would have said of {points[0]}{more}: the recording has no sample of "
            f"{'them' if more else 'it'}."
        )


def _of_inputs(replayed: Replay) -> Iterator[str]:
    if replayed.facts_made is not None:
        yield (
            f"{counted(replayed.facts_made, 'fact')} between units were made anew and reached their units "
            f"{duration(DELAY_NS)} later: alarms that need another unit may be off by as much."
        )
    gaps = [(gap.from_ns, gap.to_ns) for gap in replayed.gaps]
    if gaps:
        longest = max(end - begin for begin, end in gaps)
        yield (
            f"The sources said {counted(len(gaps), 'gap')}, the longest of {duration(longest)}: what was in them "
            "nobody knows."
        )
    lost = sum(one.records for one in replayed.missing.values())
    if lost:
        yield f"Inputs missing from the recording: {lost:,}. Either side might have said something else with them."
    yield from (f"The recording is damaged: {line}." for line in replayed.damage)
    yield from (f"Nobody recorded a part of the log: {line}." for line in replayed.missed)
    if replayed.unknown_units:
        yield f"The site lacks units of the recording: {', '.join(sorted(replayed.unknown_units))}."


def _of_sides(found: Comparison, made: Circumstances) -> Iterator[str]:
    if made.is_rerun:
        yield (
            "Nothing was said while it was recorded: the rules that the recording carries ran again, which gives "
            "what they would have said."
        )
    if made.other_rules:
        yield (
            f"The log has {counted(made.other_rules, 'other rule set')}, which may have ruled while it was recorded: "
            "the rules shown are those that the recording begins with."
        )
    if made.part.from_ns:
        yield "Alarms that stood at the beginning of the part are not compared, only those that were raised in it."
    if made.part.from_ns and made.replayed.begins:
        yield (
            "It begins at snapshots: a rule that changed knows nothing of the time before them, and its delays and "
            "windows begin there."
        )
    if made.is_partial:
        yield "It was ended by Ctrl-C: both sides are compared up to there."
    if found.cut_off:
        yield (
            f"{found.cut_off:,} alarms and commands of the last second are left out: the recording may end before they "
            "were answered."
        )


def _of_time(found: Comparison) -> Iterator[str]:
    recorded_ns = length_ns(found.recorded)
    short = [_IN[name] for name, period_ns in PERIODS_NS.items() if recorded_ns < period_ns]
    if short:
        yield (
            f"{duration(recorded_ns)} were compared: too little to say how many alarms come in {' or '.join(short)} on "
            "average."
        )
