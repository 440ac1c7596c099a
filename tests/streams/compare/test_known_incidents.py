from __future__ import annotations

from pathlib import Path

import pytest

from rules.errors import ConfigurationError
from streams.compare.incidents import RUN_UP_NS, load_incidents
from streams.times import time_ns_of

JAN_1 = time_ns_of("2026-01-01T00:00:00Z")
JAN_2 = time_ns_of("2026-01-02T00:00:00Z")


@pytest.mark.parametrize(
    ("name", "text", "spans"),
    [
        ("a.csv", "t,what\n2026-01-02 00:00,pump\n2026-01-01 00:00,\n", [(None, JAN_1), (None, JAN_2)]),
        ("a.csv", "from,to,what\n2026-01-01T00:00Z,2026-01-02T00:00Z,leak\n", [(JAN_1, JAN_2)]),
        ("a.json", '["2026-01-01T00:00:00Z"]', [(None, JAN_1)]),
        ("a.json", '{"x": [["2026-01-01 00:00", "2026-01-02 00:00"]]}', [(JAN_1, JAN_2)]),
        ("a.json#y", '{"x": [], "y": [["2026-01-01 00:00", "2026-01-02 00:00"]]}', [(JAN_1, JAN_2)]),
    ],
)
def test_moments_and_spans(tmp_path: Path, name: str, text: str, spans: list[tuple[int | None, int]]) -> None:
    (tmp_path / name.partition("#")[0]).write_text(text)
    found = load_incidents(str(tmp_path / name))
    assert [one.span for one in found] == [
        (end - RUN_UP_NS if begin is None else begin, end) for begin, end in spans
    ]
    assert [one.is_fault for one in found] == [begin is None for begin, _ in spans]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "t\nyesterday\n", "a.csv:2:0: error: 'yesterday' is no time"),
        ("a.csv", "from,to\n2026-01-02 00:00,2026-01-01 00:00\n", "neither a time nor a span"),
        ("a.csv", "t\n", "there are no incidents in it"),
        ("a.json", "{", "is no JSON"),
        ("a.json", "3", "is no list of incidents"),
        ("a.json", '{"one": [], "two": []}', "has 2 lists: name one"),
        ("a.json#tow", '{"one": [], "two": []}', "did you mean 'two'?"),
        ("gone.csv", None, "can't be read: No such file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / name.partition("#")[0]).write_text(text)
    with pytest.raises(ConfigurationError, match=said.replace("?", r"\?")):
        load_incidents(str(tmp_path / name))
