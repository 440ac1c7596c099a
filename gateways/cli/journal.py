"""`headrace journal verify`, `export` and `key`: whether a journal is as it was said, and a copy of it as evidence."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from gateways.cli.alarm_list import running_site
from gateways.cli.progress import progress
from gateways.printable import printable
from rules.errors import ConfigurationError
from rules.findings import Finding as Wrong
from streams.journal.chain import Finding, Verifier
from streams.journal.copies import closing_heads, copy_to
from streams.journal.heads import read_signer
from streams.journal.sources import COPIES, Stated, is_copy, of_copy, of_log, of_recordings
from streams.keys import key_id, make_key, read_public
from streams.output_file import finished_file
from streams.recording.segments import open_recordings
from streams.site_folder import SITE_FILE
from streams.times import iso_utc

SHOWN = 20
"""So many findings of a journal are shown; `--json` has all."""


def verify(paths: Sequence[Path], public_keys: Sequence[Path], bootstrap: str | None, as_json: bool) -> int:
    """Whether the chain of each unit holds; 1 where it does not."""
    keys = {key_id(key): key for key in map(read_public, public_keys)}
    verifier, damage = Verifier(), list[str]()
    if len(paths) == 1 and _is_site(paths[0]):
        asyncio.run(_take_log(paths[0], bootstrap, verifier))
    else:
        _take(_stated(paths, damage), verifier)
    found = verifier.finish(keys)
    if not verifier.units and not found:
        raise ConfigurationError([Wrong(str(paths[0]), 0, 0, "holds no journal: nothing can be verified")])
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(_body(verifier, found, damage, bool(keys))) + b"\n")
    else:
        for line in _words(verifier, found, damage, bool(keys)):
            print(printable(line))
    return 1 if found else 0


async def _take_log(site_dir: Path, bootstrap: str | None, verifier: Verifier) -> None:
    async with running_site(site_dir, bootstrap) as (_, bus):
        with progress("verifying", None) as advance:
            async for one in of_log(bus):
                verifier.take(*one)
                advance(1)


def _take(stated: Iterable[Stated], verifier: Verifier) -> None:
    with progress("verifying", None) as advance:
        for one in stated:
            verifier.take(*one)
            advance(1)


def _stated(paths: Sequence[Path], damage: list[str]) -> Iterator[Stated]:
    """The records of copies, or of recordings, that follow each other; `damage` of recordings is added."""
    for path in paths:
        if _is_site(path):
            text = "a site: its log is verified alone, with nothing else named, and copied from a recording of it"
            hint = f"headrace record {path} -o FILE records it"
            raise ConfigurationError([Wrong(str(path), 0, 0, text, hint)])
    if all(map(is_copy, paths)):
        for path in paths:
            yield from of_copy(path)
        return
    if any(map(is_copy, paths)):
        raise ConfigurationError([Wrong(str(paths[0]), 0, 0, "copies and recordings are verified apart")])
    recordings = open_recordings(paths)
    yield from of_recordings(recordings)
    damage += [f"{one.path}: {line}" for one in recordings for line in one.damage]


def _is_site(path: Path) -> bool:
    return (path / SITE_FILE).is_file()


def _body(verifier: Verifier, found: list[Finding], damage: list[str], with_keys: bool) -> dict[str, Any]:
    return {
        "holds": not found,
        "findings": [one._asdict() for one in found],
        "units": {
            unit: {
                "first": chain.first,
                "last": chain.end.number,
                "hash": chain.end.hash,
                "lines": chain.lines,
                "repeats": chain.repeats,
                "heads": len(chain.heads),
                "signed_heads": sum(bool(head.key) for head, _ in chain.heads),
                "verified_head": None if chain.signed is None else asdict(chain.signed),
            }
            for unit, chain in sorted(verifier.units.items())
        },
        "signatures_checked": with_keys,
        "damage": damage,
    }


def _words(verifier: Verifier, found: list[Finding], damage: list[str], with_keys: bool) -> Iterator[str]:
    for unit, chain in sorted(verifier.units.items()):
        begins = "" if chain.first == 1 else ", begins in the middle"
        repeats = f", {chain.repeats:,} said again" if chain.repeats else ""
        yield f"{unit}: {chain.lines:,} lines, number {chain.first} to {chain.end.number}{begins}{repeats}"
        head = chain.signed
        if head is not None:
            yield f"  signed up to number {head.number}, {iso_utc(head.at_ns)}, by key {head.key}"
        elif not with_keys and any(head.key for head, _ in chain.heads):
            yield "  has signed heads: name the key with --public-key to check who signed them"
    for line in damage:
        yield f"damaged: {line}"
    for one in found[:SHOWN]:
        what = f"{one.unit or 'unit unknown'}: {one.what}"
        number = f" number {one.number}" if one.number else ""
        name = f" ({one.id})" if one.id else ""
        place = f", {one.place}" if one.place else ""
        yield f"{what}{number}{name}{place}: {one.message}"
    if len(found) > SHOWN:
        yield f"{len(found) - SHOWN} more: --json lists them"
    yield "the chain does not hold" if found else "the chain holds"


def export(paths: Sequence[Path], output: Path, as_json: bool) -> int:
    """Write a copy; 1 where a record of the journal is none and had to be left out, or a recording is damaged."""
    if not is_copy(output):
        raise ConfigurationError(
            [Wrong(str(output), 0, 0, f"name a file that ends with {', '.join(COPIES)}")]
        )
    verifier, damage = Verifier(), list[str]()
    records = 0
    with (
        finished_file(output) as part,
        copy_to(part, output.suffix) as put,
        progress("writing", None) as advance,
    ):
        for stated in _stated(paths, damage):
            one = verifier.take(*stated)
            advance(1)
            if one is not None and stated.value is not None:
                put(one, stated.value)
                records += 1
        for head in closing_heads(verifier):
            put(head, head.as_bytes())
    left_out = [one._asdict() for one in verifier.refused]
    if as_json:
        body = {"file": str(output), "records": records, "units": len(verifier.units), "left_out": left_out}
        sys.stdout.buffer.write(orjson.dumps({**body, "damage": damage}) + b"\n")
    else:
        print(f"{output}: {records:,} records of {len(verifier.units)} units")
        for line in [
            *(f"left out: {one.place}: {one.message}" for one in verifier.refused[:SHOWN]),
            *damage,
        ]:
            print(printable(f"  {line}"))
    return 1 if left_out or damage else 0


def new_key(output: Path, as_json: bool) -> int:
    """Make a key pair."""
    public = make_key(output)
    name = read_signer(output).key_id
    if as_json:
        said = {"key": name, "private": str(output), "public": str(public)}
        sys.stdout.buffer.write(orjson.dumps(said) + b"\n")
    else:
        print(f"key {name}: {output} signs (journal.key in the settings), {public} verifies (--public-key)")
    return 0
