"""The whole: good without troubles, the same in every process, and not blind: what is broken on purpose is found."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from gateways.actuators.ledger import CommandLedger
from gateways.actuators.life import Life
from gateways.actuators.receipts import Receipts
from gateways.whole.recorded import Recordings
from gateways.whole.run import Outcome, Simulator
from gateways.whole.schedule import instances, parse
from rules.engine.engine import Engine
from rules.engine.inputs import Gap
from streams import ticker
from streams.publisher.publisher import Publisher
from streams.publisher.window import Window
from streams.record import Record
from streams.recorder import tape
from streams.recording.segments import LastSegment, last_segment
from streams.role import RoleContext
from streams.site_folder import load_site
from streams.topics import ALARMS
from streams.worker.outbox import Outbox
from streams.worker.processor import Processor
from streams.worker.take_over import TakeOver

ROOT = Path(__file__).parents[3]
SITE_DIR = ROOT / "examples" / "narvik-small"
SITE = load_site(SITE_DIR)
PUMP = "plant:pump_trip:CDU-A@14s+10s"

pytestmark = pytest.mark.usefixtures("_quiet")


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Simulator:
    return Simulator(SITE_DIR, SITE, tmp_path_factory.mktemp("sim"))


def run(simulator: Simulator, troubles: str, seed: int = 1, duration_s: float = 60.0) -> Outcome:
    return simulator.run(seed, duration_s, parse(troubles, seed, SITE))


def test_the_smallest_whole_loop(simulator: Simulator) -> None:
    outcome = run(simulator, PUMP)
    assert outcome.broken == []
    counts = outcome.counts
    assert counts["commands"] == counts["writes"] == 72  # the GPUs behind this pump
    assert counts["alarms_raised"] > 50
    assert "killed" not in counts
    assert "ended by themselves" not in counts


@pytest.mark.parametrize("seed", ["8", "9"])  # two workers and two tickers; a recorder
def test_two_processes_write_the_same_log(seed: str) -> None:
    words = ("sim", str(SITE_DIR), "--seed", seed, "--hours", "0.02", "--json")
    found = []
    # what a machine's environment sets has no part in it
    for hash_seed, snapshot_every_s in (("1", "10"), ("2", "1")):
        done = subprocess.run(
            [sys.executable, "-m", "gateways.cli.main", *words],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "HEADRACE_WORKER__SNAPSHOT_EVERY_S": snapshot_every_s,
            },
            capture_output=True,
            check=True,
        )
        said = json.loads(done.stdout)
        assert said["broken"] == []
        del said["cpu_s"], said["x_real_time"]
        found.append(said)
    assert found[0] == found[1]
    assert found[0]["counts"]["events"] > 500


def test_another_seed_writes_another_log(simulator: Simulator) -> None:
    assert run(simulator, "").digest == run(simulator, "").digest
    assert run(simulator, "").digest != run(simulator, "", seed=3).digest


def test_actuators_that_do_not_mark_are_found(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CommandLedger, "mark", lambda self, *marks: None)
    outcome = run(simulator, f"{PUMP} kill:actuators@22s+2s")
    assert any("written again" in line for line in outcome.broken)


def test_a_publisher_that_forgets_what_failed_is_found(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(self: Window) -> int:
        count = len(self)
        self.drop(count)
        return count

    monkeypatch.setattr(Window, "begin_again", forget)
    outcome = run(simulator, "refuse:plant-frames*1@20s+1s")
    assert any("sequences are missing" in line for line in outcome.broken)
    assert any("on no log and in no gap" in line for line in outcome.broken)


def test_a_snapshot_that_does_not_wait_for_outputs_is_found(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(self: Outbox) -> None:
        """Whatever is still on its way."""

    monkeypatch.setattr(Outbox, "settled", at_once)
    slow = " ".join(f"slow-partition:journal/{number}*1.5@12s+35s" for number in range(2))
    repeats = " ".join(f"repeat:events*5@{at}s+1s" for at in range(13, 45))
    kills = " ".join(f"kill:worker@{at}s+0.5s" for at in (16.3, 23.3, 30.3, 37.3, 44.3))
    outcome = run(simulator, f"{slow} {repeats} {kills}")
    assert any("never said" in line for line in outcome.broken)


def test_a_restart_without_a_word_is_found(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    accept = Publisher._accept

    def silently(self: Publisher, value: object, reported: object = None) -> None:
        if not (isinstance(value, Gap) and value.reason == "restart"):
            accept(self, value, reported)  # type: ignore[arg-type]

    monkeypatch.setattr(Publisher, "_accept", silently)
    outcome = run(simulator, "away:broker@20s+2s kill:plant-frames@21.5s+1s")
    assert any("on no log and in no gap" in line for line in outcome.broken)


OTHER_RULES = "activate:other*0.5@15s+28s activate:bad*0@18s+20s"


def test_rule_sets_come_and_go(simulator: Simulator) -> None:
    outcome = run(simulator, f"{PUMP} {OTHER_RULES} kill:worker@32s+1s")
    assert outcome.broken == []
    # each unit: the first one, the other one, the bad one that is refused, and twice back
    assert outcome.counts["activations"] == 5 * len(SITE.units)


def test_a_worker_that_is_not_told_of_rules_is_found(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "lacks", lambda self, digest: False)
    outcome = run(simulator, f"{PUMP} {OTHER_RULES}")
    assert any("said with other bytes" in line for line in outcome.broken)


def test_a_restart_with_other_rules_than_those_of_the_snapshot_is_found(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def with_the_first(self: TakeOver, unit: str, digest: str) -> object:
        return self._rules.new_engine(unit)

    monkeypatch.setattr(TakeOver, "_engine_of", with_the_first)
    outcome = run(simulator, f"{PUMP} {OTHER_RULES} kill:worker@32s+1s")
    assert any("said by no undisturbed engine" in line for line in outcome.broken)


def test_who_is_told_to_stop_leaves_nothing_behind(simulator: Simulator) -> None:
    stops = " ".join(
        f"stop:{name}@{at}s+1s" for name, at in (("worker", 16), ("plant-frames", 21), ("actuators", 26))
    )
    outcome = run(simulator, f"{PUMP} {stops}")
    assert outcome.broken == []
    assert outcome.counts["stopped"] == 3 + len(instances(1, SITE))
    assert "killed" not in outcome.counts


def test_a_stop_that_leaves_no_snapshots_is_found(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: Processor) -> None:
        """As if all were covered."""

    monkeypatch.setattr(Processor, "finish", nothing)
    outcome = run(simulator, "stop:worker@20s+1s")
    assert any("its snapshots do not cover" in line for line in outcome.broken)


def test_a_role_that_does_not_stop_is_found(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    ticker_run = ticker.run

    async def deaf(context: RoleContext) -> None:
        await ticker_run(dataclasses.replace(context, stop=asyncio.Event()))

    monkeypatch.setattr(ticker, "run", deaf)
    outcome = run(simulator, "stop:ticker@12s+1s", duration_s=70.0)
    assert "ticker did not end within 30 s of its stop" in outcome.broken


RECORDER = "kill:recorder@20.3s+3s stop:recorder@30s+1s disk-full:recorder@36s+4s kill:recorder@43.7s+2s"


def test_a_recorder_that_is_killed_records_all(simulator: Simulator) -> None:
    outcome = run(simulator, f"{PUMP} {OTHER_RULES} {RECORDER}", seed=3)
    assert outcome.broken == []
    assert outcome.counts["killed"] == 2


def test_a_recorder_that_goes_on_too_far_behind_is_found(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def behind(folder: Path) -> LastSegment | None:
        last = last_segment(folder)
        if last is None:
            return None
        return dataclasses.replace(last, positions={place: end + 1 for place, end in last.positions.items()})

    monkeypatch.setattr(tape, "last_segment", behind)
    outcome = run(simulator, f"{PUMP} kill:recorder@20.3s+3s", seed=3)
    assert any(line.startswith("the recording lacks") for line in outcome.broken)


def test_a_recorder_that_loses_what_the_worker_said_is_found(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = tape.SegmentTape.take

    async def all_but_one(self: tape.SegmentTape, records: Sequence[Record]) -> None:
        await take(self, [one for one in records if not (one.topic == ALARMS.name and one.offset == 4)])

    monkeypatch.setattr(tape.SegmentTape, "take", all_but_one)
    outcome = run(simulator, PUMP, seed=3)
    assert any("the replay of the recording differs in 1 outputs" in line for line in outcome.broken)


def test_a_folder_is_left_as_it_was_at_the_kill(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    segment, note = tmp_path / "a.mcap", tmp_path / "a.incident.json"
    segment.write_bytes(b"whole")
    note.write_bytes(b"{}")
    recordings.close()
    segment.write_bytes(b"whole and more")
    note.write_bytes(b"{1}")
    (tmp_path / "b.mcap").write_bytes(b"new")
    recordings.take_over()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        "a.mcap": b"whole",
        "a.incident.json": b"{}",
    }


def test_a_failure_is_reduced_to_what_it_needs(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CommandLedger, "mark", lambda self, *marks: None)
    others = "slow-reader:worker*0.3@17s+2s repeat:events*20@28s+1s clock:ticker*0.5@31s+2s"
    found = run(simulator, f"{PUMP} {others} kill:actuators@22s+2s")
    reduced = simulator.reduced(found)
    assert kinds(reduced) == ["plant", "kill"]
    assert reduced.broken


def kinds(outcome: Outcome) -> Iterable[str]:
    return [trouble.kind for trouble in outcome.troubles]


WITH_FALLBACK = [actuator for actuator in SITE.actuators.values() if actuator.fallback is not None]
AT_SERVERS = [actuator for actuator in WITH_FALLBACK if actuator.kind == "opcua"]
SILENCE = "kill:worker@20s+40s kill:ticker@20s+40s"


def test_without_worker_and_ticker_each_actuator_falls_back_once_and_the_plants_watchdog_too(
    simulator: Simulator,
) -> None:
    outcome = run(simulator, SILENCE, duration_s=80.0)
    assert outcome.broken == []
    counts = outcome.counts
    assert counts["fallbacks"] == len(WITH_FALLBACK)
    assert counts["watchdog fallbacks"] == len(AT_SERVERS)
    assert counts["commands"] == counts["writes"] == 0


def test_without_the_actuators_the_plant_falls_back_by_itself(simulator: Simulator) -> None:
    outcome = run(simulator, "kill:actuators@20s+40s", duration_s=80.0)
    assert outcome.broken == []
    assert outcome.counts["fallbacks"] == 0
    assert outcome.counts["watchdog fallbacks"] == len(AT_SERVERS)


def test_a_short_silence_moves_nothing(simulator: Simulator) -> None:
    outcome = run(simulator, "kill:worker@20s+10s kill:actuators@20s+10s")
    assert outcome.broken == []
    assert outcome.counts["fallbacks"] == outcome.counts["watchdog fallbacks"] == 0


def test_actuators_that_hear_no_silence_are_found(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Life, "silence_s", lambda self, unit: 0.0)
    outcome = run(simulator, SILENCE, duration_s=80.0)
    assert any("did not fall back" in line for line in outcome.broken)


def test_actuators_that_lose_patience_are_found(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence_s = Life.silence_s
    monkeypatch.setattr(Life, "silence_s", lambda self, unit: silence_s(self, unit) + 12.0)
    outcome = run(simulator, "kill:worker@20s+12s")
    assert any("fell back after a silence of" in line for line in outcome.broken)


# The second alarm's receipts come while the broker is away and the spool has no room for them, and then it is told to
# end; what the ledger is told finds room.
NOWHERE = (
    f"{PUMP} plant:pump_trip:CDU-A@60s+10s server-deaf:nvml@60s+10s away:broker@65s+35s "
    "disk-full:actuators@64s+45s stop:actuators@73s+1s"
)


def test_receipts_that_nothing_takes_at_a_stop_come_from_the_next_process(simulator: Simulator) -> None:
    outcome = run(simulator, NOWHERE, duration_s=130.0)
    assert outcome.broken == []
    assert outcome.counts["commands"] == 144
    assert outcome.counts["disk refusals"] > 0


def test_a_ledger_that_is_told_of_receipts_that_are_nowhere_is_found(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    safe = Receipts.safe

    def all_of_them(self: Receipts, everything: bool = False) -> list[str]:
        return [said.name for said in self._said] if everything else safe(self)

    monkeypatch.setattr(Receipts, "safe", all_of_them)
    outcome = run(simulator, NOWHERE, duration_s=130.0)
    assert any("72 commands without a receipt" in line for line in outcome.broken)
