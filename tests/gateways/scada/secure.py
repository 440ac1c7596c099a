"""Clients with certificates, and a raw one that speaks the protocol as badly as it is told to."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from asyncua import Client, ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.security_policies import SecurityPolicyAes256Sha256RsaPss, SecurityPolicyBasic256Sha256
from cryptography.x509.oid import ExtendedKeyUsageOID

POLICIES = {
    "Basic256Sha256": SecurityPolicyBasic256Sha256,
    "Aes256Sha256RsaPss": SecurityPolicyAes256Sha256RsaPss,
}


async def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """(certificate, key) of an application `urn:NAME`."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    key, made = folder / f"{name}.pem", folder / f"{name}.der"
    await setup_self_signed_certificate(
        key, made, f"urn:{name}", "localhost", [ExtendedKeyUsageOID.CLIENT_AUTH], {}
    )
    return made, key


def trust(pki: Path, made: Path) -> None:
    """As an admin does it."""
    shutil.copy(made, pki / "trusted" / "certs" / made.name)


async def secured(
    endpoint: str, own: tuple[Path, Path], server: Path, policy: str = "Basic256Sha256", name: str = ""
) -> Any:
    """A client, not yet connected, that signs and encrypts."""
    made = Client(endpoint, timeout=60)
    made.application_uri = f"urn:{own[0].stem}"
    await made.set_security(
        POLICIES[policy],
        own[0],
        own[1],
        server_certificate=server,
        mode=ua.MessageSecurityMode.SignAndEncrypt,
    )
    if name:
        made.set_user(name)
    return made


@asynccontextmanager
async def channel(client: Any) -> AsyncIterator[Any]:
    """A client's open secure channel, without a session."""
    await client.connect_socket()
    try:
        await client.send_hello()
        await client.open_secure_channel()
        yield client
    finally:
        client.disconnect_socket()
