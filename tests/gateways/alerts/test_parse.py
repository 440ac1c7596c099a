"""subscriptions.yaml: what it may say, and what is said about what it may not."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.alerts.model import Digest, Hours, Step, Subscriptions
from gateways.alerts.parse import parse
from rules.findings import Finding
from tests.rules.engine.plant import site

S = 1_000_000_000
SECRETS = {
    "ALERTS_PHONE": "json://user:pa55word@127.0.0.1:1/x",
    "hook": "0123456789",
    "ALERTS_TOKEN": "t0ken-of-us",
}

GOOD = """
time_zone: Europe/Oslo
fallback: room
serve:
  listen: 127.0.0.1:8470
  token: {env: ALERTS_TOKEN}
  links: {base_url: "https://alarms.example.org/", expire: 2 h}
channels:
  room: {kind: webhook, url: "http://127.0.0.1:9/x", secret: {file: hook}, timeout: 3 s, parallel: 2, give_up: 5 min}
  phone: {kind: apprise, url: {env: ALERTS_PHONE}}
  prometheus: {kind: alertmanager, url: "http://127.0.0.1:9093", fallback: phone}
  log: {kind: file, path: notes.jsonl}
subscriptions:
  duty:
    to: [phone, log]
    unit: [row, "h*"]
    type: Rack
    rule: ["rack-*"]
    group: cooling
    asset: R1
    severity: [urgent, high]
    state: [unacknowledged, normal]
    hours: {from: "06:00", to: "24:00", days: [mon, fri]}
    group_by: [unit, rule]
    wait: 5 s
    digest: {above: 10, every: 1 min, worst: 0}
    quiet: {from: "22:00", to: "06:30"}
    at_once: [urgent, high]
    user: eva
    escalate:
      - {after: 5 min, to: room}
      - {after: 15 min, to: [room, log]}
  watchdog: {to: prometheus, always: 60 s}
"""


def read(text: str) -> tuple[Subscriptions, list[Finding]]:
    def reveal(where: Literal["env", "file"], name: str) -> str:
        if name not in SECRETS:
            raise KeyError(name) if where == "env" else FileNotFoundError(2, "No such file or directory")
        return SECRETS[name]

    return parse(text, "subscriptions.yaml", site(), reveal, lambda: {"rack-low": "cooling", "hot": ""})


def test_all_that_it_may_say() -> None:
    found, findings = read(GOOD)
    assert findings == []
    assert str(found.zone) == "Europe/Oslo"
    assert found.edge is not None
    assert (found.edge.host, found.edge.port, found.edge.base_url) == (
        "127.0.0.1",
        8470,
        "https://alarms.example.org",
    )
    assert found.edge.link_ns == 7200 * S
    room, duty = found.channels["room"], found.subscriptions["duty"]
    assert (room.timeout_s, room.parallel, room.give_up_s, room.fallback) == (3.0, 2, 300.0, "")
    assert (found.channels["log"].fallback, found.channels["prometheus"].fallback) == ("room", "phone")
    assert (duty.filter.units, duty.filter.types, duty.wait_ns) == (("row", "h*"), ("Rack",), 5 * S)
    assert duty.filter.hours == Hours(360, 1440, frozenset({0, 4}))
    assert (duty.digest, duty.quiet) == (Digest(10, 60 * S, 0), Hours(1320, 390))
    assert duty.escalate == (Step(300 * S, ("room",)), Step(900 * S, ("room", "log")))
    assert (duty.at_once, duty.user) == ({"urgent", "high"}, "eva")
    assert found.subscriptions["watchdog"].always_ns == 60 * S
    assert [one.name for one in found.of_alarms] == ["duty"]


def test_no_secret_is_in_what_is_printed_of_it() -> None:
    found, _ = read(GOOD)
    assert not [secret for secret in SECRETS.values() if secret in repr(found)]
    assert str(found.channels["phone"].url) == "***"


@pytest.mark.parametrize(
    ("good", "bad", "line", "words"),
    [
        ("kind: webhook", "kind: webhok", 9, "unknown kind 'webhok' (did you mean 'webhook'?)"),
        ("to: [phone, log]", "to: [phnoe, log]", 15, "unknown channel 'phnoe' (did you mean 'phone'?)"),
        ("fallback: room", "fallback: rom", 3, "unknown channel 'rom' (did you mean 'room'?)"),
        (
            "type: Rack",
            "type: Rak",
            17,
            "no type of asset of this site is called 'Rak' (did you mean 'Rack'?)",
        ),
        ('unit: [row, "h*"]', "unit: [raw]", 16, "no unit is called 'raw' (did you mean 'row'?)"),
        (
            "[urgent, high]\n    state",
            "[urgnt]\n    state",
            21,
            "unknown severity 'urgnt' (did you mean 'urgent'?)",
        ),
        ("[unacknowledged, normal]", "[active]", 22, "unknown state 'active'"),
        (
            "Europe/Oslo",
            "Europe/Olso",
            2,
            "no time zone is called 'Europe/Olso' (did you mean 'Europe/Oslo'?)",
        ),
        (
            "group: cooling",
            "group: coling",
            19,
            "no group of the site's rules is called 'coling' (did you mean 'cooling'?)",
        ),
        ("wait: 5 s", "wiat: 5 s", 25, "unknown key 'wiat' (did you mean 'wait'?)"),
        ("wait: 5 s", "wait: 5", 25, "a duration needs a unit of time"),
        ('to: "06:30"', 'to: "6.30"', 27, "'6.30' is no time of the day"),
        ('to: "24:00"', 'to: "24:01"', 23, "'24:01' is no time of the day"),
        ("after: 15 min", "after: 5 min", 32, "each step comes later than the one before it"),
        ("{env: ALERTS_PHONE}", "slack://a/b/c", 10, "a secret does not stand in the file"),
        ("{env: ALERTS_PHONE}", "{env: ALERTS_FONE}", 10, "the environment has no ALERTS_FONE"),
        ("{env: ALERTS_PHONE}", "{env: HEADRACE_PHONE}", 10, "'HEADRACE_PHONE' would be a setting"),
        ("{env: ALERTS_PHONE}", "{env: A, file: b}", 10, "one of 'env' and 'file' says where the secret is"),
        ("secret: {file: hook}", "secret: {file: hok}", 9, "hok can't be read: No such file or directory"),
        ("http://127.0.0.1:9/x", "http://u:p@127.0.0.1:9/x", 9, "a password in a URL"),
        ("http://127.0.0.1:9/x", "ftp://127.0.0.1/x", 9, "this is no address of a web service"),
        ("http://127.0.0.1:9/x", "http://[127.0.0.1:9/x", 9, "this is no address of a web service"),
        ("http://127.0.0.1:9/x", "http://[u:p@127.0.0.1:9/x", 9, "a password in a URL"),
        ("to: [phone, log]", "to: []", 15, "nobody is told"),
        ("to: [room, log]", "to: []", 32, "nobody is told"),
        (
            'unit: [row, "h*"]',
            'unit: [row, "rows-*"]',
            16,
            "no unit is called 'rows-*' (did you mean 'row'?)",
        ),
        (
            "type: Rack",
            "type: Rak*",
            17,
            "no type of asset of this site is called 'Rak*' (did you mean 'Rack'?)",
        ),
        ("to: prometheus, always", "to: prometheus, wait: 5 s, always", 33, "unknown key 'wait'"),
        ("listen: 127.0.0.1:8470", "listen: 8470", 5, "expected text, found a number"),
        ("listen: 127.0.0.1:8470", "listen: localhost", 5, "'localhost' is no address to listen at"),
        ("log: {kind", "Log: {kind", 12, "'Log' can't be the name of a channel"),
        ("fallback: phone", "fallback: prometheus", 11, "'prometheus' can't fall back to itself"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(good: str, bad: str, line: int, words: str) -> None:
    assert good in GOOD
    _, findings = read(GOOD.replace(good, bad))
    assert (findings[0].line, words in str(findings[0])) == (line, True), [str(one) for one in findings]
    if not bad.startswith("Log"):
        assert len(findings) == 1, [str(one) for one in findings]


edits_of_it = st.tuples(
    st.integers(0, 2000), st.integers(0, 12), st.text("{}[]:,- \n'\"#&*!|>%@`0az", max_size=6)
)


@given(st.lists(edits_of_it, max_size=4))
def test_whatever_the_file_is_it_is_read_or_said_to_be_wrong(edits: list[tuple[int, int, str]]) -> None:
    text = GOOD
    for at, length, new in edits:
        text = text[: at % len(text)] + new + text[at % len(text) + length :]
    found, findings = read(text)
    assert isinstance(found, Subscriptions)
    for one in findings:
        assert not [secret for secret in SECRETS.values() if secret in str(one)]


def test_whoever_listens_for_others_asks_for_a_token() -> None:
    text = GOOD.replace("127.0.0.1:8470", "0.0.0.0:8470").replace("  token: {env: ALERTS_TOKEN}\n", "")
    _, findings = read(text)
    assert ["a token is needed" in one.message for one in findings] == [True]


@pytest.mark.parametrize(
    "inline",
    [
        "slack://s3cret/of/ours",
        '"http://u:s3cret@127.0.0.1/x"',
        '"ftp://u:s3cret@127.0.0.1/x"',
        '"http://[u:s3cret@127.0.0.1/x"',
    ],
)
def test_a_secret_that_stands_in_the_file_is_not_said_again(inline: str) -> None:
    kind = "apprise" if inline.startswith("slack") else "webhook"
    _, findings = read(
        GOOD.replace("kind: apprise, url: {env: ALERTS_PHONE}", f"kind: {kind}, url: {inline}")
    )
    assert len(findings) == 1
    assert "s3cret" not in repr(findings)


def test_no_secret_is_in_a_finding() -> None:
    _, findings = read(
        GOOD.replace("{env: ALERTS_PHONE}", "{env: hook}").replace("kind: apprise", "kind: webhook")
    )
    assert findings
    assert not [one for one in findings for secret in SECRETS.values() if secret in str(one)]
