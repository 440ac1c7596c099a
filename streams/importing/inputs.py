"""Rows to the engine's inputs: readings, GPU frames, gaps, and the ticks that let time advance.

Rules: the same files give the same inputs, byte for byte (no clock: a row's ingest time is its own time, the
epoch is that of the first row). A tick goes before the first row that needs it; ticks are as sparse as the
source's clock tolerance allows, because their density changes no output. A span without rows becomes a `Gap` of
its source. Repeated and disordered rows stay in the log: the engine judges them as it does live ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby, repeat

import numpy as np

from rules.engine.inputs import ACTIVATION_SOURCE, Activation, Frame, Gap, Identity, Input, Readings, Tick
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from rules.quality import GOOD_STATUS, Quality, quality_of_status
from rules.site.model import Site, Source
from streams.importing.map_columns import SERIES
from streams.importing.map_file import ImportMap
from streams.importing.report import ImportReport, MissingSpan
from streams.importing.rows import Row

TICKER = "ticker"
NOT_RECORDED = "not-recorded"
"""The reason of a Gap: the imported file has no rows for its time span."""
REMEMBERED_ROWS = 10_000
"""A repeated row is known as one if it comes within so many of the same series."""


@dataclass(slots=True)
class _Stream:
    """What one source brings of one series to one unit: cells of a row, and the rows of the batch under way."""

    unit: str
    source: Source
    points: dict[int, str] = field(default_factory=dict)
    """By cell of the row."""
    frames: dict[str, dict[int, tuple[int, int]]] = field(default_factory=dict)
    """By the asset of a frame and the cell of the row: (GPU index, field)."""
    rows: list[Row] = field(default_factory=list)
    cells: set[int] = field(default_factory=set)
    newest_ns: int | None = None


@dataclass(slots=True)
class _Unit:
    """`last_tick` is its sequence; `sequences` by source."""

    id: str
    last_tick: int = -1
    last_ns: int = 0
    sequences: dict[str, int] = field(default_factory=dict)


class _Seen:
    """The times of a series' last rows, to tell repeated from disordered ones."""

    def __init__(self) -> None:
        self.newest_ns: int | None = None
        self._rows: dict[int, tuple[float | None, ...]] = {}

    def judge(self, row: Row, report: ImportReport) -> None:
        """Count the row if it is no newer than what came before."""
        if row.time_ns in self._rows:
            report.duplicates += 1
            report.conflicting += repr(self._rows[row.time_ns]) != repr(row.values)
        elif self.newest_ns is not None and row.time_ns < self.newest_ns:
            report.out_of_order += 1
        self._rows[row.time_ns] = row.values
        if len(self._rows) > REMEMBERED_ROWS:
            del self._rows[next(iter(self._rows))]
        self.newest_ns = row.time_ns if self.newest_ns is None else max(self.newest_ns, row.time_ns)


class InputBuilder:
    """Makes the inputs of one import. `rules_digest` is that of the program which the recording carries."""

    def __init__(self, plan: ImportMap, rules_digest: str, report: ImportReport) -> None:
        self._plan = plan
        self._site = plan.site
        self._rules_digest = rules_digest
        self._report = report
        self._streams: dict[str, list[_Stream]] = {}
        self._seen: dict[str, _Seen] = {}
        self._units: dict[str, _Unit] = {}
        self._epoch = 1

    def build(self, rows: Iterable[Row]) -> Iterator[Input]:
        """Inputs in the order of the log, for rows in the order of time (as far as the files have it)."""
        for row in rows:
            yield from self._take(row)
        for streams in self._streams.values():
            for stream in streams:
                yield from self._close_batch(stream)
        for unit in self._units.values():
            # Deadlines that lie before the last row fire even if nothing comes after it.
            yield from self._tick(unit, unit.last_ns + self._site.tick_ns)

    def _take(self, row: Row) -> Iterator[Input]:
        report = self._report
        streams = [
            stream for stream in self._streams_of(row.series) if not stream.cells.isdisjoint(row.cells)
        ]
        if report.rows == 0:
            self._epoch = max(1, row.time_ns)
        report.rows += 1
        report.first_ns = row.time_ns if report.first_ns is None else min(report.first_ns, row.time_ns)
        report.last_ns = row.time_ns if report.last_ns is None else max(report.last_ns, row.time_ns)
        for value in row.values:
            if value is not None:
                report.readings += value == value  # noqa: PLR0124 - NaN is not itself
                report.not_available += value != value  # noqa: PLR0124
        report.not_good += sum(status >> 30 != 0 for status in row.status)
        self._seen.setdefault(row.series, _Seen()).judge(row, report)
        spans: dict[int, int] = {}
        for stream in streams:
            before_ns = stream.newest_ns
            is_gap = before_ns is not None and row.time_ns - before_ns > self._plan.max_gap_ns
            stream.newest_ns = row.time_ns if before_ns is None else max(before_ns, row.time_ns)
            unit = self._units[stream.unit]
            span_ns = stream.source.clock_tolerance_ns - self._site.tick_ns
            first_ns = stream.rows[0].time_ns if stream.rows else row.time_ns
            if stream.rows and (is_gap or not 0 <= row.time_ns - first_ns <= span_ns):
                yield from self._close_batch(stream)
            if not stream.rows:
                # What other batches of the unit hold lies before this tick, so it comes before it in the log.
                for other in self._others(stream):
                    yield from self._close_batch(other)
                yield from self._tick(unit, row.time_ns)
            if is_gap and before_ns is not None:
                yield self._gap(stream, before_ns, row.time_ns)
                missing = self._missing(stream, before_ns, row.time_ns)
                spans[before_ns] = spans.get(before_ns, 0) + missing
            stream.rows.append(row)
            unit.last_ns = max(unit.last_ns, row.time_ns)
        for before_ns, missing in spans.items():
            report.gaps.append(MissingSpan(row.series, before_ns, row.time_ns, missing))

    def _others(self, stream: _Stream) -> list[_Stream]:
        return [
            other
            for streams in self._streams.values()
            for other in streams
            if other is not stream and other.unit == stream.unit
        ]

    def _tick(self, unit: _Unit, time_ns: int) -> Iterator[Input]:
        sequence = time_ns // self._site.tick_ns
        if sequence <= unit.last_tick:
            return
        is_first = unit.last_tick < 0
        unit.last_tick = sequence
        yield Tick(unit.id, Identity(TICKER, 0, sequence), sequence * self._site.tick_ns)
        if is_first and not self._site.root_key:  # what nobody signs would be refused there
            identity = Identity(ACTIVATION_SOURCE, self._epoch, 1)
            yield Activation(unit.id, identity, self._site.digest, self._rules_digest, time_ns)

    def _identity(self, stream: _Stream) -> Identity:
        sequences = self._units[stream.unit].sequences
        sequences[stream.source.id] = sequences.get(stream.source.id, 0) + 1
        return Identity(stream.source.id, self._epoch, sequences[stream.source.id])

    def _missing(self, stream: _Stream, from_ns: int, to_ns: int) -> int:
        columns = len(stream.points) + sum(map(len, stream.frames.values()))
        return columns * max(0, (to_ns - from_ns) // stream.source.period_ns - 1)

    def _gap(self, stream: _Stream, from_ns: int, to_ns: int) -> Gap:
        readings = self._missing(stream, from_ns, to_ns)
        return Gap(stream.unit, self._identity(stream), NOT_RECORDED, from_ns, to_ns, readings)

    def _close_batch(self, stream: _Stream) -> Iterator[Input]:
        rows, stream.rows = stream.rows, []
        if not rows:
            return
        if stream.points:
            readings = self._readings(stream, rows)
            if readings.points:
                yield readings
        for asset, cells in stream.frames.items():
            # a frame has the same GPUs in each of its samples: one that a row says nothing of is not in it
            for gpus, found in groupby(rows, lambda row: _gpus(cells, row)):  # noqa: B023 - used at once
                if gpus:
                    yield self._frame(stream, asset, cells, gpus, list(found))

    def _readings(self, stream: _Stream, rows: list[Row]) -> Readings:
        points: list[str] = []
        times: list[int] = []
        values: list[float] = []
        status: list[int] = []
        for row in rows:
            states = row.status or repeat(GOOD_STATUS)
            for cell, value, state in zip(row.cells, row.values, states, strict=False):
                if value is not None and cell in stream.points:
                    points.append(stream.points[cell])
                    times.append(row.time_ns)
                    values.append(value)
                    status.append(state)
        column, codes = np.array(values, np.float64), np.array(status, np.uint32)
        severity = np.minimum(codes >> np.uint32(30), Quality.BAD)
        missing = np.isnan(column) & (severity < Quality.BAD)
        quality = np.where(missing, Quality.MISSING, severity).astype(np.uint8)
        identity = self._identity(stream) if points else Identity(stream.source.id, self._epoch, 0)
        return Readings(
            stream.unit, identity, max(row.time_ns for row in rows), tuple(points), np.array(times, np.int64),
            np.zeros(len(points), np.int64), column, quality, codes,
        )  # fmt: skip

    def _frame(
        self,
        stream: _Stream,
        asset: str,
        cells: dict[int, tuple[int, int]],
        gpus: tuple[int, ...],
        rows: list[Row],
    ) -> Frame:
        place = {gpu: index for index, gpu in enumerate(gpus)}
        values = np.full((len(rows), len(gpus), FIELD_COUNT), np.nan, np.float32)
        energy_mj = np.full((len(rows), len(gpus)), -1, np.int64)
        worst = np.full((len(rows), len(gpus)), Quality.GOOD, np.uint8)
        for sample, row in enumerate(rows):
            states = row.status or repeat(GOOD_STATUS)
            for cell, value, state in zip(row.cells, row.values, states, strict=False):
                if cell not in cells or value is None or math.isnan(value):
                    continue
                gpu, number = cells[cell]
                values[sample, place[gpu], number] = value
                worst[sample, place[gpu]] = max(worst[sample, place[gpu]], quality_of_status(state))
                if number == FIELD_INDEX["energy"]:
                    energy_mj[sample, place[gpu]] = round(value * 1e6)
        quality = np.where(np.isnan(values).all(axis=2), Quality.MISSING, worst).astype(np.uint8)
        return Frame(
            stream.unit, self._identity(stream), max(row.time_ns for row in rows), asset,
            np.array([row.time_ns for row in rows], np.int64), np.array(gpus, np.uint16),
            values, quality, energy_mj,
        )  # fmt: skip

    def _streams_of(self, series: str) -> list[_Stream]:
        if series not in self._streams:
            streams: dict[tuple[str, str], _Stream] = {}
            for cell, column in enumerate(self._plan.columns):
                _place(self._site, cell, column.target.replace(SERIES, series), streams)
            self._streams[series] = list(streams.values())
            for stream in streams.values():
                self._units.setdefault(stream.unit, _Unit(stream.unit))
        return self._streams[series]


def _place(site: Site, cell: int, target: str, streams: dict[tuple[str, str], _Stream]) -> None:
    """Put a cell into the stream of its unit and source."""
    if target in site.points:
        point = site.points[target]
        unit = site.assets[point.asset].unit
        stream = _stream(streams, unit, site.sources[point.source])
        stream.points[cell] = target
        stream.cells.add(cell)
        return
    gpu, _, name = target.rpartition(".")
    unit = site.assets[gpu].unit
    lane = site.units[unit].gpu_lane[gpu]
    source, asset, low = _reader_of(site.sources, site.units[unit].gpu_range, lane)
    stream = _stream(streams, unit, source)
    stream.frames.setdefault(asset, {})[cell] = (lane - low, FIELD_INDEX[name])
    stream.cells.add(cell)


def _gpus(cells: Mapping[int, tuple[int, int]], row: Row) -> tuple[int, ...]:
    """The GPUs that a row says something of, ascending."""
    return tuple(sorted({cells[cell][0] for cell in row.cells if cell in cells}))


def _stream(streams: dict[tuple[str, str], _Stream], unit: str, source: Source) -> _Stream:
    return streams.setdefault((unit, source.id), _Stream(unit, source))


def _reader_of(
    sources: Mapping[str, Source], ranges: Mapping[str, tuple[int, int]], lane: int
) -> tuple[Source, str, int]:
    """The source that reads a GPU's lane, and below which of its assets; the site's check says there is one."""
    for source in sources.values():
        for asset in source.assets:
            low, high = ranges.get(asset, (0, 0))
            if low <= lane < high:
                return source, asset, low
    raise AssertionError(f"no source reads lane {lane}")
