"""`headrace subscriptions …`: exit codes, JSON, and what is said of what is wrong."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateways.alerts.notification import of_itself
from gateways.alerts.outbox import Outbox
from gateways.broker import EmbeddedBroker
from gateways.cli.main import run_app
from streams.bus.kafka import KafkaBus
from streams.keys import make_key, public_text, read_public
from streams.role import RoleContext, status_message
from streams.settings import BrokerSettings, load_settings
from streams.site_folder import load_site
from tests.rules.engine.plant import SITE

TEXT = """
fallback: last
channels:
  here: {kind: file, path: here.jsonl}
  last: {kind: file, path: last.jsonl}
  gone: {kind: webhook, url: "http://127.0.0.1:1/x", timeout: 1 s}
subscriptions:
  duty:
    to: here
    severity: [urgent, high]
    quiet: {from: "22:00", to: "06:00", days: [sat]}
    escalate: [{after: 5 min, to: gone}]
  all: {to: here}
  watchdog: {to: last, always: 60 s}
"""

RULE = """
rules:
  rack-low:
    for: Rack
    when: RackLiquidFlow < 60 L/min
    deadband: 5 L/min
    severity: high
    message: "{asset}: low"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "subscriptions.yaml").write_text(TEXT)
    monkeypatch.setenv("HEADRACE_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", "127.0.0.1:1")
    return tmp_path


def ask(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    code = run_app(["subscriptions", *words, "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_list_says_who_is_told_what(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = ask(capsys, "list", str(folder))
    assert code == 0
    duty, all_, watchdog = said["subscriptions"]
    assert duty["when"] == "not 22:00-06:00 on sat; after 5 min gone"
    assert duty["wants"] == "severity high or urgent"
    assert (all_["when"], all_["wants"]) == ("at once", "every alarm")
    assert watchdog["when"] == "every 60 s"
    assert run_app(["subscriptions", "list", str(folder)]) == 0
    assert "severity high or urgent" in capsys.readouterr().out


def test_list_needs_no_secrets(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "subscriptions.yaml"
    file.write_text(TEXT.replace('url: "http://127.0.0.1:1/x"', "url: {env: ALERTS_NOT_SET}"))
    assert ask(capsys, "list", str(folder))[0] == 0
    code, said, _ = ask(capsys, "check", str(folder))
    assert (code, said["findings"][0]["line"]) == (2, 6)


def test_check_says_what_is_wrong_and_where(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(capsys, "check", str(folder))[:2] == (0, {"findings": [], "subscriptions": 3, "channels": 3})
    (folder / "subscriptions.yaml").write_text(TEXT.replace("to: gone", "to: gonne"))
    code, said, _ = ask(capsys, "check", str(folder))
    assert code == 2
    assert (said["findings"][0]["line"], said["findings"][0]["hint"]) == (12, "did you mean 'gone'?")


def test_check_knows_the_rules_and_users_of_the_site(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "site.yaml").write_text(f"{SITE}\nrules: [rules.yaml]\n")
    (folder / "rules.yaml").write_text(RULE)
    known = 'to: here, rule: [rack-low, "rack-*", source-gap], user: eva'
    file = folder / "subscriptions.yaml"
    file.write_text(TEXT.replace("all: {to: here", f"all: {{{known}"))
    assert ask(capsys, "check", str(folder))[0] == 0  # a site without users is open: there is nobody to know
    (folder / "users.yaml").write_text("users: {eva: {role: operator}}")
    assert ask(capsys, "check", str(folder))[0] == 0
    file.write_text(TEXT.replace("all: {to: here", 'all: {to: here, rule: [rack-lw, "rak-*"], user: evo'))
    code, said, _ = ask(capsys, "check", str(folder))
    assert code == 2
    assert [one["message"] for one in said["findings"]] == [
        "no rule is called 'rack-lw'",
        "no rule is called 'rak-*'",
        "there is no user 'evo'",
    ]
    assert all("subscription all" in one["file"] for one in said["findings"])
    assert (said["findings"][0]["hint"], said["findings"][2]["hint"]) == (
        "did you mean 'rack-low'?",
        "did you mean 'eva'?",
    )
    assert ask(capsys, "list", str(folder))[0] == 0


def test_check_knows_the_assets_of_the_site(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "site.yaml").write_text(f"{SITE}\nrules: [rules.yaml]\n")
    (folder / "rules.yaml").write_text(RULE.replace("severity:", "group: cooling\n    severity:"))
    file = folder / "subscriptions.yaml"
    source = next(iter(load_site(folder).sources))
    known = f'to: here, asset: [R1, "R1-*", {source}, {source}/backfill, "fact:row", row, cooling]'
    file.write_text(TEXT.replace("all: {to: here", f"all: {{{known}"))
    assert ask(capsys, "check", str(folder))[:2] == (0, {"findings": [], "subscriptions": 3, "channels": 3})
    file.write_text(TEXT.replace("all: {to: here", 'all: {to: here, asset: [R9, "X-*"]'))
    code, said, _ = ask(capsys, "check", str(folder))
    messages = [one["message"] for one in said["findings"]]
    assert (code, messages) == (2, ["no asset is called 'R9'", "no asset is called 'X-*'"])


def test_check_knows_whether_links_will_act(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    links = 'serve: {listen: 127.0.0.1:8470, links: {base_url: "https://alarms.example.org"}}'
    text = TEXT.replace("all: {to: here", "all: {to: here, user: eva").replace(
        "  duty:\n", "  duty:\n    user: vic\n"
    )
    (folder / "subscriptions.yaml").write_text(f"{text}\n{links}\n")
    digits = public_text(read_public(make_key(folder / "alerts.pem")))
    people = "vic: {role: operator}, eva: {role: operator}"

    def messages(users: str) -> list[str]:
        (folder / "users.yaml").write_text(f"users: {{{users}}}")
        code, said, _ = ask(capsys, "check", str(folder))
        assert code == (2 if said["findings"] else 0)
        return [one["message"] for one in said["findings"]]

    assert messages(people) == ["the site has users, and 'alerts' has no key to sign with"]
    (folder / "headrace.yaml").write_text(f"access: {{keys: {{alerts: {folder / 'alerts.pem'}}}}}")
    assert messages(people) == ["'alerts' is no user with the key that signs what links do"]
    edge = f'alerts: {{role: operator, keys: ["{digits}"], speaks_for: [eva]}}'
    assert messages(f"{people}, {edge}") == ["links acknowledge nothing: 'alerts' may not speak for 'vic'"]
    everybody = edge.replace("[eva]", "all")
    assert messages(f"{people}, {everybody}") == []
    assert messages(f"{people.replace('vic: {role: operator', 'vic: {role: viewer')}, {everybody}") == [
        "links acknowledge nothing: 'vic' may not do that: no acknowledge for role viewer"
    ]


def test_a_site_without_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "subscriptions.yaml").unlink()
    for words in (["list"], ["check"], ["status"]):
        code, said, _ = ask(capsys, *words, str(folder))
        assert (code, "no such file" in said["error"]) == (2, True)


def test_a_trial_goes_over_every_channel_and_says_what_came_of_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = ask(capsys, "test", "duty", "--site", str(folder))
    assert code == 1
    by_channel = {one["channel"]: one for one in said["channels"]}
    assert list(by_channel) == ["here", "gone", "last"]
    assert by_channel["here"]["taken"]
    assert "127.0.0.1:1: not reachable" in by_channel["gone"]["error"]
    line = json.loads((folder / "run" / "here.jsonl").read_text())
    assert (line["kind"], line["subscription"]) == ("test", "duty")
    code, said, _ = ask(capsys, "test", "all", "--site", str(folder))
    assert (code, [one["error"] for one in said["channels"]]) == (0, [None, None])


async def test_a_trial_writes_into_the_folder_of_the_role_that_runs(
    folder: Path,
    tmp_path: Path,
    embedded_broker: EmbeddedBroker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`headrace up` gives each run a folder of its own, which only the role's word on the log knows."""
    monkeypatch.setenv("HEADRACE_BROKER__BOOTSTRAP", embedded_broker.bootstrap)
    run = tmp_path / "up-1"
    Outbox(run / "alerts.sqlite").close()
    bus = KafkaBus(BrokerSettings(bootstrap=embedded_broker.bootstrap))
    producer = await bus.producer("status")
    for name, file in (("headrace-alerts-0", run / "alerts.sqlite"), ("elsewhere", tmp_path / "no.sqlite")):
        context = RoleContext(
            name, load_site(folder), folder, load_settings(None), bus, asyncio.Event(), kind="alerts"
        )
        context.ready()
        context.metrics["outbox"] = str(file)
        await (await producer.send(status_message(context)))
    await producer.close()
    await bus.close()
    words = ["subscriptions", "test", "all", "--site", str(folder)]
    assert await asyncio.to_thread(run_app, words) == 0
    assert (run / "here.jsonl").exists()
    assert not (folder / "run" / "here.jsonl").exists()
    capsys.readouterr()
    _, said, _ = await asyncio.to_thread(ask, capsys, "status", str(folder))
    assert (said["running"], said["outbox"]) == (True, str(run / "alerts.sqlite"))


def test_no_subscription_of_that_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = ask(capsys, "test", "dutty", "--site", str(folder))
    assert (code, said["findings"][0]["hint"]) == (2, "did you mean 'duty'?")


def test_status_without_an_outbox_is_unreachable(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = ask(capsys, "status", str(folder))
    assert (code, "the role has not run here yet" in said["error"]) == (3, True)


def test_status_says_what_waits_also_while_the_role_is_down(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = Outbox(folder / "run" / "alerts.sqlite")
    with outbox.transaction():
        for number in range(3):
            outbox.put(of_itself("test", "duty", "test", number, "x"), "here", 1_000_000_000)
        outbox.bury("gone", 2_000_000_000, "HTTP 503")
    first, second, _ = (outbox.message(seq) for seq, *_ in outbox.pending())
    assert first is not None
    assert second is not None
    outbox.delivered(first, 5_000_000_000)
    outbox.failed(second, "no answer", 6_000_000_000)
    outbox.commit()
    code, said, _ = ask(capsys, "status", str(folder))
    assert (code, said["running"], said["backlog"]) == (1, False, 2)
    assert said["dead_channels"]["gone"]["error"] == "HTTP 503"
    duty = said["subscriptions"][0]
    assert (duty["subscription"], duty["channel"], duty["backlog"], duty["delivered"]) == (
        "duty",
        "here",
        2,
        1,
    )
    assert (duty["last_error"], duty["last_success"][:19]) == ("no answer", "1970-01-01T00:00:05")
    assert duty["oldest_s"] > 1e9
    assert run_app(["subscriptions", "status", str(folder)]) == 1
    assert "channel gone is dead since 1970-01-01T00:00:02Z: HTTP 503" in capsys.readouterr().out
    outbox.close()
