"""The role on an in-memory log: what receivers on the loopback get, in which order, and after a restart."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from gateways.alerts import sender
from gateways.alerts.role import run
from rules.errors import ConfigurationError, UnreachableError
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.settings import Settings
from streams.topics import TOPICS
from tests.gateways.alerts.conftest import Start
from tests.gateways.alerts.sink import Sink, until
from tests.gateways.alerts.words import raised, then
from tests.rules.engine.plant import site

ONE = """
channels:
  here: {{kind: webhook, url: "{url}"}}
subscriptions:
  duty: {{to: here{more}}}
"""


async def test_a_subscription_is_told_of_each_transition_in_order(start: Start, sink: Sink) -> None:
    alarm = raised()
    seen = then(alarm, "acknowledged", 2, by="eva")
    over = then(seen, "normal", 3)
    async with start(ONE.format(url=sink.url, more="")) as role:
        await role.say(alarm, seen, over)
        await until(lambda: len(sink.got) == 3)
    assert sink.ids == [f"duty/{one.id}" for one in (alarm, seen, over)]
    first = sink.got[0]
    assert (first["schema"], first["kind"], first["site"]) == ("notification/1", "alarms", "test")
    assert first["alarms"][0]["alarm"]["body"]["state"] == "unacknowledged"
    assert sink.headers[0]["webhook-id"] == first["id"]


async def test_the_same_words_again_are_no_news(start: Start, sink: Sink) -> None:
    alarm = raised()
    over = then(alarm, "normal", 2)
    async with start(ONE.format(url=sink.url, more="")) as role:
        await role.say(alarm, over, alarm, over)
        await role.say(raised(3, "R2"))
        await until(lambda: len(sink.got) == 3)
        assert role.context.metrics["repeats"] == 2
    async with start(ONE.format(url=sink.url, more="")) as role:
        await role.say(over, raised(4, "R2"))
        await until(lambda: len(sink.got) == 4)
    assert len(set(sink.ids)) == 4


async def test_what_stood_before_the_first_start_is_told_where_it_needs_somebody(
    start: Start, sink: Sink, bus: MemoryBus
) -> None:
    open_, over = raised(1, "R1"), then(raised(2, "R2"), "normal", 3)
    async with start("channels: {here: {kind: file, path: x}}\nsubscriptions: {a: {to: here}}") as role:
        pass
    (role.context.settings.run_dir / "alerts.sqlite").unlink()
    await role.say(open_, raised(2, "R2"), over)
    async with start(ONE.format(url=sink.url, more="")) as role:
        await role.say(raised(4, "R2"))
        await until(lambda: len(sink.got) == 2)
    assert sink.ids == [f"duty/{open_.id}", "duty/row:plc:1:4:0"]


async def test_what_is_said_while_the_role_is_down_is_told_afterwards(start: Start, sink: Sink) -> None:
    text = ONE.format(url=sink.url, more="")
    async with start(text) as role:
        await role.say(raised(1))
        await until(lambda: len(sink.got) == 1)
    await role.say(then(raised(1), "acknowledged", 2), raised(3, "R2"))
    async with start(text):
        await until(lambda: len(sink.got) == 3)
    assert sorted(sink.ids) == [f"duty/row:plc:1:{n}:0" for n in (1, 2, 3)]


async def test_another_log_is_read_from_its_start_and_what_was_told_is_not_told_again(
    start: Start, sink: Sink, bus: MemoryBus, tmp_path: Path
) -> None:
    text = ONE.format(url=sink.url, more="")
    first = [raised(n, f"R{n}") for n in range(1, 6)]
    async with start(text) as role:
        await role.say(*first)
        await until(lambda: len(sink.got) == 5)
    bus.__init__()  # type: ignore[misc]  # a fresh log, with more on it than the old one had
    await bus.create_topics(TOPICS, 3)
    await role.say(*[raised(n, f"R{n}") for n in range(20, 30)], *first)
    async with start(text) as role:
        await until(lambda: len(sink.got) == 15)
        assert role.context.metrics["repeats"] == 5


async def test_an_outbox_has_one_role(start: Start, sink: Sink) -> None:
    text = ONE.format(url=sink.url, more="")
    async with start(text) as role:
        with pytest.raises(UnreachableError, match="another role works with the outbox"):
            async with start(text):
                pass
        await role.say(raised(1))
        await until(lambda: len(sink.got) == 1)
    async with start(text):
        pass


@pytest.mark.parametrize(
    ("listen", "words"),
    [("0.0.0.0:0", "a token is needed"), ("127.0.0.1:65536", "is no HOST:PORT"), ("8470", "is no HOST:PORT")],
)
async def test_the_option_listen_may_say_no_more_than_the_file(
    tmp_path: Path, bus: MemoryBus, listen: str, words: str
) -> None:
    text = ONE.format(url="http://127.0.0.1:1/x", more="") + 'serve: {listen: "127.0.0.1:0"}'
    (tmp_path / "subscriptions.yaml").write_text(text)
    settings = Settings(run_dir=tmp_path / "run")
    context = RoleContext(
        "alerts", site(), tmp_path, settings, bus, asyncio.Event(), options={"listen": listen}
    )
    context.stop.set()
    with pytest.raises(ConfigurationError, match=words):
        await run(context)


async def test_failures_are_tried_again_in_order(start: Start, sink: Sink) -> None:
    sink.answers = [503, 500]
    async with start(ONE.format(url=sink.url, more="")) as role:
        await role.say(raised(1), then(raised(1), "normal", 2))
        await until(lambda: len(sink.got) == 2)
        assert role.context.metrics["failures"] == 2
    assert sink.ids == ["duty/row:plc:1:1:0", "duty/row:plc:1:2:0"]
    assert len({one["webhook-id"] for one in sink.headers}) == 2


TWO = """
fallback: last
channels:
  here: {{kind: webhook, url: "{url}", give_up: 1 s, timeout: 30 s}}
  last: {{kind: webhook, url: "{second}"}}
subscriptions:
  duty: {{to: here}}
  office: {{to: last, severity: low}}
"""


async def test_a_dead_channel_falls_back_says_so_and_comes_back(
    start: Start, sink: Sink, second: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "PROBE_S", 0.3)
    sink.always = 503
    async with start(TWO.format(url=sink.url, second=second.url)) as role:
        await role.say(raised(1))
        await until(lambda: len(second.got) == 2)
        await until(lambda: role.context.metrics["diverted"] == 1)
        told, word = sorted(second.got, key=lambda one: one["kind"])
        assert (told["id"], told["instead_of"]) == ("duty/row:plc:1:1:0", "here")
        assert (word["kind"], word["channel"]) == ("channel-dead", "here")
        assert "503" in word["message"]
        await role.say(raised(2, "R2"))
        await until(lambda: len(second.got) == 3)
        await until(lambda: role.context.metrics.get("dead_channels") == 1)
        sink.always = 200
        await until(lambda: any(one["kind"] == "channel-alive" for one in second.got))
        assert sink.got[0]["kind"] == "channel-alive"
        await role.say(raised(3, "R1"))
        await until(lambda: len(sink.got) == 2)
    assert sink.got[1]["id"] == "duty/row:plc:1:3:0"


async def test_a_receiver_that_hangs_delays_no_other(start: Start, sink: Sink, second: Sink) -> None:
    second.hangs = True
    text = f"""
channels:
  here: {{kind: webhook, url: "{sink.url}"}}
  slow: {{kind: webhook, url: "{second.url}", timeout: 60 s, parallel: 1}}
subscriptions:
  duty: {{to: here}}
  other: {{to: [slow, here]}}
"""
    async with start(text) as role:
        await role.say(*(raised(n, f"R{n}") for n in range(50)))
        await until(lambda: len(sink.got) == 100, within_s=50.0)  # the other one is given up after 60 s
        await until(lambda: role.context.metrics["deliveries"] == 100)


async def test_a_name_that_nobody_finds_delays_no_other(
    start: Start, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are looked up in threads, of which a loop has few."""
    look_up, found, asked = socket.getaddrinfo, threading.Event(), set[str]()

    def slow(host: str, *rest: Any, **more: Any) -> Any:
        if host.startswith("slow"):
            asked.add(host)
            found.wait(120)  # longer than anything here is waited for
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up("127.0.0.1" if host == "fast.test" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    names = [f"slow-{number}" for number in range(40)]
    channels = "".join(f'  {name}: {{kind: webhook, url: "http://{name}.test/x"}}\n' for name in names)
    text = f"""
channels:
{channels}  fast: {{kind: webhook, url: "{sink.url.replace("127.0.0.1", "fast.test")}"}}
subscriptions:
  slow: {{to: [{", ".join(names)}], asset: R1}}
  fast: {{to: fast, asset: R2}}
"""
    async with start(text) as role:
        await role.say(raised(1, "R1"))
        await until(lambda: len(asked) >= 4)
        await role.say(raised(2, "R2"))
        await until(lambda: len(sink.got) == 1)
        found.set()


async def test_what_a_receiver_refuses_is_not_tried_again(start: Start, sink: Sink, second: Sink) -> None:
    sink.answers = [422]
    async with start(TWO.format(url=sink.url, second=second.url)) as role:
        await role.say(raised(1), raised(2, "R2"))
        await until(lambda: len(sink.got) == 1 and len(second.got) == 1)
        assert role.context.metrics["refused"] == 1
    assert (second.got[0]["id"], second.got[0]["instead_of"]) == ("duty/row:plc:1:1:0", "here")
