"""Valid inputs made wrong: bytes, texts and JSON.

Rules: an input is made of its target's seeds and one random generator alone, so that the same number of the same run
gives the same bytes again.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, Final

import orjson

Make = Callable[[random.Random], bytes]

NUMBERS: Final = (0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 40,
                  0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF)  # fmt: skip
WORDS: Final = (
    b"9" * 400, b"1e308", b"1e999", b"-1e999", b"nan", b"inf", b"-0", b"9223372036854775808", b"18446744073709551616",
    b"1e-400", b"0x1F", b"1_000", b"\xed\xa0\x80", b"\xff\xfe", b"\0", b"\xe2\x80\xa8", b"\xc2\x85", b"\xef\xbb\xbf", b"\\", b"'", b'"',
    b"%s%n", b"../../../etc/passwd", b"{0.__class__}", b"\r\n", b"\r", b"\t", b" ", b"\n", b"A" * 5000, "²".encode(), "٣".encode(),
)  # fmt: skip
YAML_WORDS: Final = (
    b"&a ", b"*a", b"<<: *a", b"!!python/object/apply:os.system [id]", b"!!binary ", b"!!set ", b"? ", b"- ", b": ", b"|\n",
    b">\n", b"---\n", b"...\n", b"%YAML 9.9\n", b"%TAG ! x\n", b"[", b"{", b"]", b"}", b"[" * 200, b"{a: " * 200, b"- " * 200, b"# ",
    b"a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b]\n", b"~", b"null", b"true", b"1 h", b"1e300 d",
    b"0 s", b"-5 s", b"[1..99999999]", b"[9..1]", b"1e400..1e401", b"''", b'"\\ud800"', b'"\\x00"', b"2026-01-01", b"12:30",
)  # fmt: skip
JSON_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, 0.5, -0.0, 1e308, 5e-324, "", "x", "NaN", "\u2028", "\0",
    "a" * 3000, "row", "R1", "R1.RackLiquidFlow", [], [[]], {}, {"": 0}, {"a": {"b": [1, "x"]}}, [None] * 50, ["a", 1],
)  # fmt: skip


def of_bytes(seeds: Sequence[bytes], words: Sequence[bytes] = WORDS, keep: int = 0) -> Make:
    """Bits flipped, numbers overwritten, parts cut, doubled and put in from others; the first `keep` bytes stay."""

    def make(rng: random.Random) -> bytes:
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            _change(rng, data, seeds, words, keep)
        return bytes(data)

    return make


def _change(
    rng: random.Random, data: bytearray, seeds: Sequence[bytes], words: Sequence[bytes], keep: int
) -> None:
    if len(data) <= keep:
        data += rng.choice(words)
        return
    at = rng.randrange(keep, len(data))
    match rng.randrange(10):
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        case 2 | 3:  # a length or an offset that lies
            size, form = rng.choice(((2, "H"), (4, "I"), (8, "Q")))
            start = at - at % rng.choice((1, size))
            number = rng.choice((*NUMBERS, len(data), rng.randrange(1 << 16))) & ((1 << 8 * size) - 1)
            if keep <= start <= len(data) - size:
                struct.pack_into(rng.choice("<>") + form, data, start, number)
        case 4:
            del data[at:]
        case 5:
            del data[at : at + rng.choice((1, 2, 4, 8, rng.randrange(1, 64)))]
        case 6:
            part = bytes(data[at : at + rng.randrange(1, 64)])
            data[at:at] = part * rng.choice((1, 1, 2, 50))
        case 7:
            other = rng.choice(seeds)
            low = rng.randrange(len(other) + 1)
            data[at : at + rng.choice((0, 16, 64))] = other[low : low + rng.randrange(1, 128)]
        case 8:
            data[at:at] = rng.choice(words)
        case _:
            data[at : at + rng.randrange(1, 16)] = rng.randbytes(rng.randrange(1, 16))


def of_text(seeds: Sequence[bytes], words: Sequence[bytes]) -> Make:
    """Lines dropped, doubled, moved and indented; words exchanged, put in, made long; and now and then plain bytes."""
    chosen = (*words, *WORDS)
    pool = [word for seed in seeds for word in seed.replace(b"\n", b" ").split()] or [b"x"]
    plain = of_bytes(seeds, chosen)

    def make(rng: random.Random) -> bytes:
        if rng.random() < 0.05:
            return plain(rng)
        lines = rng.choice(seeds).split(b"\n")
        for _ in range(rng.choice((1, 1, 2, 3, 6))):
            _change_line(rng, lines, chosen, pool)
        return b"\n".join(lines)

    return make


def _change_line(
    rng: random.Random, lines: list[bytes], words: Sequence[bytes], pool: Sequence[bytes]
) -> None:
    if not lines:
        lines.append(rng.choice(words))
    row = rng.randrange(len(lines))
    line = lines[row]
    place = rng.randrange(len(line) + 1)
    word = rng.choice(words) if rng.random() < 0.5 else rng.choice(pool)
    match rng.randrange(10):
        case 0:
            del lines[row]
        case 1:
            lines.insert(rng.randrange(len(lines) + 1), line)
        case 2:
            lines[row] = b" " * rng.randrange(1, 5) + line
        case 3:
            lines[row] = line.lstrip()
        case 4:
            lines[row] = line[:place] + word + line[place:]
        case 5:
            lines[row] = line[:place] + line[place + rng.randrange(1, 8) :]
        case 6 | 7:  # another value
            head, colon, _ = line.partition(b":")
            lines[row] = head + colon + b" " + word
        case 8:
            parts = line.split(b" ")
            parts[rng.randrange(len(parts))] = word
            lines[row] = b" ".join(parts)
        case _:
            lines[row] = line[:place] + rng.randbytes(1) + line[place + 1 :]


def of_json(seeds: Sequence[bytes]) -> Make:
    """A value of an object exchanged, a key dropped or added, at any depth; or text that only looks like JSON."""
    plain = of_bytes(seeds)

    def make(rng: random.Random) -> bytes:
        chance = rng.random()
        if chance < 0.2:
            return plain(rng)
        root = orjson.loads(rng.choice(seeds))
        for _ in range(rng.choice((1, 1, 2, 4))):
            root = _other(rng, root)
        data = orjson.dumps(root)
        if chance > 0.97:
            depth = rng.choice((100, 1000, 5000))
            return data.replace(b"{", b'{"a":' + b"[" * depth + b"]" * depth + b",", 1)
        if chance > 0.94:
            return data.replace(b"0", rng.choice((b"9" * 400, b"1e999", b"-1e400", b"NaN", b'"\\ud800"')), 1)
        return data

    return make


def _other(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            del value[key]
        elif rng.random() < 0.1:
            value[rng.choice(("", "x", "unit", "\0", "a" * 300))] = deepcopy(rng.choice(JSON_VALUES))
        else:
            value[key] = _other(rng, value[key])
        return value
    if isinstance(value, list) and value and rng.random() < 0.8:
        value[rng.randrange(len(value))] = _other(rng, rng.choice(value))
        return value
    return deepcopy(rng.choice(JSON_VALUES))


def among(*makes: Make) -> Make:
    """Any of several."""
    return lambda rng: rng.choice(makes)(rng)
