"""A map file made from the head of a file: what is sure is written, what is not is a question above its line.

Rules: every question is a comment `# CHECK:`, and a map that has one is refused by import; nothing is claimed that the
head doesn't show. A column is mapped without a question only when its name is a point's own and names its unit, or is a
published metric of a GPU.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Final

from rules.site.model import Site
from streams.importing.guessing.heads import Head, read_head
from streams.importing.guessing.map_text import Guess, duration, scalar, shown
from streams.importing.guessing.names import Targets, gpu_field
from streams.importing.guessing.tables import TableHead, order_and_step
from streams.site_folder import load_site

LONG_NAMES: Final = (
    "tag", "tagname", "tag_name", "name", "point", "signal", "variable", "metric", "sensor", "_field",
)  # fmt: skip
SERIES_NAMES: Final = (
    "host", "hostname", "server", "node", "device", "machine", "station", "unit", "instance", "asset",
)  # fmt: skip
HOST_LABELS: Final = ("Hostname", "hostname", "host", "node", "instance", "uuid", "UUID")
GPU_LABELS: Final = ("gpu", "GPU", "gpu_index", "index", "minor_number")
QUALITY_NAMES: Final = ("quality", "q", "status", "state", "statuscode", "status_code", "qualitycode")
GOOD_WORDS: Final = ("good", "192", "ok", "valid")
SERIES_AT_MOST: Final = 500


def guess_map(file: Path, site_dir: Path | None, map_dir: Path) -> Guess:
    """A map for `file` that will lie in `map_dir`. Raises ConfigurationError for a file or site that can't be read."""
    head = read_head(file)
    site = None if site_dir is None else load_site(site_dir)
    guess = Guess(head.format)
    guess.add(f"# Guessed from the head of {shown(file.name)}.")
    guess.add(
        "# A comment that begins with CHECK: asks something about the next line. Decide, and delete it."
    )
    if site_dir is None:
        guess.ask(
            "where is the site whose points these are? (guess again with --site SITE to have them matched)"
        )
        guess.add("site: .")
    else:
        guess.add(f"site: {scalar(os.path.relpath(site_dir, map_dir))}")
    guess.add(f"format: {head.format}")
    if head.encoding != "utf-8-sig":
        guess.add(f"encoding: {head.encoding}")
    for question in head.questions:
        guess.ask(question)
    if head.table is not None:
        _table(guess, head, head.table, site)
    else:
        _samples(guess, head, site)
    return guess


def _table(guess: Guess, head: Head, table: TableHead, site: Site | None) -> None:
    for question in table.questions:
        guess.ask(question)
    if head.format == "csv" and table.delimiter != ",":
        guess.add(f"delimiter: {scalar(table.delimiter, always=True)}")
    if table.decimal != ".":
        guess.add(f"decimal: {scalar(table.decimal, always=True)}")
    guess.add("time:")
    guess.add(f"  column: {scalar('' if table.time is None else table.names[table.time])}")
    if not head.typed_time and (table.time_form != "iso" or table.time is None):
        guess.add(f"  format: {scalar(table.time_form)}")
    if not table.named_zone:
        guess.ask("the times name no zone: is it UTC, or a zone such as Europe/Oslo?", "  ")
        guess.add("  zone: UTC")
    quality = next((n for n, one in enumerate(table.names) if one.lower() in QUALITY_NAMES), None)
    for kind in (table.numbers, table.texts):
        if quality in kind:
            kind.remove(quality)
    name, series = _roles(table)
    order, step_s = order_and_step(table, series if name is None else name)
    guess.add(f"order: {order}")
    if step_s:
        guess.add(
            f"max_gap: {duration(3 * step_s)}          # three steps of the head, {duration(step_s)} each"
        )
    if table.absent:
        guess.ask("are these values that are not there?")
        guess.add(f"not_available: [{', '.join(scalar(one, always=True) for one in table.absent)}]")
    if quality is not None:
        said = Counter(text for text in table.columns[quality] if text)
        good = [text for text in said if text.lower() in GOOD_WORDS] or [
            text for text, _ in said.most_common(1)
        ]
        words = ", ".join(scalar(text, always=True) for text in good)
        guess.ask(
            f"is a value good when {table.names[quality]!r} says one of these? (the head has {sorted(said)[:8]})"
        )
        guess.add(f"quality: {{column: {scalar(table.names[quality])}, good: [{words}]}}")
    ignored = [index for index in table.texts if index not in (name, series)]
    targets = Targets(site)
    if name is not None:
        value = table.numbers[0]
        guess.add(f"long: {{name: {scalar(table.names[name])}, value: {scalar(table.names[value])}}}")
        names = sorted(set(table.columns[name]) - {""})
        guess.ask(f"the head has {len(names)} names: rows of others are rejected unless the map names them")
        _points(guess, targets)
        guess.add("columns:")
        for one in names:
            _column(guess, targets, one)
    else:
        if series is not None:
            _series_of(guess, "column", table.names[series], sorted(set(table.columns[series]) - {""}), site)
        _points(guess, targets)
        guess.add("columns:")
        for index in table.numbers:
            _column(guess, targets, table.names[index], in_series=series is not None)
    if ignored or name is not None:
        rest = [table.names[index] for index in ignored]
        rest += [table.names[index] for index in table.numbers[1:]] if name is not None else []
        if rest:
            guess.ask(
                f"left out: {', '.join(map(repr, rest))}; does one say of which quality or series a value is?"
            )
        guess.add(f"ignored: [{', '.join(scalar(one) for one in rest)}]")


def _roles(table: TableHead) -> tuple[int | None, int | None]:
    """The column with names of a long table, or the one that tells whose rows those of a wide one are."""
    times = [] if table.time is None else [text for text in table.columns[table.time] if text]
    several = len(set(times)) < 0.75 * len(
        times
    )  # rows have their times in common: something tells them apart
    repeated = [
        index
        for index in table.texts
        if (several or table.names[index].lower() in (*LONG_NAMES, *SERIES_NAMES))
        and 0 < len(set(table.columns[index])) <= min(SERIES_AT_MOST, max(1, len(table.columns[index]) // 2))
    ]
    if not repeated:
        return None, None
    known = [index for index in repeated if table.names[index].lower() in LONG_NAMES]
    most = max(known or repeated, key=lambda index: len(set(table.columns[index])))
    if len(table.numbers) == 1 and len(set(table.columns[most])) > 1:
        return most, None
    return None, most


def _series_of(
    guess: Guess, by: str, key: str, names: list[str], site: Site | None, gpu: bool = False
) -> None:
    """The series of a file, each with the asset that has its name, if the site has one."""
    assets = {} if site is None else {one.lower(): one for one in site.assets}
    holders = [] if site is None else [asset for source in site.sources.values() for asset in source.assets]
    candidates = [] if site is None else [*site.units[next(iter(site.units))].gpus] if gpu else holders
    guess.add("series:")
    guess.add(f"  {by}: {scalar(key)}")
    guess.add("  names:")
    for name in names:
        found = assets.get(name.lower())
        if found is None:
            hint = f" (the site has {', '.join(candidates[:6])})" if candidates else ""
            guess.ask(f"which asset is {name!r}?{hint}", "    ")
        guess.add(f"    {scalar(name)}: {scalar(found or '')}")


def _points(guess: Guess, targets: Targets) -> None:
    if targets.names:
        more = f" and {len(targets.names) - 8} more" if len(targets.names) > 8 else ""
        guess.add(f"# points of the site: {', '.join(targets.names[:8])}{more}")


def _column(guess: Guess, targets: Targets, name: str, in_series: bool = False) -> None:
    match, field = targets.match(name), gpu_field(name)
    if in_series and (field is not None or not match.target):
        if field is not None and field[2]:
            guess.add(f"  {scalar(name)}: {{to: {scalar('{series}.' + field[0])}, unit: {scalar(field[1])}}}")
            return
        guess.ask(
            f"which point or GPU field is {name!r}, and in which unit? ('{{series}}' stands for its asset)",
            "  ",
        )
        target = "{series}." + (field[0] if field else "")
        guess.add(
            f"  {scalar(name)}: {{to: {scalar(target)}, unit: {scalar(field[1] if field else match.unit)}}}"
        )
        return
    if not match.sure:
        if match.target:
            guess.ask(f"is {name!r} the point {match.target}, and in {match.unit or 'no unit'}?", "  ")
        else:
            guess.ask(f"which point is {name!r}, and in which unit?", "  ")
    guess.add(f"  {scalar(name)}: {{to: {scalar(match.target)}, unit: {scalar(match.unit)}}}")


def _samples(guess: Guess, head: Head, site: Site | None) -> None:
    if not head.timed and head.format == "prometheus":
        guess.ask(
            "the samples carry no times: when was the first file taken, and how long after it each further one?"
        )
        guess.add("time: {start: 2026-01-01T00:00:00Z, step: 1 min}")
    elif not head.timed:
        guess.ask("samples without a time are rejected")
    names = Counter(name for name, _ in head.samples)
    values: dict[str, set[str]] = {}
    fields = {name: found for name in names if (found := gpu_field(name)) is not None}
    for name, labels in head.samples:
        if name in fields:
            for label, value in labels.items():
                values.setdefault(label, set()).add(value)
    host = next((label for label in HOST_LABELS if label in values), None)
    lane = next((label for label in GPU_LABELS if label in values), None)
    targets = Targets(site)
    points = {name: targets.match(name) for name in names if name not in fields}
    if fields and host is not None:
        _series_of(guess, "label", host, sorted(values[host]), site, gpu=lane is None)
    if fields and lane is not None:
        guess.add("labels:")
        guess.ask(
            "what is each of them called behind the name of its host in the site? (-G1 of HOST-A-G1)", "  "
        )
        names_of = ", ".join(
            f"{scalar(one, always=True)}: -G{n}" for n, one in enumerate(sorted(values[lane]), 1)
        )
        guess.add(f"  {lane}: {{{names_of}}}")
    guess.add("columns:")
    prefix = ("{series}" if host is not None else "") + (f"{{{lane}}}" if lane is not None else "")
    taken: set[str] = set()
    for name, (field_name, unit, sure) in sorted(fields.items()):
        if not sure or field_name in taken:
            guess.ask(f"is {name!r} the field {field_name}, in this unit?", "  ")
        taken.add(field_name)
        guess.add(f"  {scalar(name)}: {{to: {scalar(f'{prefix}.{field_name}')}, unit: {scalar(unit)}}}")
    rest = sorted(head.texts - points.keys() - fields.keys())
    for name, match in sorted(points.items()):
        if not match.target:
            rest.append(name)
            continue
        ways = len({tuple(sorted(labels.items())) for one, labels in head.samples if one == name})
        if not match.sure or ways > 1:
            several = (
                f"; {ways} series have this name: tell them apart by labels: {{NAME: VALUE}}"
                if ways > 1
                else ""
            )
            guess.ask(f"is {name!r} the point {match.target}, in this unit?{several}", "  ")
        guess.add(f"  {scalar(name)}: {{to: {scalar(match.target)}, unit: {scalar(match.unit)}}}")
    if rest:
        guess.ask(f"{len(rest)} names look like no point of the site: move those that are to columns")
        guess.add("ignored:")
        for name in rest:
            guess.add(f"  - {scalar(name)}")
