"""Runs inputs through a target, in a process of its own, under limits of time and memory.

Rules: what comes out of a target is nothing or one of the errors that it declares; all else is a finding, and so are
more than CPU_S of the processor for one input, no input finished in WALL_S, a peak of memory that one input raises by
more than its target allows, and a process that dies. A finding is written as a file with the input.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from tools.fuzz.mutate import Make

CPU_S: Final = 5.0
WALL_S: Final = 90.0
MEMORY_MB: Final = 96
ADDRESS_SPACE_MB: Final = 6_000
"""Beyond what the process has when its first input comes."""
FINDINGS_MAX: Final = 25
NOT_MADE: Final = 3
WARM_SHARE: Final = 0.2
"""Of the inputs, after which memory is measured: before, caches fill."""


class HangError(BaseException):
    """One input took too long. No `except Exception` of the code under test may swallow it."""


class Case(NamedTuple):
    """A target made ready. `run` takes one input; `declared`: what it may raise."""

    make: Make
    run: Callable[[bytes], object]
    declared: tuple[type[BaseException], ...] = ()
    memory_mb: int = MEMORY_MB


Prepare = Callable[[Path], Case]
"""Is given an empty folder, in the process in which the inputs run."""


@dataclass
class Outcome:
    """Of a target. `refused`: inputs that ended in a declared error. Times in s of one input, on the processor."""

    target: str
    inputs: int = 0
    refused: int = 0
    findings: list[dict[str, str]] = field(default_factory=list)
    slowest_s: float = 0.0
    wall_s: float = 0.0
    grown_mb: float = 0.0

    def add(self, other: Outcome) -> None:
        """What another process did for the same target."""
        self.inputs += other.inputs
        self.refused += other.refused
        self.findings += other.findings
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.grown_mb = max(self.grown_mb, other.grown_mb)


def input_of(case: Case, target: str, seed: int, number: int) -> bytes:
    """The input with a number."""
    return case.make(random.Random(f"{seed}/{target}/{number}"))


def run_target(name: str, prepare: Prepare, seed: int, inputs: int, folder: Path) -> Outcome:
    """All inputs, in as many processes as it takes: one that dies costs the input at which it did."""
    begun, total, first = time.monotonic(), Outcome(name), 0
    while first < inputs and len(total.findings) < FINDINGS_MAX:
        outcome, died = _in_a_process(name, prepare, seed, first, inputs, folder)
        total.add(outcome)
        if not died:
            break
        first += outcome.inputs + 1
        total.inputs += 1
    total.wall_s = time.monotonic() - begun
    return total


def _in_a_process(
    name: str, prepare: Prepare, seed: int, first: int, inputs: int, folder: Path
) -> tuple[Outcome, bool]:
    """What became of inputs from `first` on, and whether the process died within one."""
    place = mmap.mmap(-1, 16)
    place[:8] = struct.pack("<q", -1)
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as work:
        said = Path(work) / "said"
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _child(name, prepare, seed, range(first, inputs), folder, Path(work), place, said)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        reason = _watch(child, place)
        outcome = Outcome(**orjson.loads(said.read_bytes())) if said.exists() else Outcome(name)
        if reason == "":
            return outcome, False
        (at,) = struct.unpack("<q", place[:8])
        if at < first:
            raise RuntimeError(f"{name}: it could not be made ready ({reason})")
        outcome.inputs = at - first
        (Path(work) / "again").mkdir()
        outcome.findings.append(
            _kept(folder, name, input_of(prepare(Path(work) / "again"), name, seed, at), reason, "")
        )
        return outcome, True


def _watch(child: int, place: mmap.mmap) -> str:
    """Wait for the process to end; why it died, '' where it did not."""
    last, since = b"", time.monotonic()
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if status == 0:
                return ""
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == NOT_MADE:
                raise RuntimeError("an input could not be made: what the process said stands above")
            return f"died of signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "the process ended"
        if place[:8] != last:
            last, since = place[:8], time.monotonic()
        elif time.monotonic() - since > WALL_S:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return f"hang: more than {WALL_S:g} s"
        time.sleep(0.05)


def _child(
    name: str, prepare: Prepare, seed: int, numbers: range, folder: Path, work: Path, place: mmap.mmap, said: Path
) -> None:  # fmt: skip
    (work / "case").mkdir()
    case = prepare(work / "case")
    outcome = Outcome(name)
    _limit_memory()
    signal.signal(signal.SIGPROF, _took_too_long)
    seen: set[str] = set()
    peak_kb, warm_kb = _peak_kb(), 0
    for number in numbers:
        place[:8] = struct.pack("<q", number)
        try:
            data = input_of(case, name, seed, number)
        except Exception:
            traceback.print_exc()
            os._exit(NOT_MADE)
        begun = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        wrong, where = "", ""
        try:
            case.run(data)
        except case.declared:
            outcome.refused += 1
        except (Exception, HangError) as error:
            wrong, where = f"{type(error).__name__}: {error}"[:300], _where(error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        outcome.inputs += 1
        outcome.slowest_s = max(outcome.slowest_s, time.process_time() - begun)
        now_kb = _peak_kb()
        if now_kb - peak_kb > case.memory_mb * 1024 and outcome.inputs > 1:
            wrong = wrong or f"memory: the peak rose by {(now_kb - peak_kb) // 1024} MB"
            where = where or "memory"
        peak_kb = max(peak_kb, now_kb)
        if wrong and where not in seen:
            seen.add(where)
            outcome.findings.append(_kept(folder, name, data, wrong, where))
            said.write_bytes(orjson.dumps(asdict(outcome)))
        if len(seen) >= FINDINGS_MAX:
            break
        if outcome.inputs == int(len(numbers) * WARM_SHARE):
            warm_kb = _resident_kb()
    outcome.grown_mb = round(max(0, _resident_kb() - warm_kb) / 1024, 1) if warm_kb else 0.0
    said.write_bytes(orjson.dumps(asdict(outcome)))


def _took_too_long(*_: object) -> None:
    raise HangError(f"more than {CPU_S:g} s of the processor")


def _limit_memory() -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    limit = held + (ADDRESS_SPACE_MB << 20)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _peak_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _resident_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE // 1024


def _where(error: BaseException) -> str:
    """The deepest line of ours, by which findings are told apart."""
    frames = traceback.extract_tb(error.__traceback__)
    root = str(Path(__file__).parents[2])
    ours = [
        one for one in frames if one.filename.startswith(root) and "/tools/" not in one.filename
    ] or frames
    last = ours[-1]
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"


def _kept(folder: Path, name: str, data: bytes, wrong: str, where: str) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    file.write_bytes(data)
    return {"what": wrong, "where": where, "input": str(file)}
