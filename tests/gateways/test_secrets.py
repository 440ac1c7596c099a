"""Secrets are in no output, log, error or repr: each place that takes one is given a marked one, and all is searched."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from asyncua import ua

from gateways.access.passwords import hashed
from gateways.access.users_file import parse_users
from gateways.alerts.files import load_subscriptions
from gateways.alerts.role import run as run_alerts
from gateways.cli.main import run_app
from gateways.cli.run_role import run_role
from rules.errors import HeadraceError
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.settings import Settings, load_settings
from streams.site_folder import load_site
from streams.topics import TOPICS
from streams.wire import encode_output
from tests.gateways.alerts.sink import running_sink, until
from tests.gateways.alerts.words import raised
from tests.gateways.scada.live import PASSWORD, client, live, site_folder
from tests.rules.engine.plant import SITE


class Marks:
    """Marked secrets, and everything that was said since."""

    def __init__(self) -> None:
        self.all: dict[str, str] = {}
        self.said: list[str] = []

    def new(self, place: str) -> str:
        return self.all.setdefault(place, f"zq7{len(self.all):02}{place.replace('-', '')}9qz")

    def command(self, *words: str, stdin: str = "") -> str:
        """What a command says on both its outputs."""
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        before = sys.stdin
        sys.stdin = io.StringIO(stdin)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                code = run_app(list(words))
        finally:
            sys.stdin = before
        out.flush()
        text = out.buffer.getvalue().decode()  # type: ignore[attr-defined]
        self.said.append(text)
        assert text or code == 0, words
        return text

    def leaks(self) -> list[tuple[str, str]]:
        """Place and surroundings of each mark that was said."""
        return [
            (place, text[max(0, text.index(mark) - 80) : text.index(mark) + 60])
            for place, mark in self.all.items()
            for text in self.said
            if mark in text
        ]


@pytest.fixture
def marks(caplog: pytest.LogCaptureFixture) -> Iterator[Marks]:
    caplog.set_level(logging.INFO)
    made = Marks()
    yield made
    made.said.append(caplog.text)
    made.said += [str(record.exc_info) for record in caplog.records if record.exc_info]
    assert made.all
    leaks = made.leaks()
    assert leaks == [], "\n".join(f"{place}: {text}" for place, text in leaks)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "headrace.yaml").write_text(
        f"run_dir: {tmp_path / 'run'}\nbroker: {{bootstrap: '127.0.0.1:1'}}\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


COMMANDS = (
    ["doctor"],
    ["subscriptions", "check"],
    ["subscriptions", "list"],
    ["subscriptions", "status"],
    ["subscriptions", "test"],
)


def ask_all(marks: Marks, folder: Path, name: str = "duty") -> None:
    for words in COMMANDS:
        given = [name, "--site", str(folder)] if words[-1] == "test" else [str(folder)]
        for flags in ([], ["--json"]):
            with contextlib.suppress(SystemExit):
                marks.command(*words, *given, *flags)


def test_a_mark_that_is_said_is_found() -> None:
    marks = Marks()
    marks.said.append(f"error: {marks.new('place')}")
    assert [place for place, _ in marks.leaks()] == ["place"]


def test_secrets_that_stand_in_subscriptions_by_mistake(marks: Marks, folder: Path) -> None:
    new = marks.new
    texts = [
        f"channels:\n  hook: {{kind: webhook, url: 'https://h/{new('url')}', secret: {new('secret')}}}\nsubscriptions:\n  duty: {{to: hook}}\n",
        f"serve:\n  listen: 127.0.0.1:0\n  token: {new('token')}\nchannels:\n  mail:\n    kind: apprise\n    url: mailto://u:{new('mail')}@h\n    secrt: {new('other')}\nsubscriptions: {{}}\n",
        f"channels:\n  mail:\n    kind: apprise\n    url:\n      - {new('list')}\nsubscriptions:\n  duty: {{to: mail, user: eva}}\n",
        f'channels:\n  mail:\n    url: "https://{new("quote")}\n    kind: apprise\n',
        f"channels:\n  mail: {{kind: apprise, url: {{env: {new('env')}}}}}\nsubscriptions: {{duty: {{to: mail}}}}\n".replace(new("env"), "MARKED"),
    ]  # fmt: skip
    for text in texts:
        (folder / "subscriptions.yaml").write_text(text)
        ask_all(marks, folder)


def test_secrets_of_files_and_variables_that_are_of_no_use(
    marks: Marks, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "subscriptions.yaml").write_text(
        "channels:\n  hook: {kind: webhook, url: {file: url}, secret: {file: secret}}\n  mail: {kind: apprise, url: {env: MAIL}}\n"
        "subscriptions:\n  duty: {to: [hook, mail]}\n"
    )  # fmt: skip
    for url, secret, mail in (
        (f"ftp://{marks.new('scheme')}", "s", "json://127.0.0.1:1"),
        (f"https://[{marks.new('host')}", "s", "json://127.0.0.1:1"),
        (f"http://127.0.0.1:9x{marks.new('port')}/", "s", "json://127.0.0.1:1"),
        ("http://127.0.0.1:1", f"whsec_{marks.new('base64')}!", "json://127.0.0.1:1"),
        ("http://127.0.0.1:1", "s", f"nosuch://{marks.new('service')}"),
        ("http://127.0.0.1:1", "s", marks.new("words")),
    ):
        (folder / "url").write_text(url)
        (folder / "secret").write_text(secret)
        monkeypatch.setenv("MAIL", mail)
        ask_all(marks, folder)


def test_secrets_of_channels_that_fail(marks: Marks, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "subscriptions.yaml").write_text(
        "channels:\n  hook: {kind: webhook, url: {file: url}, secret: {env: SIGNS}}\n  am: {kind: alertmanager, url: {env: AM}}\n"
        "  mail: {kind: apprise, url: {env: MAIL}, timeout: 2 s}\nsubscriptions:\n  duty: {to: [hook, am, mail]}\n"
    )  # fmt: skip
    (folder / "url").write_text(
        f"http://u:{marks.new('user')}@127.0.0.1:1/{marks.new('path')}?t={marks.new('query')}"
    )
    monkeypatch.setenv("SIGNS", marks.new("hmac"))
    monkeypatch.setenv("AM", f"http://127.0.0.1:1/{marks.new('am')}")
    monkeypatch.setenv("MAIL", f"json://u:{marks.new('apprise')}@127.0.0.1:1/{marks.new('apprise-path')}")
    ask_all(marks, folder)
    found = load_subscriptions(folder, load_site(folder))
    marks.said += [
        repr(found),
        str(found),
        *(f"{one!r} {one.url} {one.secret}" for one in found.channels.values()),
    ]


async def test_secrets_of_a_running_role_and_its_edge(
    marks: Marks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_sink() as sink:
        sink.answers = [500, 301, 404]
        (tmp_path / "site.yaml").write_text(SITE)
        (tmp_path / "subscriptions.yaml").write_text(
            "serve:\n  listen: 127.0.0.1:0\n  token: {file: token}\n  links: {base_url: 'http://127.0.0.1:1'}\n"
            "channels:\n  hook: {kind: webhook, url: {env: HOOK}, secret: {env: SIGNS}}\n  gone: {kind: webhook, url: {env: GONE}, give_up: 1 s}\n"
            "subscriptions:\n  duty: {to: [hook, gone]}\n"
        )  # fmt: skip
        monkeypatch.setenv("HOOK", f"{sink.url}/{marks.new('hook')}")
        monkeypatch.setenv("GONE", f"http://127.0.0.1:1/{marks.new('gone')}")
        monkeypatch.setenv("SIGNS", marks.new("signs"))
        (tmp_path / "token").write_text(marks.new("token"))
        bus = MemoryBus()
        await bus.create_topics(TOPICS, 3)
        context = RoleContext(
            "alerts", load_site(tmp_path), tmp_path, Settings(run_dir=tmp_path / "run"), bus, asyncio.Event()
        )
        task = asyncio.create_task(run_alerts(context))
        await until(lambda: context.state == "ready" or task.done())
        producer = await bus.producer("worker")
        await (await producer.send(encode_output(raised(1), 3)))
        await until(lambda: bool(sink.got))
        async with aiohttp.ClientSession() as http:
            for path in ("/alarms/events", "/alarms/socket", f"/acknowledge/{marks.new('link')}"):
                headers = {"Authorization": f"Bearer {marks.new('wrong-token')}"}
                async with http.get(f"{context.metrics['serves']}{path}", headers=headers) as answer:
                    marks.said.append(f"{answer.status} {answer.headers} {await answer.text()}")
        marks.said.append(str(context.metrics))
        context.stop.set()
        await task


def test_users_and_their_passwords(marks: Marks, folder: Path) -> None:
    file = folder / "users.yaml"
    marks.command("users", "init", str(folder), "--name", "ada", "--key", str(folder / "ada.pem"))
    long, short = marks.new("password-of-length"), marks.new("short")[:7]
    marks.all["short"] = short
    marks.command(
        "users",
        "add",
        "eva",
        "--role",
        "operator",
        "--password",
        "--site",
        str(folder),
        stdin=f"{long}\n{long}\n",
    )
    marks.command(
        "users", "add", "otto", "--role", "operator", "--password", "--site", str(folder), stdin=f"{short}\n"
    )
    marks.command("users", "hash-password", stdin=f"{long}\n")
    whole = file.read_text()
    stored = next(line for line in whole.splitlines() if "argon2id" in line).split("password:")[1].strip()
    marks.all["hash"] = stored.rpartition("$")[2]
    for text in (
        whole.replace(stored, marks.new("plain")),
        whole.replace(stored, f"[{marks.new('in-list')}]"),
        whole.replace(stored, f'"{marks.new("quote")}'),
        whole.replace(stored, f"{{{marks.new('mapping')}: [}}"),
        whole.replace(stored, f"*{marks.new('alias')}"),
        whole.replace(stored, f"!{marks.new('tag')} x"),
        whole,
    ):
        file.write_text(text)
        for words in (
            ["doctor", str(folder)],
            ["users", "list", str(folder)],
            ["ack", "*", "--site", str(folder)],
        ):
            marks.command(*words)
            marks.command(*words, "--json")
    users = parse_users(f"users: {{eva: {{role: viewer, password: '{hashed(long)}'}}}}", "users.yaml")
    marks.all["hash-2"] = users.users["eva"].password.rpartition("$")[2]
    marks.said += [repr(users), str(users)]


def test_keys(marks: Marks, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = folder / "key.pem"
    pem.write_text(f"-----BEGIN PRIVATE KEY-----\n{marks.new('pem')}\n-----END PRIVATE KEY-----\n")
    pem.chmod(0o600)
    for words in (["ack", "*", "--site"], ["users", "apply"], ["activate"]):
        marks.command(*words, str(folder), "--key", str(pem)) if words[0] != "activate" else marks.command(
            *words, str(folder)
        )
    monkeypatch.setenv(
        "HEADRACE_KEY", f"-----BEGIN PRIVATE KEY-----\n{marks.new('variable')}\n-----END PRIVATE KEY-----\n"
    )
    marks.command("ack", "*", "--site", str(folder))
    monkeypatch.delenv("HEADRACE_KEY")
    (folder / "headrace.yaml").write_text(
        f"journal: {{key: {pem}}}\naccess: {{keys: {{scada: {pem}, alerts: {pem}}}}}\nscada: {{pki: {folder}/pki}}\n"
    )
    for words in (["doctor"], ["certs", "check"], ["certs", "list"]):
        marks.command(*words, str(folder))
    own = folder / "pki" / "own"
    for part, name in (("private", "server.pem"), ("certs", "server.der")):
        (own / part).mkdir(parents=True)
        (own / part / name).write_bytes(pem.read_bytes())
    for words in (["check"], ["rotate", "--for", "scada"], ["make", "--for", "scada"], ["list"]):
        marks.command("certs", words[0], str(folder), *words[1:])
        marks.command("certs", words[0], str(folder), *words[1:], "--json")


def test_settings(marks: Marks, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in (
        f"broker:\n  passwrd: {marks.new('unknown')}\n",
        f"broker:\n  partitions: {marks.new('type')}\n",
        f'broker: "{marks.new("quote")}\n',
        f"broker: [{marks.new('list')}\n",
        f"journal: {{key: [{marks.new('key-list')}]}}\n",
        f"access: {{keys: {{scada: {{a: {marks.new('nested')}}}}}}}\n",
        f"broker: *{marks.new('alias')}\n",
        f"broker: !{marks.new('tag')} x\n",
        f"{marks.new('bare')}\n",
    ):
        (folder / "headrace.yaml").write_text(text)
        for words in (
            ["check", str(folder)],
            ["doctor", str(folder)],
            ["alarms", str(folder)],
            ["subscriptions", "status", str(folder)],
        ):
            marks.command(*words)
            marks.command(*words, "--json")
        with pytest.raises(HeadraceError) as caught:
            run_role("worker", folder, "worker", [])
        marks.said += [str(caught.value), repr(caught.value)]
    monkeypatch.setenv("HEADRACE_BROKER__PARTITIONS", marks.new("variable"))
    marks.command("doctor", str(folder))
    monkeypatch.setenv("HEADRACE_BROKER__PASWORD", marks.new("unknown-variable"))
    marks.command("doctor", str(folder))


async def test_passwords_at_the_opcua_server(marks: Marks, tmp_path: Path, unused_tcp_port: int) -> None:
    site_folder(tmp_path / "site")
    marks.all["right"] = PASSWORD
    async with live(tmp_path / "site", unused_tcp_port) as made:
        with pytest.raises(ua.UaStatusCodeError):
            async with client(made.endpoint, "eva", marks.new("wrong-password")):
                pass
        async with client(made.endpoint, "eva"):
            pass
        marks.said.append(str(made.context.metrics))
    loaded = load_settings(None)
    marks.said.append(repr(loaded))
