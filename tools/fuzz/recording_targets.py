"""Recordings and copies of journals: files that are damaged, or made to do damage."""

from __future__ import annotations

import contextlib
import io
import random
import struct
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import lz4.frame
from mcap.writer import CompressionType

from gateways.cli.recording_copies import repair
from rules.errors import ConfigurationError, UndecodableError
from streams.journal.chain import Verifier
from streams.journal.copies import closing_heads, copy_to
from streams.journal.sources import of_copy
from streams.record import Record
from streams.recording.check import check_recordings
from streams.recording.recording import Recording, RecordingWriter
from streams.wire import decode_input, encode_input
from tests.rules.engine.plant import MS, START, S, flow, tick
from tests.streams.journal.lines import head, journal
from tools.fuzz.mutate import NUMBERS, Make, of_bytes, of_text
from tools.fuzz.runner import Case

_CHUNK: Final = 6
_DATA_END: Final = 15


def _written(path: Path, compression: CompressionType) -> bytes:
    with RecordingWriter(path, attachments={"site.yaml": b"name: x\n"}, compression=compression) as writer:
        for number in range(12):
            value = (
                tick(START + number * 100 * MS) if number % 3 else flow(number + 1, START + number * S, 1.0)
            )
            one = encode_input(value, 1)
            body = None if number == 7 else one.value
            writer.write(
                Record(one.topic, 0, number, 5 + number, one.key, body, one.headers), START + number * S
            )
            if number == 6:
                writer.flush()
    return path.read_bytes()


def _without_checksums(data: bytes) -> bytes:
    """Chunks may have none: then what is wrong in them gets further."""
    changed, at = bytearray(data), 8
    while changed[at] != _DATA_END:
        (length,) = struct.unpack_from("<Q", changed, at + 1)
        if changed[at] == _CHUNK:
            struct.pack_into("<I", changed, at + 9 + 24, 0)
        at += 9 + length
    return bytes(changed)


def _bomb(rng: random.Random, data: bytes) -> bytes:
    """A chunk of LZ4 that unpacks to much more than it says, or says much more than it has."""
    at = data.find(bytes([_CHUNK]))
    for _ in range(rng.randrange(3)):
        at = data.find(bytes([_CHUNK]), at + 1)
    if at < 0:
        return data
    size = rng.choice((1 << 20, 256 << 20, 1 << 30))
    packed: bytes = lz4.frame.compress(bytes(min(size, 64 << 20)), store_size=rng.random() < 0.5)
    body = struct.pack("<QQQI", START, START, rng.choice((100, size, 1 << 62)), 0)
    body += struct.pack("<I", 3) + b"lz4" + struct.pack("<Q", len(packed)) + packed
    return data[:at] + struct.pack("<BQ", _CHUNK, len(body)) + body + data[at:]


def _indexed(rng: random.Random, data: bytes) -> bytes:
    """An index that lies, with a checksum that is right."""
    footer_at = len(data) - 8 - 20
    (start,) = struct.unpack_from("<Q", data, footer_at)
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(start, footer_at - 9)
        size, form = rng.choice(((1, "B"), (2, "H"), (4, "I"), (8, "Q")))
        number = rng.choice((*NUMBERS, rng.randrange(256))) & ((1 << 8 * size) - 1)
        if at + size < footer_at - 9:
            struct.pack_into("<" + form, changed, at, number)
    struct.pack_into("<I", changed, footer_at + 16, zlib.crc32(changed[start : footer_at + 16]))
    return bytes(changed)


def _make(work: Path) -> Make:
    seeds = [
        _written(work / "seed.mcap", one)
        for one in (CompressionType.LZ4, CompressionType.ZSTD, CompressionType.NONE)
    ]
    seeds += [_without_checksums(seeds[2])] * 3
    change = of_bytes(seeds)

    def make(rng: random.Random) -> bytes:
        if rng.random() < 0.002:
            return _bomb(rng, rng.choice(seeds))
        return _indexed(rng, rng.choice(seeds)) if rng.random() < 0.3 else change(rng)

    return make


def readings(work: Path) -> Case:
    """Opened, read, and each record decoded."""
    make, file = _make(work), work / "x.mcap"

    def run(data: bytes) -> None:
        file.write_bytes(data)
        recording = Recording(file)
        for one in recording.records():
            with contextlib.suppress(UndecodableError):
                decode_input(one.key, one.headers, one.value)
        assert recording.damage is not None

    return Case(make, run, (ConfigurationError,))


def checks(work: Path) -> Case:
    """`recording check`."""
    make, file = _make(work), work / "x.mcap"

    def run(data: bytes) -> None:
        file.write_bytes(data)
        check_recordings([Recording(file)], lambda _: None)

    return Case(make, run, (ConfigurationError,))


def repairs(work: Path) -> Case:
    """`recording repair`; what it writes is sound."""
    make, file, output = _make(work), work / "x.mcap", work / "out.mcap"

    def run(data: bytes) -> None:
        file.write_bytes(data)
        output.unlink(missing_ok=True)
        silent: Any = io.StringIO()
        with contextlib.redirect_stderr(silent), contextlib.redirect_stdout(silent):
            repair(file, output, False)
        found = check_recordings([Recording(output)], lambda _: None)
        assert not found.files[0].damage, found.files[0].damage
        assert not found.files[0].index, found.files[0].index

    return Case(make, run, (ConfigurationError,))


def _verifying(work: Path, kind: str, words: bytes | None = None) -> Case:
    """`journal verify` of a copy of this kind: a chain that holds, with a head, is the one that was written."""
    lines = journal(5)
    file = work / f"x{kind}"
    verifier = Verifier()
    with copy_to(file, kind) as put:
        for value in (*lines, head(lines, 5).as_bytes()):
            one = verifier.take(value, "")
            assert one is not None
            put(one, value)
        for closing in closing_heads(verifier):
            put(closing, closing.as_bytes())
    seed = file.read_bytes()
    make = of_bytes([seed]) if words is None else of_text([seed], [words])

    def run(data: bytes) -> None:
        file.write_bytes(data)
        verifier = Verifier()
        for stated in of_copy(file):
            verifier.take(*stated)
        if verifier.finish({}) or "row-a" not in verifier.units:
            return
        chain = verifier.units["row-a"]
        if any(
            one.number == chain.end.number for one, _ in chain.heads
        ):  # no head vouches for the last line else
            assert chain.end.hash == sha256(lines[chain.end.number - 1]).hexdigest()

    return Case(make, run, (ConfigurationError,))


RECORDING_TARGETS: Final = {
    "recordings": readings,
    "recording-check": checks,
    "recording-repair": repairs,
    "journal-lines": lambda work: _verifying(work, ".jsonl", b'"previous":""'),
    "journal-csv": lambda work: _verifying(work, ".csv", b'""previous"":""""'),
    "journal-parquet": lambda work: _verifying(work, ".parquet"),
}
