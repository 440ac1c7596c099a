"""docs/subscriptions.md and the example: what they show is read, and does what they say."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from gateways.alerts.model import Subscriptions
from gateways.alerts.parse import parse
from gateways.alerts.webhook import signature
from rules.engine.engine import Engine
from rules.engine.inputs import Identity, Readings, Tick
from rules.engine.outputs import Alarm
from rules.language.load import load_rules
from rules.quality import Quality
from rules.site.parse import parse_site
from streams.site_folder import load_site

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "subscriptions.md").read_text()
S = 1_000_000_000


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def read(text: str, site_dir: str = "examples/narvik") -> Subscriptions:
    def reveal(where: Literal["env", "file"], name: str) -> str:
        return "json://127.0.0.1:1/x" if where == "env" else "s3cret"

    found, findings = parse(text, "subscriptions.yaml", load_site(ROOT / site_dir), reveal)
    assert findings == []
    return found


def test_the_file_of_the_page_is_read() -> None:
    found = read(blocks("yaml")[0])
    assert list(found.subscriptions) == ["duty", "cooling", "archive", "watchdog"]
    served = read(blocks("yaml")[0] + next(one for one in blocks("yaml") if one.startswith("serve:")))
    assert served.edge is not None


def test_every_key_of_a_subscription_is_on_the_page() -> None:
    from gateways.alerts.parse import _ALARM_KEYS

    table = TEXT[TEXT.index("## What a subscription may say") : TEXT.index("## Channels")]
    told = set(
        re.findall(
            r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
        )
    )
    assert told == {*_ALARM_KEYS, "to", "always"}


def test_the_notification_of_the_page_is_one() -> None:
    (sample,) = blocks("json")
    assert {"schema", "id", "kind", "subscription", "site", "at_ns", "alarms"} <= json.loads(sample).keys()


def test_the_receiver_of_the_page_takes_what_is_signed_once_and_nothing_else() -> None:
    (code,) = blocks("python")
    scope: dict[str, Any] = {}
    exec(code, scope)
    verified, taken, now = scope["verified"], set[str](), int(time.time())

    def headers(at: int, body: bytes) -> dict[str, str]:
        return {
            "webhook-id": "a/b",
            "webhook-timestamp": str(at),
            "webhook-signature": signature(b"key", "a/b", at, body),
        }

    assert verified(b"key", headers(now, b"{}"), b"{}", taken)
    assert verified(b"key", headers(now, b"{}"), b"{}", taken)
    assert taken == {"a/b"}
    assert not verified(b"key", headers(now, b"{}"), b"{} ", taken)
    assert not verified(b"other", headers(now, b"{}"), b"{}", taken)
    assert not verified(b"key", headers(now - 301, b"{}"), b"{}", taken)
    assert base64.b64decode(headers(now, b"{}")["webhook-signature"].removeprefix("v1,"))


def test_the_rule_of_the_page_makes_an_alarm_of_a_dead_channel() -> None:
    source, rule = (one for one in blocks("yaml") if one.startswith(("# site.yaml", "# a rule")))
    site, findings = parse_site("name: test\ntick: 100 ms\n" + source, "site.yaml")
    assert site is not None, findings
    program, findings = load_rules({"rules.yaml": rule}, site)
    assert program is not None, findings
    engine, now = Engine(program, site, "site"), 1_800_000_000 * S
    said = list[Any]()
    for second, value in enumerate([0.0, 1.0, 0.0]):
        at = now + 10 * second * S
        said += engine.step([Tick("site", Identity("ticker", 0, at // site.tick_ns), at)])
        arrays = (
            np.array([at]),
            np.array([at]),
            np.array([value]),
            np.array([Quality.GOOD], np.uint8),
            np.zeros(1, np.uint32),
        )
        said += engine.step(
            [Readings("site", Identity("alerts", now, second + 1), at, ("ALERTS-1.DeadChannels",), *arrays)]
        )
    alarms = [one for one in said if isinstance(one, Alarm)]
    assert [one.state for one in alarms] == ["unacknowledged", "returned-unacknowledged"]
    assert alarms[0].message == "ALERTS-1: 1 channels of notifications are dead"


@pytest.mark.parametrize("site_dir", ["examples/narvik-small"])
def test_the_example_is_read_and_sends_nothing_outside(site_dir: str) -> None:
    found = read((ROOT / site_dir / "subscriptions.yaml").read_text(), site_dir)
    assert found.subscriptions
    for channel in found.channels.values():
        assert channel.kind == "file" or "//127.0.0.1:" in channel.url.text
