"""The head of a table against the map: where the columns stand, and what is missing, doubled or overlooked.

Rule: a column of the file is mapped or ignored by the map; everything that is neither is said at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from streams.importing.lines import ENCODING_HINT
from streams.importing.map_file import ImportMap


@dataclass(frozen=True, slots=True)
class Head:
    """Places of columns in a table. `values`: of the mapped ones in the map's order (wide tables)."""

    values: tuple[int, ...]
    time: int
    series: int
    left_out: tuple[str, ...]
    long_name: int = 0
    long_value: int = 0
    labels: tuple[tuple[str, int], ...] = ()
    quality: int = 0


def read_head(path: Path, header: Sequence[str], line: int, plan: ImportMap) -> Head:
    """Raises ConfigurationError with every column that doesn't fit the map. `line`: 0 where a file has none."""
    names = [name.strip() for name in header]
    where = str(path)
    if any("\\x" in name or "\0" in name for name in names):
        raise ConfigurationError(
            [Finding(where, line, 0, f"not text of the encoding {plan.encoding}", ENCODING_HINT)]
        )
    if plan.long is not None:
        labels = sorted({label for column in plan.columns for label in column.labels})
        labels += [plan.series.key] if plan.series.by == "column" else []
        wanted = [plan.long.name, plan.long.value, *labels, plan.time_column]
    else:
        labels = []
        wanted = [*(column.name for column in plan.columns), plan.time_column]
        wanted += [plan.series.key] if plan.series.by == "column" else []
    wanted += [plan.quality.column] if plan.quality is not None else []
    findings = [
        Finding(
            where, line, 0, f"the file has no column '{name}' (named in {plan.file})", nearest(name, names)
        )
        for name in dict.fromkeys(wanted)
        if name not in names
    ]
    for name, count in Counter(names).items():
        if count > 1:
            findings.append(Finding(where, line, 0, f"the column '{name}' occurs {count} times"))
        elif name not in wanted and not is_ignored(name, plan):
            message = f"the column '{name}' is not in {plan.file}"
            findings.append(Finding(where, line, 0, message, "map it, or name it under 'ignored'"))
    if findings:
        raise ConfigurationError(findings)
    place = {name: index for index, name in enumerate(names)}
    return Head(
        values=() if plan.long is not None else tuple(place[column.name] for column in plan.columns),
        time=place[plan.time_column],
        series=place[plan.series.key] if plan.series.by == "column" else 0,
        left_out=tuple(name for name in names if name not in wanted),
        long_name=place[plan.long.name] if plan.long is not None else 0,
        long_value=place[plan.long.value] if plan.long is not None else 0,
        labels=tuple((label, place[label]) for label in labels),
        quality=place[plan.quality.column] if plan.quality is not None else 0,
    )


def is_ignored(name: str, plan: ImportMap) -> bool:
    """Whether the map names a column or metric under `ignored`."""
    return any(fnmatchcase(name, pattern) for pattern in plan.ignored)


def series_named(text: str, plan: ImportMap) -> str:
    """The series that the map calls `text`. Raises ValueError when there is none."""
    name = plan.series.names.get(text.strip())
    if name is None:
        raise ValueError(f"{text[:40]!r} is no series of the map")
    return name


def series_of_file(path: Path, plan: ImportMap) -> str:
    """The series of a file by its name. Raises ConfigurationError when the map has none."""
    if plan.series.by != "file":
        return ""
    for pattern, name in plan.series.names.items():
        if fnmatchcase(path.name, pattern):
            return name
    raise ConfigurationError([Finding(str(path), 0, 0, f"the file's name fits no series of {plan.file}")])
