"""What every client of the broker is given so that it may connect: the only place that builds it.

aiokafka's clients take `client_options` as it is, Faust takes it as its own credentials (`faust_app`). Nothing here is
logged; what an error says names settings and files, never what they hold.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any, Final

from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.settings import BrokerSettings

NOT_ALLOWED: Final = (
    TopicAuthorizationFailedError,
    GroupAuthorizationFailedError,
    ClusterAuthorizationFailedError,
)
_REFUSED: Final = (SaslAuthenticationFailed, AuthenticationFailedError)
_OTHER_MECHANISM: Final = (UnsupportedSaslMechanismError, IllegalSaslStateError)


def client_options(broker: BrokerSettings) -> dict[str, Any]:
    """Address, TLS and SASL, as keyword arguments of aiokafka. ConfigurationError: a file can't be used."""
    options: dict[str, Any] = {
        "bootstrap_servers": broker.bootstrap,
        "security_protocol": broker.security_protocol,
    }
    if broker.is_encrypted:
        options["ssl_context"] = _tls(broker)
    if broker.has_login:
        options["sasl_mechanism"] = broker.sasl_mechanism
        if broker.sasl_mechanism == "OAUTHBEARER":
            assert broker.token_file is not None  # the settings have seen to it
            options["sasl_oauth_token_provider"] = _TokenFile(broker.token_file)
        else:
            options["sasl_plain_username"] = broker.username
            options["sasl_plain_password"] = _password(broker)
    return options


async def why_refused(options: dict[str, Any], patience_s: float) -> str:
    """Why no broker lets a client with these options in, as words; "" where none is there at all.

    aiokafka logs the reason and raises that it could not connect: so a connection is tried here.
    """
    given = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    why = ""
    for address in str(options["bootstrap_servers"]).split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            async with asyncio.timeout(patience_s):
                connection = await create_conn(host.strip("[]"), int(port), **given)
        except (KafkaError, OSError, ValueError) as error:
            why = why or _words(error)
        else:
            connection.close()
            return ""
    return why


def what_is_not_allowed(error: BaseException) -> str:
    """What a client without the right to it had asked for."""
    if isinstance(error, ClusterAuthorizationFailedError):
        return "to do that in the cluster, or to write to any topic"
    kind = "group" if isinstance(error, GroupAuthorizationFailedError) else "topic"
    return f"to use {kind} {' '.join(str(part) for part in error.args)}".rstrip()


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message} (broker.ca_file)"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it: {error.reason} (broker.security_protocol, broker.certificate_file)"
    if isinstance(error, _OTHER_MECHANISM):
        return "it does not take this SASL mechanism (broker.sasl_mechanism)"
    if isinstance(error, _REFUSED):
        return "it refuses this user or secret (broker.username, broker.password_file, broker.token_file)"
    # reset: what does not speak TLS takes the start of it for a message that is far too long
    if isinstance(error, KafkaConnectionError | ConnectionResetError):
        return (
            "it ends the connection: does it speak another broker.security_protocol, or want a certificate?"
        )
    if isinstance(error, ValueError):
        return "its answer to SCRAM is wrong: it does not know this user's password"
    return str(error) if isinstance(error, _NoTokenError) else ""


def _tls(broker: BrokerSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("ca_file", broker.ca_file, error) from None
    if broker.certificate_file is not None:
        try:
            # the function answers for a key that is encrypted: it would ask at the terminal
            context.load_cert_chain(broker.certificate_file, broker.key_file, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            name = "certificate_file" if broker.key_file is None else "certificate_file and key_file"
            raise _unusable(name, broker.certificate_file, error) from None
    return context


def _password(broker: BrokerSettings) -> str:
    if broker.password_file is None:
        assert broker.password is not None  # the settings have seen to it
        return broker.password.get_secret_value()
    return _secret("password_file", broker.password_file)


def _secret(setting: str, file: Path) -> str:
    try:
        text = file.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(setting, file, error) from None
    if not text:
        raise ConfigurationError([Finding(str(file), 0, 0, f"broker.{setting}: the file is empty")])
    return text


def _unusable(setting: str, file: Path | None, error: Exception) -> ConfigurationError:
    why = getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
    return ConfigurationError([Finding(str(file), 0, 0, f"broker.{setting} can't be used: {why}")])


class _NoTokenError(OSError):
    """The file of the token can't be used; an OSError, as aiokafka takes those for a connection that failed."""


class _TokenFile(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka ships no types that mypy can follow
    """A token that somebody else renews in a file: a sidecar, or Kubernetes."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def token(self) -> str:
        """As the file has it now."""
        try:
            return _secret("token_file", self._file)
        except ConfigurationError as error:
            raise _NoTokenError(str(error)) from None
