"""What a client is given to connect, out of the settings; secrets are in nothing that could be shown."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from rules.errors import ConfigurationError, UnreachableError
from streams.bus.kafka import KafkaBus
from streams.bus.kafka_security import client_options
from streams.settings import BrokerSettings, load_settings
from tests.support.kafka.certificates import Authority

SECRET = "correct-horse-battery"
LOGIN: dict[str, Any] = {"security_protocol": "SASL_PLAINTEXT", "username": "headrace-worker"}


def broker(**given: Any) -> BrokerSettings:
    return load_settings(broker=given).broker


def test_without_security_there_is_an_address_only() -> None:
    assert client_options(broker(bootstrap="b:1")) == {
        "bootstrap_servers": "b:1",
        "security_protocol": "PLAINTEXT",
    }


def test_a_password_comes_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    wanted = {"sasl_plain_username": "headrace-worker", "sasl_plain_password": SECRET}
    assert client_options(broker(**LOGIN, password_file=file)).items() >= wanted.items()
    monkeypatch.setenv("HEADRACE_BROKER__PASSWORD", SECRET)
    assert client_options(broker(**LOGIN)).items() >= wanted.items()


async def test_a_token_is_read_at_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "token"
    options = client_options(
        broker(security_protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER", token_file=file)
    )
    for text in ("one", "two"):
        file.write_text(text)
        assert await options["sasl_oauth_token_provider"].token() == text
    file.unlink()
    with pytest.raises(OSError, match=r"broker\.token_file can't be used: No such file"):
        await options["sasl_oauth_token_provider"].token()


def test_tls_trusts_the_given_authority_alone_and_shows_its_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    client = authority.certificate("headrace-worker")
    options = client_options(broker(security_protocol="SSL", ca_file=authority.file, certificate_file=client))
    context = options["ssl_context"]
    assert [dict(part[0] for part in one["subject"]) for one in context.get_ca_certs()] == [
        {"commonName": "authority"}
    ]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"security_protocol": "SSL", "ca_file": "{tmp}/none"}, "broker.ca_file can't be used: No such file"),
        ({"security_protocol": "SSL", "ca_file": "{tmp}/text"}, "broker.ca_file can't be used"),
        (
            {"security_protocol": "SSL", "certificate_file": "{tmp}/text"},
            "broker.certificate_file can't be used",
        ),
        ({**LOGIN, "password_file": "{tmp}/none"}, "broker.password_file can't be used: No such file"),
        ({**LOGIN, "password_file": "{tmp}/empty"}, "broker.password_file: the file is empty"),
    ],
)
def test_a_file_that_can_t_be_used_is_named_and_not_quoted(
    tmp_path: Path, given: dict[str, str], words: str
) -> None:
    (tmp_path / "text").write_text(SECRET)
    (tmp_path / "empty").write_text("\n")
    filled = {name: value.format(tmp=tmp_path) for name, value in given.items()}
    with pytest.raises(ConfigurationError, match=words) as caught:
        client_options(broker(**filled))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({**LOGIN}, "SCRAM-SHA-512 needs username, and either password_file or password"),
        ({**LOGIN, "username": "", "password": SECRET}, "needs username"),
        ({**LOGIN, "password": SECRET, "password_file": "x"}, "either password_file or password"),
        ({**LOGIN, "sasl_mechanism": "OAUTHBEARER", "password": SECRET}, "OAUTHBEARER needs token_file"),
        ({**LOGIN, "sasl_mechanism": SECRET}, "Input should be 'SCRAM-SHA-256'"),
        ({"key_file": "x"}, "key_file needs certificate_file"),
        ({"ca_file": "none"}, "are of TLS, and security_protocol is PLAINTEXT"),
        (
            {**LOGIN, "password": SECRET, "ca_file": "none"},
            "are of TLS, and security_protocol is SASL_PLAINTEXT",
        ),
    ],
)
def test_half_a_login_is_an_error_without_the_secret(given: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        broker(**given)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_broker_without_tls_is_named_where_tls_is_wanted(waits: bool) -> None:
    """Kafka ends the connection; the embedded broker waits for the rest of what it takes for a message."""

    async def hears(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1 if waits else 1)
        writer.transport.abort()

    server = await asyncio.start_server(hears, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    bus = KafkaBus(broker(bootstrap=address, security_protocol="SSL", request_timeout_s=0.5))
    with pytest.raises(UnreachableError, match=r"broker\.security_protocol"):
        await bus.cluster_id()
    await bus.close()
    server.close()


def test_a_password_in_the_site_s_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "headrace.yaml"
    file.write_text(f"broker: {{security_protocol: SASL_SSL, username: me, password: {SECRET}}}\n")
    with pytest.raises(ConfigurationError, match=r"a password does not belong into this file") as caught:
        load_settings(file)
    assert SECRET not in str(caught.value)


def test_settings_show_no_secret() -> None:
    settings = load_settings(broker={**LOGIN, "password": SECRET})
    shown = (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json())
    assert not [text for text in shown if SECRET in text]
