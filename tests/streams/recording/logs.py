"""Small logs of real inputs, as records of `events`, for the tests of what is done with recordings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rules.engine.inputs import Frame, Gap, Identity, Input, Readings, Tick
from streams.record import Record
from streams.recording.recording import RecordingWriter
from streams.wire import encode_input

S = 1_000_000_000


def readings(sequence: int, *, source: str = "plc", epoch: int = 5, unit: str = "hall") -> Readings:
    n = np.full(1, sequence, np.int64)
    return Readings(
        unit, Identity(source, epoch, sequence), sequence, ("P-1.PumpSpeed",), n, n, np.ones(1) * sequence,
        np.zeros(1, np.uint8), np.zeros(1, np.uint32),
    )  # fmt: skip


def frame(sequence: int, *, asset: str = "R01", gpus: int = 2, source: str = "gpus") -> Frame:
    values = np.arange(gpus * 24, dtype=np.float32).reshape(1, gpus, 24)
    values[0, 0, 5] = np.nan
    return Frame(
        "hall", Identity(source, 5, sequence), 7, asset, np.full(1, sequence, np.int64),
        np.arange(gpus, dtype=np.uint16), values, np.zeros((1, gpus), np.uint8),
        np.array([[-1, *range(1, gpus)]], np.int64),
    )  # fmt: skip


def tick(time_ns: int, unit: str = "hall") -> Tick:
    return Tick(unit, Identity("ticker", 0, time_ns // S), time_ns)


def gap(sequence: int) -> Gap:
    return Gap("hall", Identity("plc", 5, sequence), "disconnected", 0, 1, 3)


def as_records(inputs: Iterable[Input], first_offset: int = 0) -> list[Record]:
    """In partition 0, one after the other."""
    messages = [encode_input(value, 1) for value in inputs]
    return [
        Record(m.topic, 0, offset, 1_700_000_000_000 + offset, m.key, m.value, m.headers)
        for offset, m in enumerate(messages, first_offset)
    ]


def write(
    path: Path,
    records: Iterable[Record],
    *,
    chunk: int = 5,
    log_ns: int = 1000,
    attachments: dict[str, bytes] | None = None,
    metadata: dict[str, str] | None = None,
) -> list[int]:
    """Chunks of so many records, written one a nanosecond from `log_ns` on; where each chunk ends."""
    ends = []
    with RecordingWriter(
        path, attachments=attachments, metadata={"site": "demo", **(metadata or {})}
    ) as writer:
        for index, record in enumerate(records):
            writer.write(record, log_ns + index)
            if index % chunk == chunk - 1:
                writer.flush()
                ends.append(path.stat().st_size)
    return ends
