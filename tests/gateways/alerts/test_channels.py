"""What each kind of channel says to whom, and how it fails; no secret gets out."""

from __future__ import annotations

import io
import logging
import time
from pathlib import Path
from zoneinfo import ZoneInfo

import jsonschema
import orjson
import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from gateways.alerts.alertmanager import Alertmanager, alert
from gateways.alerts.apprise_channel import AppriseChannel
from gateways.alerts.channels import open_channels
from gateways.alerts.delivery import DeliveryError, without_secrets
from gateways.alerts.file_channel import FileChannel
from gateways.alerts.grouping import DIGEST, Batch, Item
from gateways.alerts.model import Channel, Secret, Subscription, Subscriptions
from gateways.alerts.notification import Notification, of_batch, of_itself
from gateways.alerts.webhook import Webhook, key_of, signature
from gateways.asyncapi import json_schema
from rules.engine.outputs import Alarm
from rules.errors import ConfigurationError
from tests.gateways.alerts.sink import Sink
from tests.gateways.alerts.words import NOON, S, raised, then

DUTY = Subscription("duty", ("here",))
UTC = ZoneInfo("UTC")
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def now() -> int:
    return time.time_ns()


def told(*alarms: Alarm, group: str = "") -> Notification:
    batch = Batch(group, tuple(Item(one) for one in alarms))
    return of_batch(DUTY, batch, "narvik", NOON, lambda _alarm, _name: "")


def webhook(url: str, secret: str | None = None) -> Webhook:
    return Webhook(Channel("here", "webhook", Secret(url), secret and Secret(secret), timeout_s=30.0), now)


async def test_a_library_that_nobody_here_wrote_verifies_a_webhook(sink: Sink) -> None:
    channel = webhook(sink.url, KEY)
    await channel.send(told(raised(1)))
    await channel.close()
    body, headers = sink.bodies[0], sink.headers[0]
    assert Verifier(KEY).verify(body, headers)["id"] == headers["webhook-id"] == "duty/row:plc:1:1:0"
    for changed in (body[:-1] + b" }", b""):
        with pytest.raises(WebhookVerificationError):
            Verifier(KEY).verify(changed, headers)
    for name, other in (("webhook-id", "duty/other"), ("webhook-timestamp", "1700000000")):
        with pytest.raises(WebhookVerificationError):
            Verifier(KEY).verify(body, {**headers, name: other})


def test_a_secret_that_is_no_base64_is_taken_as_it_is() -> None:
    assert key_of("0123456789") == b"0123456789"
    assert key_of(KEY) != KEY.encode()
    # printf 'a.1.{}' | openssl dgst -sha256 -hmac k -binary | base64
    assert signature(b"k", "a", 1, b"{}") == "v1,qOHU3ZNEI7JL1FZgWWn7yzERdFXcrDUOV4Nz0pT+puQ="


async def test_a_webhook_is_as_its_schema_says(sink: Sink) -> None:
    channel = webhook(sink.url)
    await channel.send(told(raised(1), then(raised(1), "normal", 2)))
    await channel.send(told(*(raised(n, f"R{n}") for n in range(80)), group=DIGEST))
    await channel.send(of_itself("channel-dead", "headrace", "narvik", NOON, "it is dead", channel="x"))
    await channel.close()
    validator = jsonschema.Draft7Validator(json_schema("notification"))
    for one in sink.got:
        assert [error.message for error in validator.iter_errors(one)] == []
    digest = sink.got[1]
    assert (digest["kind"], len(digest["alarms"]), digest["folded"]["transitions"]) == ("digest", 5, 80)
    assert len(set(digest["folded"]["deliveries"])) == 80
    assert "webhook-signature" not in sink.headers[0]


@pytest.mark.parametrize(
    ("status", "is_final"), [(503, False), (404, False), (302, False), (400, True), (422, True)]
)
async def test_who_does_not_take_it_is_asked_again_unless_never(
    sink: Sink, status: int, is_final: bool
) -> None:
    sink.always = status
    channel = webhook(sink.url)
    with pytest.raises(DeliveryError, match=str(status)) as caught:
        await channel.send(told(raised(1)))
    await channel.close()
    assert caught.value.is_final is is_final


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/s3cret", "http://u:s3cret@127.0.0.1:1/x"])
async def test_an_error_does_not_tell_the_address(url: str) -> None:
    channel = webhook(url)
    with pytest.raises(DeliveryError) as caught:
        await channel.send(told(raised(1)))
    await channel.close()
    assert "s3cret" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


async def test_alarms_fire_and_are_resolved_at_an_alertmanager(sink: Sink) -> None:
    channel = Alertmanager(Channel("here", "alertmanager", Secret(sink.url)), lambda: NOON, "narvik")
    alarm = raised(1)
    await channel.send(told(alarm))
    await channel.send(
        told(then(alarm, "acknowledged", 2, by="eva"), then(alarm, "returned-unacknowledged", 3))
    )
    await channel.send(of_itself("always", "watchdog", "narvik", NOON, "all is well", lease_ns=180 * S))
    await channel.close()
    assert sink.paths == ["/alarms/api/v2/alerts"] * 3
    (fires,), (over,), (always,) = (orjson.loads(body) for body in sink.bodies)
    assert fires["labels"] == over["labels"]
    assert fires["labels"] == {
        "alertname": "rack-low", "site": "narvik", "unit": "row", "asset": "R1", "severity": "high",
    }  # fmt: skip
    assert fires["startsAt"] == over["startsAt"] < over["endsAt"] < fires["endsAt"]
    assert always["labels"]["alertname"] == "HeadraceAlwaysFiring"
    assert always["startsAt"] < always["endsAt"]


def test_what_is_silenced_is_over_for_an_alertmanager() -> None:
    shelved = then(raised(1), "shelved", 2)
    assert alert(shelved, "narvik", NOON + 60 * S)["endsAt"] < alert(raised(1), "narvik", NOON)["endsAt"]


def apprise_to(url: str, timeout_s: float = 30.0) -> AppriseChannel:
    return AppriseChannel(Channel("phone", "apprise", Secret(url), timeout_s=timeout_s, parallel=1), UTC)


async def test_apprise_takes_words_for_people(sink: Sink) -> None:
    channel = apprise_to(sink.url.replace("http", "json"))
    await channel.send(told(raised(1)))
    title, message = sink.got[0]["title"], sink.got[0]["message"]
    assert title == "narvik: HIGH rack-low R1"
    assert "R1 is low (rack-low R1, row)" in message
    assert "[duty/row:plc:1:1:0]" in message


async def test_apprise_says_why_it_failed_and_not_where_to(sink: Sink) -> None:
    written = io.StringIO()
    handler, root = logging.StreamHandler(written), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    sink.always = 403
    try:
        channel = apprise_to(sink.url.replace("http://", "json://bot:pa55word@") + "/t0kenOfOurs")
        with pytest.raises(DeliveryError, match="403") as caught:
            await channel.send(told(raised(1)))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    said = str(caught.value) + written.getvalue()
    assert not [secret for secret in ("pa55word", "t0kenOfOurs") if secret in said]


@pytest.mark.parametrize("kind", ["webhook", "apprise"])
async def test_nobody_follows_a_redirect(sink: Sink, kind: str) -> None:
    channel = webhook(sink.url) if kind == "webhook" else apprise_to(sink.url.replace("http", "json"))
    sink.answers = [307]
    with pytest.raises(DeliveryError, match="307"):
        await channel.send(told(raised(1)))
    assert sink.paths == ["/alarms"]
    await channel.close()


async def test_a_service_that_hangs_holds_up_nobody_else(sink: Sink) -> None:
    sink.hangs = True
    channel = apprise_to(sink.url.replace("http", "json") + "?rto=20&cto=20", timeout_s=0.2)
    with pytest.raises(DeliveryError, match="did not answer within"):
        await channel.send(told(raised(1)))
    with pytest.raises(DeliveryError, match="1 calls of the service hang"):
        await channel.send(told(raised(2)))


def test_secrets_are_taken_out_of_a_librarys_words() -> None:
    channel = Channel("phone", "apprise", Secret("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnl%20azkCXAOd8/#alarms"))
    words = "Failed to send to https://hooks.slack.com/T1JJ3T3L2/A1BRTD4JD: TIiajkdnl azkCXAOd8 said 404"
    said = without_secrets(words, channel)
    assert "404" in said
    assert not [part for part in ("T1JJ3T3L2", "A1BRTD4JD", "azkCXAOd8", "hooks.slack") if part in said]


def test_an_address_that_no_service_knows_is_said_without_it(tmp_path: Path) -> None:
    wrong = Subscriptions({"phone": Channel("phone", "apprise", Secret("nonsense://s3cret"))})
    with pytest.raises(ConfigurationError) as caught:
        open_channels(wrong, "narvik", tmp_path, now)
    assert "phone" in str(caught.value)
    assert "s3cret" not in str(caught.value)


async def test_a_file_gets_a_line_each(tmp_path: Path) -> None:
    channel = FileChannel(Channel("log", "file", Secret("notes/all.jsonl")), tmp_path)
    await channel.send(told(raised(1)))
    await channel.send(told(raised(2)))
    file = tmp_path / "notes" / "all.jsonl"
    assert file.stat().st_mode & 0o077 == 0  # links in it acknowledge alarms
    lines = file.read_text().splitlines()
    assert [orjson.loads(line)["id"] for line in lines] == ["duty/row:plc:1:1:0", "duty/row:plc:1:2:0"]
