"""Certificates of applications: the server's own, and those of clients that are trusted.

    pki/own/private/server.pem    the server's key, made on first start, as is its certificate
    pki/own/certs/server.der
    pki/trusted/certs             clients, or authorities that have signed them
    pki/trusted/crl               what those authorities have taken back
    pki/rejected                  clients that nobody trusts yet: who moves a file to trusted/certs lets it in

Rules: nothing is trusted on first sight. A certificate is trusted when it lies among the trusted ones, or an authority
that does has signed it and has not taken it back; it is not, out of its time or with an RSA key below 2048 bits. The
folders are read anew at each channel: what an admin moves takes effect at once, but for channels that are open.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from gateways.certificates import Application, ensure, parsed, subject_of, uris_of, utc_now
from streams.loopback import is_loopback

REJECTED_MAX: Final = 100
KEY_BITS_MIN: Final = 2048

log = logging.getLogger("headrace.scada")


def server_uri(site_name: str) -> str:
    """The application URI of a site's server."""
    return f"urn:headrace:scada:{site_name}"


def host_named(endpoint: str) -> str:
    """The host that the server's certificate names: the endpoint's on loopback, else this machine's name."""
    host = urlsplit(endpoint).hostname or ""
    return host if is_loopback(host) else socket.gethostname()


class Pki:
    """The folders below `root`. `clock`: ns since 1970."""

    def __init__(self, root: Path, clock: Callable[[], int]) -> None:
        self.root, self._clock = root, clock
        self.certificate = root / "own" / "certs" / "server.der"
        self.key = root / "own" / "private" / "server.pem"
        self.trusted = root / "trusted" / "certs"
        self.revoked = root / "trusted" / "crl"
        self.rejected = root / "rejected"

    async def prepare(self, application_uri: str, host: str) -> None:
        """Make what is not there: folders, the server's key and certificate."""
        for folder in (self.certificate.parent, self.key.parent, self.trusted, self.revoked, self.rejected):
            folder.mkdir(parents=True, exist_ok=True)
        self.key.parent.chmod(0o700)
        application = self.application(application_uri, host)
        await asyncio.to_thread(ensure, application, utc_now(self._clock()))

    def application(self, uri: str, host: str) -> Application:
        """The server's own, as `gateways/certificates` has it."""
        return Application(uri, "server", self.certificate, self.key, (host,))

    def is_trusted(self, shown: bytes) -> bool:
        """Whether a client's certificate (DER, a chain behind it perhaps) is; one that is not is kept as rejected."""
        certificate = parsed(first_of(shown))
        if certificate is None or not self._is_sound(certificate):
            return False
        if any(self._trusts(one, certificate) for one in _certificates(self.trusted)):
            return True
        self._reject(certificate)
        return False

    def _is_sound(self, certificate: x509.Certificate) -> bool:
        now = utc_now(self._clock())
        key = certificate.public_key()
        is_in_time = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
        return is_in_time and isinstance(key, RSAPublicKey) and key.key_size >= KEY_BITS_MIN

    def _trusts(self, one: x509.Certificate, certificate: x509.Certificate) -> bool:
        """Whether a trusted certificate is this one, or its authority's."""
        if one == certificate:
            return True
        if not _is_authority(one) or not self._is_sound(one) or one.subject != certificate.issuer:
            return False
        try:
            certificate.verify_directly_issued_by(one)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return not self._is_revoked(certificate, one)

    def _is_revoked(self, certificate: x509.Certificate, authority: x509.Certificate) -> bool:
        for file in sorted(self.revoked.iterdir()):
            try:
                raw = file.read_bytes()
                is_text = raw.startswith(b"-----")
                revoked = x509.load_pem_x509_crl(raw) if is_text else x509.load_der_x509_crl(raw)
            except (ValueError, OSError):
                log.error("%s is no list of revoked certificates: its authority's clients are refused", file)
                return True
            if revoked.issuer == authority.subject and revoked.get_revoked_certificate_by_serial_number(
                certificate.serial_number
            ):
                return True
        return False

    def _reject(self, certificate: x509.Certificate) -> None:
        """Keep it for the admin; the oldest go, so that nobody fills the disk."""
        raw = certificate.public_bytes(Encoding.DER)
        file = self.rejected / f"{hashlib.sha256(raw).hexdigest()[:32]}.der"
        if not file.exists():
            log.warning("a client that nobody trusts: %s; to let it in, move %s to %s",
                        subject_of(certificate), file, self.trusted)  # fmt: skip
        file.write_bytes(raw)
        kept = sorted(self.rejected.glob("*.der"), key=lambda one: one.stat().st_mtime_ns)
        for old in kept[:-REJECTED_MAX]:
            old.unlink(missing_ok=True)


def first_of(chain: bytes) -> bytes:
    """The first certificate (DER) of a chain, whose length is in its head (X.690, 8.1.3)."""
    if len(chain) < 4 or chain[0] != 0x30 or chain[1] != 0x82:
        return chain
    return chain[: 4 + int.from_bytes(chain[2:4], "big")]


def application_uris(shown: bytes) -> list[str]:
    """The URIs of the application that a certificate is for."""
    certificate = parsed(first_of(shown))
    return [] if certificate is None else uris_of(certificate)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage: Any = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return bool(constraints.ca and usage.key_cert_sign and usage.crl_sign)


def _certificates(folder: Path) -> Iterator[x509.Certificate]:
    for file in sorted(folder.iterdir()):
        try:
            raw = file.read_bytes()
        except OSError:
            raw = b""
        found = parsed(raw, is_text=raw.startswith(b"-----"))
        if found is None:
            log.error("%s is no certificate", file)
        else:
            yield found
