"""The page is well formed, whole by itself, escapes what it is given, and does not grow with the recording."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gateways.compare.page import page
from rules.engine.outputs import Command
from streams.compare.incidents import KnownIncident
from tests.gateways.compare.sides import T0, S, command, comparison, episode, sheet

VOID = {"meta", "br", "link", "img", "input", "hr"}
EVIL = "<script>alert(1)</script>\"'&"


class Checked(HTMLParser):
    """Every tag is closed where it has to be; attributes and texts are kept."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style" and data.strip():
            self.said.append(" ".join(data.split()))


def full() -> str:
    """A page with every part."""
    incidents = [
        KnownIncident(T0, T0 + 600 * S, True),
        KnownIncident(T0 + 900 * S, T0 + 1000 * S, False),
    ]
    found = comparison(
        [episode(10, 20), episode(100, 200, asset=EVIL, message=EVIL), episode(50, None, "slow")],
        [episode(12, 20), episode(300, 400, EVIL), episode(100, 200, asset=EVIL, message="n")],
        ([command(10, actuator=EVIL)], [command(12, 60.0, actuator=EVIL)]),
        ([sheet("hot", "a > 1"), sheet(EVIL, EVIL)], [sheet("hot", f"a > {EVIL}")]),
        incidents,
        ("recorded", EVIL),
    )
    return page(EVIL, found, [EVIL, "nothing else"])


def test_it_is_well_formed_and_has_every_part() -> None:
    said = Checked(full())
    heads = [text for text in said.said if text in SECTIONS]
    assert heads == SECTIONS
    assert said.seen[0][0] == "html"


SECTIONS = [
    "Alarms over time",
    "Commands that changed",
    "Rules that changed",
    "Known incidents",
    "The alarm system",
    "What this page can't know",
]


def test_what_rules_and_recordings_say_is_escaped() -> None:
    text = full()
    assert "<script" not in text
    assert "alert(1)" in text
    said = Checked(text)
    assert EVIL in said.said  # the message as it is
    assert not any(name.startswith("on") for _, attributes in said.seen for name in attributes)


def test_it_needs_nothing_from_elsewhere() -> None:
    text = full()
    said = Checked(text)
    assert "script" not in {tag for tag, _ in said.seen}
    assert {tag for tag, attributes in said.seen if "src" in attributes or "srcset" in attributes} == set()
    assert {attributes["href"] for _, attributes in said.seen if "href" in attributes} == {"#ground"}
    assert not re.search(r"url\(|@import|https?://", text)
    policy = [a["content"] for tag, a in said.seen if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_it_is_for_phones_and_for_the_dark() -> None:
    text = full()
    metas = {a["name"]: a["content"] for tag, a in Checked(text).seen if tag == "meta" and "name" in a}
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert metas["color-scheme"] == "light dark"
    assert "@media (prefers-color-scheme: dark)" in text
    assert "@media (max-width: 700px)" in text
    assert not re.search(r"(?<!max-)(?<!min-)width: ?\d{3,}px", text)


def test_a_phone_that_hides_the_heads_of_tables_says_which_side_a_number_is_of() -> None:
    said = Checked(full())
    cells = [a for tag, a in said.seen if tag == "td"]
    sides = {(one["class"] or "").split(" ")[0]: one.get("data-of") for one in cells if "class" in one}
    assert {side: sides[side] for side in SIDES} == SIDES
    captions = [a["class"] for tag, a in said.seen if tag == "caption"]
    assert captions == list(SIDES)
    assert [text for text in said.said if text in SIDES.values()][-2:] == list(SIDES.values())


SIDES = {"before": "recorded", "after": Path(EVIL).name}


@pytest.mark.night
def test_how_long_it_is_does_not_grow_with_the_recording() -> None:
    def of(rules: int, assets: int, times: int) -> str:
        before = [
            episode(3600 / times * time, 3600 / times * (time + 0.5), f"rule-{rule}", f"P-{asset}")
            for rule in range(rules)
            for asset in range(assets)
            for time in range(times)
        ]
        after = [one._replace(raised_ns=one.raised_ns + S // 10) for one in before]
        given: list[Command] = [command(n, actuator=f"P-{n}.A{n}") for n in range(times)]
        incidents = [KnownIncident(T0 + n * S, T0 + n * S + 1, False) for n in range(times)]
        return page("site", comparison(before, after, (given, []), incidents=incidents), [])

    some, many = of(45, 10, 30), of(45, 10, 300)
    assert len(many) < 1.6 * len(some)
    checked = Checked(many)
    assert sum(attributes.get("class") == "rule" for _, attributes in checked.seen) == 40
    said = checked.said
    assert "and 5 more rules, in --json" in said
    assert "and 2 more assets, in --json" in said
    assert f"and {10 * 300 - 12:,} more, in --json" in said
    assert "and 260 more lines, in --json" in said
    assert "and 240 more, in --json" in said


def test_what_is_the_same_is_one_line() -> None:
    said = Checked(page("site", comparison([episode(10, 20)], [episode(10, 20)]), []))
    assert (
        "candidate says the same as recorded: 1 alarm and 0 commands, each at the same moment." in said.said
    )
    assert "1 rule says the same" in said.said


def test_no_alarm_at_all() -> None:
    said = Checked(page("site", comparison([], []), []))
    assert "Neither side raises an alarm." in said.said


@pytest.mark.parametrize("seconds", [0.5, 20, 5000, 400_000, 90_000_000])
def test_any_length_has_labels(seconds: float) -> None:
    text = page("site", comparison([episode(0, 0.1)], [], seconds=seconds), [])
    labels = [a["style"] for tag, a in Checked(text).seen if tag == "span" and "style" in a]
    assert 2 <= len(labels) / 2 <= 8
