"""What the tests of the formats share: a site with points and GPUs, and an import of files into inputs."""

from __future__ import annotations

from pathlib import Path

from rules.engine.inputs import Frame, Input, Readings
from rules.gpu_fields import FIELD_INDEX
from streams.importing.report import ImportReport
from streams.importing.run import import_recording
from streams.recording.recording import Recording
from streams.wire import decode_input

PROMETHEUS = Path(__file__).parent / "prometheus"
T0 = 1_767_225_600_000_000_000  # 2026-01-01
S = 1_000_000_000
SITE = """
name: formats
tick: 1 s
sources:
  log: {kind: file, period: 10 s, lateness: 1 h, clock_tolerance: 1 min}
  gpus: {kind: file, period: 10 s, lateness: 1 h, clock_tolerance: 1 min, assets: [DGX-1, DGX-2]}
templates:
  host:
    type: Tray
    contains: {"-G[1..2]": {type: GPU}}
units:
  hall:
    assets:
      CDU-A:
        type: CDU
        points:
          LiquidTemperature: {range: -50..100 degC, source: log}
          LiquidFlow: {range: 0..1000 L/min, source: log}
      P-1:
        type: Pump
        points:
          PumpSpeed: {range: 0..100 %, source: log}
      DGX-1: host
      DGX-2: host
"""


def run(tmp_path: Path, map_text: str, *files: tuple[str, bytes] | Path) -> tuple[ImportReport, list[Input]]:
    """The report and the inputs of an import of files given by path, or by name and content."""
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "site.yaml").write_text(SITE)
    (tmp_path / "map.yaml").write_text("site: site\n" + map_text)
    paths = []
    for one in files:
        path = one if isinstance(one, Path) else tmp_path / one[0]
        if not isinstance(one, Path):
            path.write_bytes(one[1])
        paths.append(path)
    told: list[int] = []
    report = import_recording(paths, tmp_path / "map.yaml", tmp_path / "out.mcap", told.append)
    assert sum(told) == sum(path.stat().st_size for path in paths)
    records = Recording(tmp_path / "out.mcap").records()
    return report, [decode_input(one.key, one.headers, one.value) for one in records]


def readings(inputs: list[Input]) -> dict[tuple[str, int], float]:
    return {
        (point, int(time)): float(value)
        for one in inputs
        if isinstance(one, Readings)
        for point, time, value in zip(one.points, one.time_ns, one.values, strict=True)
    }


def fields(inputs: list[Input], name: str) -> dict[tuple[str, int, int], float]:
    """By host, GPU and time."""
    return {
        (one.asset, int(gpu), int(time)): float(one.values[sample, lane, FIELD_INDEX[name]])
        for one in inputs
        if isinstance(one, Frame)
        for sample, time in enumerate(one.time_ns)
        for lane, gpu in enumerate(one.gpu)
    }
