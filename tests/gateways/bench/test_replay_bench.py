"""`headrace bench replay`, small: its keys are there, and its recording is one that a worker could have written."""

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from gateways.bench.replay_load import record_run, rules_at
from gateways.cli.main import run_app
from rules.engine.inputs import Frame
from rules.errors import UnreachableError
from streams.recording.recording import Recording
from streams.wire import decode_input

FOLDER = Path(__file__).parents[3] / "examples" / "narvik"


@pytest.mark.night
def test_the_bench_says_what_it_measured(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_app(["bench", "replay", str(FOLDER), "--gpus", "100", "--seconds", "40", "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["gpus"] == 576
    assert said["recorded_s"] == pytest.approx(39, abs=1)
    assert said["readings_per_s"] == pytest.approx(
        said["readings"] / said["recorded_s"] * said["x_real_time"], rel=0.02
    )
    assert list(said["split_ms"]) == ["start", "read", "decompress", "decode", "kernel", "output"]
    assert sum(said["split_ms"].values()) == pytest.approx(said["cpu_s"] * 1e3, rel=0.3)
    assert min(said["bytes_per_reading"], said["rss_mb_max"]) > 0
    assert (said["compared"] > 100, said["differences"]) == (True, 0)
    cores = said["all_cores"]
    assert cores["jobs"] == len(os.sched_getaffinity(0))
    assert cores["x_real_time"] == pytest.approx(said["recorded_s"] / cores["wall_s"], rel=0.05)
    assert cores["start_s"] > 0
    assert cores["cpu_s"] > 0


@pytest.mark.parametrize("samples", [1, 10])
def test_the_load_has_a_frame_a_second_of_each_rack(tmp_path: Path, samples: int) -> None:
    record_run(rules_at(FOLDER, samples), 3, tmp_path / "run.mcap")
    times: dict[str, list[int]] = {}
    shapes = set()
    for record in Recording(tmp_path / "run.mcap").records({"events"}):
        value = decode_input(record.key, record.headers, record.value)
        if isinstance(value, Frame) and value.identity.source == "plant-frames":
            times.setdefault(value.asset, []).extend(value.time_ns.tolist())
            shapes.add(value.quality.shape)
    assert len(times) == 8
    assert shapes == {(samples, 72), (samples, 68)}
    for at_ns in times.values():
        assert [after - before for before, after in pairwise(at_ns)] == [10**9 // samples] * (3 * samples - 1)


def test_a_site_without_fast_sources_is_refused(tmp_path: Path) -> None:
    text = (FOLDER / "site.yaml").read_text().replace("period: 100 ms", "period: 1 s")
    (tmp_path / "site.yaml").write_text(text.replace("rules: [rules]", f"rules: ['{FOLDER / 'rules'}']"))
    with pytest.raises(UnreachableError):
        rules_at(tmp_path, 1)
