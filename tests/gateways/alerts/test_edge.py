"""Streams that are resumed, and links that acknowledge once."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from yarl import URL

from gateways.alerts import edge as edge_module
from gateways.alerts import streams as streams_module
from gateways.alerts.links import Claim, read, sign
from rules.access.users import User
from rules.engine.engine import Engine
from rules.engine.inputs import Input
from rules.engine.outputs import Entry
from rules.errors import ConfigurationError
from streams.bus.memory import MemoryBus
from streams.settings import AccessSettings, EdgeSettings
from streams.topics import EVENTS, JOURNAL
from streams.wire import decode_input, decode_output, encode_input, encode_output
from tests.gateways.alerts.conftest import Running, Start
from tests.gateways.alerts.sink import Sink, until
from tests.gateways.alerts.words import raised, then
from tests.rules.access.people import key_of, listing, public_of
from tests.rules.engine.plant import UNIT, S, flow, program, site, tick

TEXT = """
serve:
  listen: 127.0.0.1:0
  token: {file: token}
  links: {base_url: "http://127.0.0.1:1"}
channels: {log: {kind: file, path: log.jsonl}}
subscriptions:
  duty: {to: log, asset: R1, user: eva}
  all: {to: log}
"""
HEADERS = {"Authorization": "Bearer t0ken"}


@pytest.fixture
async def served(start: Start, tmp_path: Any) -> AsyncIterator[Running]:
    (tmp_path / "token").write_text("t0ken\n")
    async with start(TEXT) as role:
        yield role


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Events:
    """What a client of Server-Sent Events reads, by the rules of that protocol."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.last_id = ""

    async def next(self) -> tuple[str, Any]:
        """(name, data) of the next event; comments are passed by."""
        name, data = "message", list[bytes]()
        async with asyncio.timeout(60):
            while True:
                line = (await self._answer.content.readline()).rstrip(b"\n")
                field, _, value = line.partition(b": ")
                if field == b"id":
                    self.last_id = value.decode()
                elif field == b"event":
                    name = value.decode()
                elif field == b"data":
                    data.append(value)
                elif not line and data:
                    return name, orjson.loads(b"\n".join(data))


async def follow(http: aiohttp.ClientSession, role: Running, last_id: str = "", query: str = "") -> Events:
    headers = HEADERS | ({"Last-Event-ID": last_id} if last_id else {})
    return Events(await http.get(f"{role.context.metrics['serves']}/alarms/events{query}", headers=headers))


async def test_a_stream_begins_with_what_stands_and_goes_on_where_it_was(
    served: Running, http: aiohttp.ClientSession
) -> None:
    await served.say(raised(1), raised(2, "R2"), then(raised(2, "R2"), "normal", 3))
    await until(lambda: served.context.metrics["words"] == 3)
    events = await follow(http, served)
    name, alarm = await events.next()
    assert (name, alarm["id"]) == ("alarm", raised(1).id)
    await served.say(raised(4, "R2"))
    assert (await events.next())[1]["id"] == raised(4).id
    await served.say(*(raised(n, f"R{n}") for n in range(10, 60)))
    again = await follow(http, served, events.last_id)
    got = [(await again.next())[1]["id"] for _ in range(50)]
    assert sorted(got) == sorted(raised(n).id for n in range(10, 60))


async def test_a_stream_of_a_subscription_has_what_that_is_told_of(
    served: Running, http: aiohttp.ClientSession
) -> None:
    events = await follow(http, served, query="?subscription=duty")
    await served.say(raised(1, "R2"), raised(2, "R1"))
    assert (await events.next())[1]["body"]["asset"] == "R1"


async def test_who_comes_too_late_is_told_of_the_gap(
    served: Running, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    await served.say(raised(1))
    await until(lambda: served.context.metrics["words"] == 1)
    name, data = await (events := await follow(http, served, "1-5")).next()
    assert (name, data["after"]) == ("gap", "1-5")
    assert (await events.next())[0] == "alarm"


async def test_a_last_id_that_is_no_text_is_a_gap(served: Running) -> None:
    await served.say(raised(1))
    await until(lambda: served.context.metrics["words"] == 1)
    where = URL(served.context.metrics["serves"])
    reader, writer = await asyncio.open_connection(where.host, where.port)
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    writer.write(f"GET /alarms/events HTTP/1.1\r\nHost: {where.authority}\r\n{head}".encode())
    writer.write(b"Last-Event-ID: 1-\xb5\r\n\r\n")
    async with asyncio.timeout(60):
        said = await reader.readuntil(b'"after":"1-?"')
    assert said.startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_quiet_stream_shows_signs_of_life(
    served: Running, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "KEEP_ALIVE_S", 0.05)
    answer = await http.get(f"{served.context.metrics['serves']}/alarms/events", headers=HEADERS)
    assert await asyncio.wait_for(answer.content.readline(), 60) == b": alive\n"


async def test_a_socket_has_the_same_events(served: Running, http: aiohttp.ClientSession) -> None:
    url = f"{served.context.metrics['serves']}/alarms/socket"
    await served.say(raised(1))
    await until(lambda: served.context.metrics["words"] == 1)
    async with http.ws_connect(url, headers=HEADERS) as socket:
        first = orjson.loads(await socket.receive_str(timeout=60))
        await served.say(raised(2, "R2"))
        second = orjson.loads(await socket.receive_str(timeout=60))
    assert [one["data"]["id"] for one in (first, second)] == [raised(1).id, raised(2).id]
    async with http.ws_connect(f"{url}?last_event_id={first['id']}", headers=HEADERS) as socket:
        assert orjson.loads(await socket.receive_str(timeout=60)) == second
    await until(lambda: served.context.metrics["stream_clients"] == 0)


async def test_a_client_that_reads_nothing_costs_nobody_anything(
    served: Running, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge_module, "WRITE_S", 1.0)
    url = served.context.metrics["serves"].removeprefix("http://")
    host, port = url.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(b"GET /alarms/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t0ken\r\n\r\n")
    await until(lambda: served.context.metrics["stream_clients"] == 1)
    events = await follow(http, served)

    async def hear() -> None:
        for _ in range(300):
            await events.next()

    hearing = asyncio.create_task(hear())  # from the first one on: it reads what it gets
    long = "x" * 60_000
    for number in range(1, 300, 30):
        await served.say(
            *(dataclasses.replace(raised(n, f"R{n}"), message=long) for n in range(number, number + 30))
        )
    await hearing
    await until(lambda: served.context.metrics["stream_clients"] == 1)  # the other one was let go of
    writer.close()


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer other"}, {"Authorization": "t0ken"}])
@pytest.mark.parametrize("path", ["events", "socket"])
async def test_nobody_reads_without_the_token(
    served: Running, http: aiohttp.ClientSession, headers: dict[str, str], path: str
) -> None:
    answer = await http.get(f"{served.context.metrics['serves']}/alarms/{path}", headers=headers)
    assert answer.status == 401
    assert raised(1).id not in await answer.text()
    assert served.context.metrics["http_refused"]["token"] == 1


@pytest.mark.parametrize("path", ["events", "socket"])
async def test_of_a_stream_there_is_no_head(served: Running, http: aiohttp.ClientSession, path: str) -> None:
    answer = await http.head(f"{served.context.metrics['serves']}/alarms/{path}", headers=HEADERS)
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("path", ["events", "socket"])
async def test_a_client_has_as_many_streams_as_the_settings_say(
    start: Start, http: aiohttp.ClientSession, tmp_path: Path, path: str
) -> None:
    (tmp_path / "token").write_text("t0ken")
    async with start(TEXT, edges=EdgeSettings(streams_per_client=1)) as role:
        first = await follow(http, role)
        await role.say(raised(1))
        assert (await first.next())[0] == "alarm"
        answer = await http.get(f"{role.context.metrics['serves']}/alarms/{path}", headers=HEADERS)
        assert (answer.status, role.context.metrics["http_refused"]["streams"]) == (429, 1)
        await role.say(raised(2, "R2"))
        assert (await first.next())[1]["id"] == raised(2, "R2").id


async def test_no_subscription_of_that_name(served: Running, http: aiohttp.ClientSession) -> None:
    url = f"{served.context.metrics['serves']}/alarms/events?subscription=night"
    assert (await http.get(url, headers=HEADERS)).status == 404


def test_a_link_is_read_as_it_was_signed_and_no_other() -> None:
    claim = Claim("row:low:R1", "row:plc:1:1:0", "duty", 1000)
    token = sign(claim, b"key")
    assert read(token, b"key", 999.0) == claim
    assert read(token, b"key", 1000.0) == "this link has expired"
    for wrong in (
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        "A" + token[1:],
        token.partition(".")[0],
        "",
        "?.?",
    ):
        assert isinstance(read(wrong, b"key", 0.0), str), wrong
    assert isinstance(read(token, b"other", 0.0), str)


RULES = """
  rack-low:
    for: Rack
    when: RackLiquidFlow < 70 L/min
    severity: high
    message: "{asset} is low"
"""


async def engine_on(bus: MemoryBus, now_ns: int, *first: Input) -> asyncio.Task[None]:
    """A worker of one unit whose rack R1 is low."""
    engine = Engine(program(RULES), site(), UNIT)
    reader, producer = await bus.reader([EVENTS.name]), await bus.producer("worker")
    for value in (*first, tick(now_ns), flow(1, now_ns, 60, point="R1.RackLiquidFlow")):
        await producer.send(encode_input(value, 3))

    async def work() -> None:
        while True:
            for record in await reader.read(0.1):
                for output in engine.step([decode_input(record.key, record.headers, record.value)]):
                    await producer.send(encode_output(output, 3))

    return asyncio.create_task(work())


async def test_an_alarm_is_acknowledged_over_its_link_once_and_not_by_looking_at_it(
    served: Running, http: aiohttp.ClientSession
) -> None:
    worker = await engine_on(served.bus, int(time.time()) * S)
    log = served.context.settings.run_dir / "log.jsonl"
    await until(lambda: log.exists() and "acknowledge" in log.read_text())
    first = orjson.loads(log.read_text().splitlines()[0])
    link = first["alarms"][0]["acknowledge"].replace("http://127.0.0.1:1", served.context.metrics["serves"])
    shown = await http.get(link)
    page = await shown.text()
    assert "R1 is low" in page
    style = hashlib.sha256(page.partition("<style>")[2].partition("</style>")[0].encode()).digest()
    assert f"'sha256-{base64.b64encode(style).decode()}'" in shown.headers["content-security-policy"]
    assert "form-action 'self'" in shown.headers["content-security-policy"]
    assert (await http.head(link)).status == 200
    assert '"state":"acknowledged"' not in log.read_text()
    answer = await http.post(link)
    assert (answer.status, "Acknowledged" in await answer.text()) == (200, True)
    await until(lambda: '"state":"acknowledged"' in log.read_text())
    assert re.search(
        '"by":"(eva|alerts)","cleared_ns":null,"comment":"over a link of (duty|all)"', log.read_text()
    )
    again = await http.post(link)
    assert (again.status, "used already" in await again.text()) == (410, True)
    worker.cancel()


USERS = """
users:
  ada: {{role: admin, keys: [{ada}]}}
  eva: {{role: operator}}
  alerts: {{role: operator, keys: [{alerts}], speaks_for: [eva]}}
"""


@pytest.mark.parametrize(("user", "status"), [("eva", 200), ("otto", 409)])
async def test_where_the_site_has_users_a_link_acts_for_one_of_them(
    start: Start, http: aiohttp.ClientSession, bus: MemoryBus, tmp_path: Path, user: str, status: int
) -> None:
    (tmp_path / "token").write_text("t0ken")
    (tmp_path / "users.yaml").write_text(USERS.format(ada=public_of("ada"), alerts=public_of("alerts")))
    key = tmp_path / "alerts.pem"
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(key_of("alerts").private_bytes(*form))
    for secret in (key, tmp_path / "users.yaml"):
        secret.chmod(0o600)
    now = int(time.time()) * S
    people = {
        "ada": User("admin", (public_of("ada"),)),
        "eva": User("operator"),
        "otto": User("operator"),
        "alerts": User("operator", (public_of("alerts"),), ("eva",)),
    }
    text = TEXT.replace("user: eva", f"user: {user}")
    async with start(text, access=AccessSettings(keys={"alerts": key})) as role:
        worker = await engine_on(bus, now, listing(now, people, at_ns=now))
        log = role.context.settings.run_dir / "log.jsonl"
        await until(lambda: log.exists() and "duty/" in log.read_text())
        notes = [orjson.loads(line) for line in log.read_text().splitlines()]
        duty = next(one for one in notes if one["subscription"] == "duty")
        link = duty["alarms"][0]["acknowledge"].replace("http://127.0.0.1:1", role.context.metrics["serves"])
        answer = await http.post(link)
        assert answer.status == status, await answer.text()
        worker.cancel()
    entries = [decode_output(one.headers, one.value) for one in bus.records(JOURNAL.name)]
    last = [
        one
        for one in entries
        if isinstance(one, Entry) and one.kind in ("alarm-acknowledged", "action-refused")
    ][-1]
    assert (last.detail["by"], last.detail["signed"], last.detail["signer"]) == (user, True, "alerts")


async def test_where_the_site_has_users_links_need_a_key(start: Start, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken")
    (tmp_path / "users.yaml").write_text(USERS.format(ada=public_of("ada"), alerts=public_of("alerts")))
    (tmp_path / "users.yaml").chmod(0o600)
    with pytest.raises(ConfigurationError, match="'alerts' has no key to sign with"):
        async with start(TEXT):
            pass


async def test_a_link_that_the_engine_refuses_says_why(served: Running, http: aiohttp.ClientSession) -> None:
    worker = await engine_on(served.bus, int(time.time()) * S)
    key = (served.context.settings.run_dir / "alerts.key").read_bytes()
    claim = Claim(f"{UNIT}:rack-low:R2", "row:plc:1:1:0", "duty", int(time.time()) + 60)
    answer = await http.post(f"{served.context.metrics['serves']}/acknowledge/{sign(claim, key)}")
    assert (answer.status, "nothing of it stands" in await answer.text()) == (409, True)
    worker.cancel()


async def test_the_outbox_and_the_key_are_for_nobody_else(served: Running, sink: Sink) -> None:
    for name in ("alerts.sqlite", "alerts.key"):
        assert (served.context.settings.run_dir / name).stat().st_mode & 0o077 == 0


async def test_a_token_of_no_text_is_a_wrong_one(served: Running) -> None:
    host, port = str(served.context.metrics["serves"]).removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /alarms/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()


async def test_a_key_of_a_socket_that_is_no_text_is_a_wrong_one(served: Running) -> None:
    """Found by the fuzzer: aiohttp failed at it."""
    host, port = str(served.context.metrics["serves"]).removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhl\xff\xffNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer t0ken\r\n\r\n"
    writer.write(b"GET /alarms/socket HTTP/1.1\r\nHost: a\r\n" + upgrade + key)
    assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.close()
