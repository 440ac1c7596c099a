"""The head of a table: how it is written, and which of its columns are times, numbers and texts.

Rule: only what the head shows is said; where two readings fit it, that is a question for a person.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Final

from streams.importing.tables import cells_of
from streams.importing.times import TimeReader

DELIMITERS: Final = ("\t", ";", ",", "|")
TIME_FORMS: Final = (
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M", "%d-%b-%Y %H:%M:%S", "%d-%b-%y %H:%M:%S", "%d %b %Y %H:%M:%S", "%Y%m%dT%H%M%S",
)  # fmt: skip
ABSENT: Final = (
    "N/A",
    "[N/A]",
    "n/a",
    "NA",
    "NaN",
    "nan",
    "null",
    "NULL",
    "None",
    "-",
    "--",
    "#N/A",
    "Bad",
    "No Data",
)
"""What tools write for a value that isn't there."""
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")
_NUMBER = re.compile(r"[-+]?(\d+([.]\d*)?|[.]\d+)([eE][-+]?\d+)?")
_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
_YEARS: Final = (946_684_800, 4_102_444_800)
"""2000 to 2100: what a number of seconds must lie in to be taken for a time."""


@dataclass(slots=True)
class TableHead:
    """Columns of a head by kind. `questions` are about the whole; `columns` hold the texts of the rows seen."""

    names: list[str]
    columns: list[list[str]]
    delimiter: str = ","
    decimal: str = "."
    time: int | None = None
    time_form: str = "iso"
    named_zone: bool = False
    numbers: list[int] = field(default_factory=list)
    texts: list[int] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)


def split_head(lines: Sequence[str]) -> tuple[str, list[list[str]]]:
    """The delimiter by which most lines have as many cells as the first, and those lines' cells."""
    best: tuple[int, int, str, list[list[str]]] = (0, 0, ",", [])
    for delimiter in DELIMITERS:
        rows = []
        for line in lines:
            try:
                rows.append(cells_of(line, delimiter))
            except ValueError:
                continue
        if not rows or len(rows[0]) < 2:
            continue
        fitting = [row for row in rows if len(row) == len(rows[0])]
        if (len(fitting), len(rows[0])) > best[:2]:
            best = (len(fitting), len(rows[0]), delimiter, fitting)
    return best[2], best[3]


def judge(names: list[str], columns: list[list[str]], delimiter: str) -> TableHead:
    """What the columns are, by their texts."""
    head = TableHead(
        [name.strip() for name in names], [[text.strip() for text in one] for one in columns], delimiter
    )
    _find_time(head)
    comma = point = 0
    for texts in head.columns:
        comma += sum(bool(_COMMA.fullmatch(text)) for text in texts)
        point += sum("." in text and bool(_NUMBER.fullmatch(text)) for text in texts)
    if comma > point:
        head.decimal = ","
    if comma and point:
        said = f"{comma} numbers of the head have a comma, {point} a point: which is the decimal?"
        head.questions.append(said)
    absent: Counter[str] = Counter()
    for index, texts in enumerate(head.columns):
        if index == head.time:
            continue
        odd = Counter(text for text in texts if text and not _is_number(text, head.decimal))
        numbers = sum(bool(text) for text in texts) - sum(odd.values())
        if numbers > sum(odd.values()) or (odd and set(odd) <= set(ABSENT)):
            head.numbers.append(index)
            absent.update({text: count for text, count in odd.items() if text in ABSENT})
        elif not odd and not numbers:
            head.questions.append(f"the column {names[index]!r} is empty in the head")
            head.numbers.append(index)
        else:
            head.texts.append(index)
    head.absent = sorted(absent)
    return head


def _is_number(text: str, decimal: str) -> bool:
    return bool(_NUMBER.fullmatch(text if decimal == "." else text.replace(decimal, ".")))


def _find_time(head: TableHead) -> None:
    found: list[tuple[int, list[str]]] = []
    for index, texts in enumerate(head.columns):
        forms = _forms(head.names[index], [text for text in texts if text])
        if forms:
            found.append((index, forms))
    if not found:
        head.questions.append("no column of the head is a time in a form known here: name it, and its format")
        return
    head.time, forms = found[0]
    head.time_form = forms[0]
    if len(forms) > 1:
        head.questions.append(
            f"the times of the head fit several forms: {', '.join(repr(form) for form in forms)}"
        )
    if len(found) > 1:
        others = ", ".join(repr(head.names[index]) for index, _ in found[1:])
        head.questions.append(f"there are other columns with times: {others}")
    if "%" not in head.time_form and head.time_form != "iso":
        head.named_zone = True
    else:
        texts = [text for text in head.columns[head.time] if text]
        head.named_zone = all(re.search(r"(Z|[+-]\d\d:?\d\d)$", text) for text in texts)


def _forms(name: str, texts: list[str]) -> list[str]:
    """The forms in which nearly all of the texts are times (the end of a file may have closing words)."""
    if not texts:
        return []
    tolerated = len(texts) // 10
    if sum(not (_ISO.fullmatch(text) and _is_iso(text)) for text in texts) <= tolerated:
        return ["iso"]
    if sum(not _NUMBER.fullmatch(text) for text in texts) <= tolerated:
        if not re.search(r"time|date|stamp|epoch|^_?ts?$", name, re.IGNORECASE):
            return []
        numbers = [float(text) for text in texts if _NUMBER.fullmatch(text)]
        units = (("unix s", 1), ("unix ms", 1e3), ("unix us", 1e6), ("unix ns", 1e9))
        return [
            form for form, per_s in units if all(_YEARS[0] <= one / per_s <= _YEARS[1] for one in numbers)
        ]
    return [form for form in TIME_FORMS if sum(not _parses(text, form) for text in texts) <= tolerated]


def _is_iso(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _parses(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)  # noqa: DTZ007 - only whether it is one
    except ValueError:
        return False
    return True


def order_and_step(head: TableHead, series: int | None) -> tuple[str, float | None]:
    """In which order rows stand, and the median step between the times of one series in seconds."""
    if head.time is None:
        return "oldest first", None
    reader = TimeReader(head.time_form)
    times: dict[str, list[int]] = {}
    all_times: list[int] = []
    for row, text in enumerate(head.columns[head.time]):
        try:
            time_ns = reader.read(text)
        except ValueError:
            continue
        times.setdefault(head.columns[series][row] if series is not None else "", []).append(time_ns)
        all_times.append(time_ns)
    steps = [abs(later - one) for found in times.values() for one, later in pairwise(found) if later != one]
    step_s = median(steps) / 1e9 if steps else None
    if all(one <= later for one, later in pairwise(all_times)):
        return "oldest first", step_s
    if all(one >= later for one, later in pairwise(all_times)):
        return "newest first", step_s
    return "any", step_s
