"""How a client of a plant server is secured: nothing on loopback, or Basic256Sha256 with sign and encrypt.

- Security `None` is refused for a server on another machine: anybody between could command the plant.
- The gateway's own certificate is made on first use, in `<run_dir>/certificates`, and lasts a year.
- A server's certificate is trusted on first sight and kept; another is refused until a person removes it.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlparse

from asyncua.common.utils import ServiceError
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from asyncua.ua import MessageSecurityMode, StatusCodes
from cryptography.hazmat.primitives.serialization import Encoding

from gateways.certificates import Application, ensure, renew
from gateways.opcua.stack import Client
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.site.model import Source
from streams.loopback import is_loopback
from streams.output_file import write_beside

APPLICATION_URI = "urn:headrace:opcua-gateway"
FOLDER = "certificates"
"""In the folder of a machine's run; in it the certificates of servers, and the last of each that was refused."""
SERVERS, REJECTED = "servers", "rejected"
SECURITIES = ("None", "Basic256Sha256")


def check_security(source: Source) -> list[Finding]:
    """What is wrong with a source's endpoint and security, as findings."""
    where = f"source '{source.id}'"
    address = urlparse(source.endpoint)
    if address.scheme != "opc.tcp" or not address.hostname or not address.port:
        return [_finding(f"{where}: endpoint '{source.endpoint}'", "write opc.tcp://HOST:PORT/PATH")]
    if source.security not in SECURITIES:
        hint = nearest(source.security, SECURITIES) or f"one of {', '.join(SECURITIES)}"
        return [_finding(f"{where}: unknown security '{source.security}'", hint)]
    if source.security == "None" and not is_loopback(address.hostname):
        text = f"{where}: security None, but {address.hostname} is another machine"
        return [_finding(text, "set security: Basic256Sha256")]
    return []


def _finding(message: str, hint: str) -> Finding:
    return Finding("site", 0, 0, message, hint)


async def secure(client: Client, source: Source, run_dir: Path) -> None:
    """Prepare `client` (not yet connected) as the source's `security` says."""
    if source.security == "None":
        return
    folder = run_dir / FOLDER
    certificate, key = await own_certificate(client, folder)
    client.certificate_validator = _trust_on_first_use(folder, source.id)
    await client.set_security(
        SecurityPolicyBasic256Sha256, certificate, key, mode=MessageSecurityMode.SignAndEncrypt
    )


def _lock_file(folder: Path) -> TextIO:
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / "lock").open("w")


async def own_certificate(client: Client, folder: Path) -> tuple[Path, Path]:
    """(certificate, key) of this machine's client, made when they are not there or out of date.

    Locked: gateway and actuators start together and share them; two makers would mix one's key with the other's
    certificate.
    """
    client.application_uri = APPLICATION_URI
    application = own_application(folder)
    with _lock_file(folder) as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        await asyncio.to_thread(ensure, application, datetime.now(UTC))
    return application.certificate, application.key


def own_application(folder: Path) -> Application:
    """The client of this machine, as `gateways/certificates` has it."""
    certificate, key = folder / "opcua-gateway.der", folder / "opcua-gateway.key.pem"
    return Application(APPLICATION_URI, "client", certificate, key, (socket.gethostname(),))


def renew_own(application: Application, now: datetime, days: int) -> None:
    """A new key and certificate, which gateway and actuators show from their next connection on."""
    with _lock_file(application.key.parent) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        renew(application, now, days)


def _trust_on_first_use(folder: Path, source: str) -> Any:
    """A validator: the first certificate that the server shows is kept, every other one is refused.

    The last that was refused is kept as well, for a person to look at: `headrace certs trust` puts it in place.
    """
    kept, rejected = (folder / name / f"{source}.der" for name in (SERVERS, REJECTED))

    def check(shown: bytes) -> None:
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            # a part of it, where the disk is full, would refuse the server for ever
            write_beside(kept, shown, 0o644).replace(kept)
        elif kept.read_bytes() != shown:
            rejected.parent.mkdir(parents=True, exist_ok=True)
            rejected.write_bytes(shown)
            raise ServiceError(StatusCodes.BadCertificateUntrusted)

    async def validate(certificate: Any, _description: Any) -> None:
        check(certificate.public_bytes(Encoding.DER))

    return validate


def require_sound(findings: list[Finding]) -> None:
    """Raise ConfigurationError with all findings, if there are any."""
    if findings:
        raise ConfigurationError(findings)
