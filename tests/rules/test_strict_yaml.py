"""Strict YAML: places, kinds, and every way in which a file is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.strict_yaml import DEPTH_MAX, Node, load


def root_of(text: str) -> Node:
    root, findings = load(text, "x.yaml")
    assert root is not None
    assert findings == []
    return root


def test_nodes_know_their_place_and_kind() -> None:
    root = root_of("name: 'a b'\nlist:\n  - 1\n  - x\nflag: true\nnone:\n")
    assert (root.kind, root.line, root.column) == ("mapping", 1, 1)
    name = root.entries["name"]
    assert (name.scalar, name.kind, name.style, name.line, name.column) == ("a b", "text", "'", 1, 7)
    one, x = root.entries["list"].as_list()
    assert (one.kind, one.line, one.column) == ("number", 3, 5)
    assert (x.kind, x.line) == ("text", 4)
    assert root.keys["flag"].line == 5
    assert [root.entries[key].kind for key in ("flag", "none")] == ["boolean", "null"]


@pytest.mark.parametrize(
    "text", ["0x1F", "1_000", "yes", "on", "12:30", "2026-01-01", ".inf", "NaN", "٣", "'12'"]
)
def test_only_decimal_numbers_are_numbers(text: str) -> None:
    assert root_of(f"a: {text}\n").entries["a"].kind == "text"


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "duplicate key 'a'"),
        ("a: &x 1\n", 1, 4, "anchor '&x'"),
        ("a: &x 1\nb: *x\n", 2, 4, "alias '*x'"),
        ("a: !!python/object:os.system x\n", 1, 4, "tag"),
        ("a: 1\n---\nb: 2\n", 2, 1, "second document"),
        ("1: x\n", 1, 1, "a key must be text"),
        ("? [a]\n: x\n", 1, 3, "a key must be text"),
        ("a:\n\t- b\n", 2, 1, "cannot start any token"),
        ("a: b: c\n", 1, 5, "mapping values are not allowed"),
        ("a: [1\nb: 2\n", 2, 2, "expected ',' or ']'"),
        ("a: \x07b\n", 1, 4, "not allowed in YAML"),
        ("%YAML 1.9\n---\na: 1\n", 1, 1, "not valid YAML"),
        ("", 1, 1, "empty"),
        ("# nothing\n", 1, 1, "empty"),
        ("[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1), 1, DEPTH_MAX + 1, "nested deeper"),
        ("b: 1\na: 'x\n", 2, 4, "unexpected end of stream"),
    ],
)
def test_what_is_refused_and_where(text: str, line: int, column: int, words: str) -> None:
    _, findings = load(text, "x.yaml")
    assert words in " ".join(finding.message for finding in findings)
    finding = next(finding for finding in findings if words in finding.message)
    assert (finding.file, finding.line, finding.column) == ("x.yaml", line, column)


def test_a_finding_carries_its_source_line() -> None:
    _, findings = load("a: 1\n  \nlong key: 1\nlong key: 2\n", "x.yaml")
    assert [finding.source_line for finding in findings] == ["long key: 2"]


def test_aliases_cannot_blow_up() -> None:
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 30)]
    _, findings = load("\n".join(["l0: &l0 x", *levels]), "x.yaml")
    assert len(findings) == 30 + 29 * 9


def test_fields_report_all_unknown_and_missing_keys() -> None:
    root, findings = load("nmae: x\ntick: 1\nzzz: 2\n", "x.yaml")
    assert root is not None
    assert list(root.fields(("name", "tick", "units"), required=("name", "units"))) == ["tick"]
    assert [(f.line, f.message, f.hint) for f in findings] == [
        (1, "unknown key 'nmae'", "did you mean 'name'?"),
        (3, "unknown key 'zzz'", "known keys: name, tick, units"),
        (1, "the key 'units' is missing", ""),
    ], "a misspelt key is not missing too"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5 L/min", (0.5, "L/min")),
        ("3", (3.0, "")),
        ("5 %", (5.0, "%")),
        ("-1e3kW", (-1000.0, "kW")),
        ("55 degC", (55.0, "degC")),
        ("'7 m'", (7.0, "m")),
    ],
)
def test_quantities(text: str, expected: tuple[float, str]) -> None:
    assert root_of(f"a: {text}\n").entries["a"].as_quantity() == expected


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [("100 ms", 10**8), ("1.5 s", 1_500_000_000), ("10 min", 600 * 10**9)],
)
def test_durations(text: str, duration_ns: int) -> None:
    assert root_of(f"a: {text}\n").entries["a"].as_duration_ns() == duration_ns


@pytest.mark.parametrize(
    ("accessor", "text", "words"),
    [
        ("as_text", "12", "expected text, found a number"),
        ("as_text", "''", "found an empty text"),
        ("as_text", "[a]", "expected text, found a list"),
        ("as_number", "abc", "expected a number, found 'abc'"),
        ("as_number", "1e999", "too large"),
        ("as_integer", "1.5", "expected a whole number"),
        ("as_boolean", "yes", "expected true or false, found 'yes'"),
        ("as_quantity", "fast", "expected a number with a unit"),
        ("as_quantity", "1e999 W", "too large"),
        ("as_quantity", "", "expected text, found nothing"),
        ("as_duration_ns", "5", "a duration needs a unit of time"),
        ("as_duration_ns", "5 kg", "'5 kg' is no duration"),
        ("as_duration_ns", "0 s", "out of range"),
        ("as_list", "a", "expected a list, found 'a'"),
        ("as_mapping", "a", "expected a mapping, found 'a'"),
        ("as_list_or_one", "", "expected a list, found nothing"),
    ],
)
def test_accessors_report_and_go_on(accessor: str, text: str, words: str) -> None:
    root, findings = load(f"a: {text}\n", "x.yaml")
    assert root is not None
    assert not getattr(root.entries["a"], accessor)()
    assert len(findings) == 1
    assert words in findings[0].message


def test_bounds_and_choices() -> None:
    root, findings = load("a: 5\nb: optua\n", "x.yaml")
    assert root is not None
    assert root.entries["a"].as_number(0, 4) is None
    assert root.entries["b"].as_choice(("opcua", "nvml"), "kind") is None
    assert [(f.message, f.hint) for f in findings] == [
        ("5 is out of range", "from 0 to 4"),
        ("unknown kind 'optua'", "did you mean 'opcua'?"),
    ]


def test_a_place_inside_a_scalar() -> None:
    root = root_of("a: flow < 70\nb: 'flow < 70'\nc: |\n  flow\n    < 70\n")
    assert root.entries["a"].position(5) == (1, 9)
    assert root.entries["b"].position(5) == (2, 10)
    assert root.entries["c"].position(root.entries["c"].scalar.index("<")) == (5, 5)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"%#@\\\n\t ?,0x1_.~<U\ufeff\x85\u2028", max_size=60))
def test_no_text_makes_it_raise(text: str) -> None:
    root, findings = load(text, "x.yaml")
    assert root is not None or findings
    assert all(finding.line >= 1 and finding.column >= 1 for finding in findings)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a:\nb: 1\n", 1, 3),
        ("x:\n  a:   # nothing\n\n\n  b: 1\n", 2, 5),
        ("{a: , b: 1}\n", 1, 4),
        ("{a\n}\n", 1, 3),
        ("a: ~\n", 1, 4),
        ("'a' :\nb: 1\n", 1, 5),
        ("a:\n", 1, 3),
    ],
)
def test_what_is_missing_is_missed_behind_its_colon(text: str, line: int, column: int) -> None:
    root, findings = load(text, "x.yaml")
    assert root is not None
    node = root.entries.get("a") or root.entries["x"].entries["a"]
    node.as_text()
    assert [(finding.line, finding.column) for finding in findings] == [(line, column)]


BEFORE_AND_INDENT = {
    "": ("a: ", "  "),
    "'": ("a: '", "  "),
    '"': ('a: "', ""),
    ">": ("- a: >-  # comment\n\n    ", "    "),
    "|": ("a: |\n ", " "),
}
"""What stands in front of a text of each style, and in front of its other lines."""
words = st.lists(st.sampled_from(["one", "it's", "a:b", "µ", "x"]), min_size=1)
blanks = st.sampled_from([" ", "  ", "\n", "\n\n"])


@given(st.sampled_from(sorted(BEFORE_AND_INDENT)), words, st.data())
def test_every_word_of_a_text_is_found_where_it_is_written(
    style: str, words: list[str], data: st.DataObject
) -> None:
    text, indent = BEFORE_AND_INDENT[style]
    places: list[tuple[int, int]] = []
    for word in words:
        places.append((text.count("\n") + 1, len(text) - text.rfind("\n")))
        blank = data.draw(blanks)
        text += word.replace("'", "''") if style == "'" else word
        text += blank + indent if "\n" in blank else blank
    root = root_of(text.rstrip() + (style if style in "'\"" else "") + "\n")
    node = root.items[0].entries["a"] if root.items else root.entries["a"]
    assert node.style == style
    at = 0
    for word, (line, column) in zip(words, places, strict=True):
        at = node.scalar.index(word, at)
        assert node.position(at) == (line, column - (1 if at == 0 and style in ("'", '"') else 0))
        at += len(word)
    doubled = words[-1].count("'") if style == "'" else 0
    assert node.position(at) == (places[-1][0], places[-1][1] + len(words[-1]) + doubled)
