"""Shows what the code as it is says otherwise than the golden set, and records the set anew where it is told to.

    python -m tools.golden [NAME...]             shows it, and writes nothing; exit 1 where anything is other
    python -m tools.golden --outputs [NAME...]   keeps recorded inputs, site and rules; the engine answers anew
    python -m tools.golden --inputs [NAME...]    runs the simulated plant anew, too, with the example's rules

Rules (docs/golden.md): what changes is printed, alarm by alarm; `--outputs` leaves a file whose answers stay as it is;
the file of the format (`format-1.mcap`) is never written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from gateways.bench.event_time_run import Step, write_run
from rules.engine.inputs import Fact, Input
from streams.recording.recorded_site import published_rules, recorded_rules
from streams.recording.recording import Recording
from streams.replay.replayed import OUTPUT_TOPICS
from streams.topics import EVENTS
from streams.wire import decode_input
from tools.golden_cases import CASES, Case
from tools.golden_text import changes, expected

FOLDER: Final = Path(__file__).parents[1] / "tests" / "golden"
CHUNK_S: Final = 10


def recording_of(case: Case, folder: Path = FOLDER) -> Path:
    """Where it lies; its text lies beside it."""
    return folder / f"{case.name}.mcap"


def text_of(case: Case, path: Path) -> str:
    """The text that belongs to a recording of the case."""
    return expected(path, f"{case.faults or 'no fault'}; {case.seconds} s")


def answer(path: Path, into: Path) -> None:
    """The inputs of a recording through the engine as it is."""
    recording = Recording(path)
    first = recorded_rules(recording)
    others = [one for digest, one in published_rules([recording]).items() if digest != first.digest]
    write_run(into, first, _recorded_steps(recording), others=others, chunk_s=CHUNK_S)


def _recorded_steps(recording: Recording) -> Iterator[Step]:
    for now_ns, records in groupby(recording.timed_records({EVENTS.name}), lambda pair: pair[0]):
        inputs: dict[str, list[Input]] = {}
        for _, record in records:
            value = decode_input(record.key, record.headers, record.value)
            if not isinstance(value, Fact):
                inputs.setdefault(value.unit, []).append(value)
        yield now_ns, inputs


def record(case: Case, into: Path) -> None:
    """The simulated plant through the engine as it is."""
    rule_set, others = case.rule_set(), case.others()
    write_run(into, rule_set, case.steps(rule_set.load_site(), others), others=others, chunk_s=CHUNK_S)


def renew(case: Case, mode: str, folder: Path) -> bool:
    """Print what is other, and write it where `mode` says so. Whether anything is."""
    path = recording_of(case, folder)
    with tempfile.TemporaryDirectory(prefix="headrace-golden-") as aside:
        made = recording_of(case, Path(aside))
        if mode == "inputs":
            record(case, made)
        elif path.exists():
            answer(path, made)
        else:
            print(f"{case.name}: not recorded yet; --inputs records it")
            return True
        text = text_of(case, made)
        old = path.with_suffix(".txt").read_text() if path.with_suffix(".txt").exists() else ""
        found = changes(old, text)
        is_other = old != text or not path.exists() or _answers(path) != _answers(made)
        writes = mode == "inputs" or (mode == "outputs" and is_other)
        if writes:
            path.write_bytes(made.read_bytes())
            path.with_suffix(".txt").write_text(text)
    print(f"{case.name}: {_in_words(found, is_other)}{', written' if writes else ''}")
    for line in found:
        print(f"  {line}")
    return is_other


def _in_words(found: list[str], is_other: bool) -> str:
    if found:
        return f"{len(found)} lines are other"
    return "bytes are other that the text does not show" if is_other else "the same"


def _answers(path: Path) -> list[tuple[str, bytes | None, bytes | None]]:
    """Outputs, and what units told each other, in the order of the file."""
    return [
        (record.topic, record.key, record.value)
        for record in Recording(path).records({EVENTS.name, *OUTPUT_TOPICS})
        if record.topic != EVENTS.name or ("schema", b"fact/1") in record.headers
    ]


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """0 where nothing is other or all was written, 1 where something is, 2 for a name that is none."""
    parser = argparse.ArgumentParser(prog="python -m tools.golden", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help="all without one")
    writes = parser.add_mutually_exclusive_group()
    writes.add_argument("--outputs", action="store_const", dest="mode", const="outputs", default="show")
    writes.add_argument("--inputs", action="store_const", dest="mode", const="inputs")
    asked = parser.parse_args(arguments)
    unknown = set(asked.names) - {case.name for case in CASES}
    if unknown:
        parser.error(f"no such recordings: {', '.join(sorted(unknown))}; there are "
                     f"{', '.join(case.name for case in CASES)}")  # fmt: skip
    wanted = [case for case in CASES if not asked.names or case.name in asked.names]
    other = sum(renew(case, asked.mode, folder) for case in wanted)
    if asked.mode != "show":
        return 0
    print(f"{other} of {len(wanted)} are other" + (": docs/golden.md says what to do" if other else ""))
    return 1 if other else 0


if __name__ == "__main__":
    sys.exit(main())
