"""What Prometheus answers to a remote read, saved as a file: all samples at once, or a stream of chunks.

Rules: the answer is told by its bytes. `application/x-protobuf` is a `ReadResponse` in one block of snappy;
`application/x-streamed-protobuf` is frames of a length (varint), a CRC-32C and a `ChunkedReadResponse`. The message
types are built here from their field numbers: what we don't read of them is skipped, as protobuf has it.
Source: prometheus.io/docs/prometheus/latest/querying/remote_read_api.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from streams.importing.lines import Progress, unreadable
from streams.importing.map_file import ImportMap
from streams.importing.report import ImportReport
from streams.importing.rows import Row
from streams.importing.series_file import PromSeries, rows_of_series
from streams.importing.xor_chunk import read_xor

XOR: Final = 1
_EXPANSION: Final = 32
"""Snappy writes at most 64 bytes for 3: a header that promises more than that is none of snappy's."""

_MESSAGES: Final[dict[str, tuple[tuple[int, str, str, bool], ...]]] = {
    "Label": ((1, "name", "string", False), (2, "value", "string", False)),
    "Sample": ((1, "value", "double", False), (2, "timestamp", "int64", False)),
    "TimeSeries": (
        (1, "labels", "Label", True), (2, "samples", "Sample", True), (4, "histograms", "bytes", True),
    ),
    "QueryResult": ((1, "timeseries", "TimeSeries", True),),
    "ReadResponse": ((1, "results", "QueryResult", True),),
    "Chunk": ((3, "type", "int32", False), (4, "data", "bytes", False)),
    "ChunkedSeries": ((1, "labels", "Label", True), (2, "chunks", "Chunk", True)),
    "ChunkedReadResponse": ((1, "chunked_series", "ChunkedSeries", True),),
}  # fmt: skip
"""By message: (field number, name, type, repeated)."""


@cache
def message_class(name: str) -> Any:
    """The protobuf class of one of the messages above."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name="headrace/remote_read", package="prometheus", syntax="proto3"
    )
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for number, field, kind, repeated in fields:
            of = descriptor_pb2.FieldDescriptorProto
            added = described.field.add(name=field, number=number)
            added.label = of.LABEL_REPEATED if repeated else of.LABEL_OPTIONAL
            if kind in _MESSAGES:
                added.type, added.type_name = of.TYPE_MESSAGE, f".prometheus.{kind}"
            else:
                added.type = getattr(of, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"prometheus.{name}"))


def read_remote(path: Path, plan: ImportMap, report: ImportReport, progress: Progress) -> Iterator[Row]:
    """Raises ConfigurationError for a file that is neither of the two answers."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None
    found = series_of(path, data, report)
    progress(len(data))
    yield from rows_of_series(path, found, plan, report)


def series_of(path: Path, data: bytes, report: ImportReport) -> Iterator[PromSeries]:
    """The series of either answer. Raises ConfigurationError for bytes that are neither."""
    body = _unsnapped(data)
    if body is not None:
        return _sampled(path, body, report)
    try:
        _frame(data, 0)
    except ValueError:
        message = "neither a snappy-compressed ReadResponse nor a stream of chunks"
        raise unreadable(path, ValueError(message)) from None
    return _chunked(path, data, report)


def _unsnapped(data: bytes) -> bytes | None:
    from cramjam import snappy

    try:
        if snappy.decompress_raw_len(data) > _EXPANSION * len(data):
            return None
        return bytes(snappy.decompress_raw(data))
    except Exception:
        # cramjam's own error, of no useful kind: then it is no block of snappy
        return None


def _sampled(path: Path, body: bytes, report: ImportReport) -> Iterator[PromSeries]:
    answer = message_class("ReadResponse")()
    try:
        answer.ParseFromString(body)
    except Exception as error:
        raise unreadable(path, ValueError(f"no ReadResponse: {error}")) from None
    number = 0
    for result in answer.results:
        for one in result.timeseries:
            number += 1
            if one.histograms:
                report.reject(path.name, number, "histogram", "native histograms are not read")
            labels = {label.name: label.value for label in one.labels}
            yield PromSeries(labels, ((sample.timestamp, sample.value) for sample in one.samples))


def _chunked(path: Path, data: bytes, report: ImportReport) -> Iterator[PromSeries]:
    number = 0
    for body in _frames(path, data, report):
        answer = message_class("ChunkedReadResponse")()
        try:
            answer.ParseFromString(body)
        except Exception as error:
            report.reject(path.name, number + 1, "", f"no ChunkedReadResponse: {error}")
            continue
        for one in answer.chunked_series:
            number += 1
            labels = {label.name: label.value for label in one.labels}
            yield PromSeries(labels, _samples(path, number, one.chunks, report))


def _samples(
    path: Path, number: int, chunks: Iterable[Any], report: ImportReport
) -> Iterator[tuple[int, float]]:
    for chunk in chunks:
        if chunk.type != XOR:
            report.reject(
                path.name, number, "chunk", f"a chunk of type {chunk.type}, not XOR: histograms are not read"
            )
            continue
        try:
            yield from read_xor(chunk.data)
        except ValueError as error:
            report.reject(path.name, number, "chunk", str(error))


def _frames(path: Path, data: bytes, report: ImportReport) -> Iterator[bytes]:
    place = 0
    while place < len(data):
        try:
            body, place = _frame(data, place)
        except ValueError as error:
            # Where the next frame begins is known by the length of this one alone.
            report.reject(path.name, 0, "", f"byte {place}: {error}; what follows can't be read")
            return
        yield body


def _frame(data: bytes, place: int) -> tuple[bytes, int]:
    """The body of the frame at `place`, and where the next begins. Raises ValueError where there is none."""
    length = shift = 0
    while True:
        if place >= len(data) or shift > 28:
            raise ValueError("no length of a frame")
        byte = data[place]
        place += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    body = data[place + 4 : place + 4 + length]
    if len(body) < length:
        raise ValueError("the file ends within a frame")
    if crc32c(body) != int.from_bytes(data[place : place + 4], "big"):
        raise ValueError("the checksum of a frame is wrong")
    return body, place + 4 + length


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)  # noqa: PLW2901 - the polynomial's own steps
        table.append(byte)
    return tuple(table)


def crc32c(data: bytes) -> int:
    """Castagnoli's CRC-32."""
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF
