"""A recording's alarms and commands as lines that a person can read in a diff, and how two such texts differ.

Rules: one line for each alarm from its raising to its clearing and for each command; times in seconds from the first
tick, with every digit; the text follows from the recorded outputs alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import orjson

from rules.engine.outputs import Alarm, Command, Entry
from streams.recording.recording import Recording
from streams.recording.ticks import first_tick_ns
from streams.replay.replayed import OUTPUT_TOPICS
from streams.wire import decode_output, is_head

BESIDE = ": "
"""Between what a line is about and what is said of it."""
_OF_ALARMS = ("alarm-raised", "alarm-cleared")


def expected(path: Path, title: str) -> str:
    """All lines, by time; `title` first."""
    recording = Recording(path)
    begin_ns = first_tick_ns(recording) or 0
    alarms: dict[str, tuple[Alarm, Alarm]] = {}
    rest: list[Command | Entry] = []
    for record in recording.records(OUTPUT_TOPICS):
        if is_head(record.headers):
            continue
        output = decode_output(record.headers, record.value)
        if isinstance(output, Alarm):
            alarms[output.raised_id] = alarms.get(output.raised_id, (output, output))[0], output
        elif isinstance(output, Command) or (isinstance(output, Entry) and output.kind not in _OF_ALARMS):
            rest.append(output)
    lines = [(first.raised_ns, *_alarm(first, last, begin_ns)) for first, last in alarms.values()]
    lines += [_other(output, begin_ns) for output in rest]
    commands = sum(isinstance(output, Command) for output in rest)
    counted = (
        f"{len(alarms)} alarms, {commands} commands, {len(rest) - commands} other entries of the journal"
    )
    return f"{title}\n{counted}\n\n" + "".join(f"{head}{BESIDE}{said}\n" for head, said in _numbered(lines))


def _alarm(first: Alarm, last: Alarm, begin_ns: int) -> tuple[str, str]:
    spans = [f"raised {_s(first.raised_ns, begin_ns)}"]
    if last.unknown_ns is not None:
        spans.append(f"unknown since {_s(last.unknown_ns, begin_ns)}")
    spans.append("stands" if last.cleared_ns is None else f"cleared {_s(last.cleared_ns, begin_ns)}")
    head = f"alarm {first.unit} {first.rule} {first.asset}"
    return head, f"{', '.join(spans)}; {first.severity}; {first.message}"


def _other(output: Command | Entry, begin_ns: int) -> tuple[int, str, str]:
    if isinstance(output, Command):
        value = f"{output.value:g} {output.engineering_unit}".strip()
        said = f"at {_s(output.cause_ns, begin_ns)}, until {_s(output.expires_ns, begin_ns)}; {value}"
        return output.cause_ns, f"command {output.unit} {output.rule} {output.actuator}", said
    detail = orjson.dumps(output.detail, option=orjson.OPT_SORT_KEYS).decode()
    about = [str(output.detail[name]) for name in ("source", "rule", "asset") if name in output.detail]
    head = " ".join(["journal", output.unit, output.kind, *about])
    return output.at_ns, head, f"at {_s(output.at_ns, begin_ns)}; {detail}"


def _s(time_ns: int, begin_ns: int) -> str:
    """Seconds, down to the last nanosecond that is not 0."""
    return f"{(Decimal(time_ns - begin_ns) / 1_000_000_000).normalize():f} s"


def _numbered(lines: list[tuple[int, str, str]]) -> Iterator[tuple[str, str]]:
    """By time; what comes again carries a number, so that each head is there once."""
    seen: Counter[str] = Counter()
    for _, head, said in sorted(lines):
        seen[head] += 1
        yield head if seen[head] == 1 else f"{head} #{seen[head]}", said


def changes(old: str, new: str) -> list[str]:
    """What is gone, what is new, and of what is in both the parts that are other ones."""
    before, after = _by_head(old), _by_head(new)
    found = [f"gone   {head}{BESIDE}{said}" for head, said in before.items() if head not in after]
    for head, said in after.items():
        if head not in before:
            found.append(f"new    {head}{BESIDE}{said}")
        elif said != before[head]:
            pairs = zip(before[head].split("; "), said.split("; "), strict=False)
            other = [f"{was} -> {now}" for was, now in pairs if was != now]
            found.append(f"other  {head}{BESIDE}{'; '.join(other)}")
    return found


def _by_head(text: str) -> dict[str, str]:
    lines = text.partition("\n\n")[2].splitlines()
    return {head: said for head, _, said in (line.partition(BESIDE) for line in lines)}
