"""Certificates of OPC UA applications: the one place that makes, renews and judges them (OPC 10000-6, 6.2.2).

Rules: a private key is never readable by others, not even while it is written; key and certificate are put in place one
after the other, once both are on the disk, and what they replace stays beside them (`.old`). No clock is read here.
A certificate is somebody else's bytes: one that can't be read in all its parts is none, and its names are said in
letters that a terminal and a log take for text.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateways.printable import printable, shortened
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.output_file import write_beside

DAYS: Final = 365
KEY_BITS: Final = 2048
"""What Basic256Sha256 asks for at least, and what every client takes."""
OLD: Final = ".old"
SUBJECT_CHARACTERS_MAX: Final = 200
"""Of a certificate's subject, as it is said."""
_PARTS: Final = ("subject", "issuer", "extensions", "not_valid_before_utc", "not_valid_after_utc")
"""The library reads them when it is asked for them."""
_SKEW: Final = timedelta(hours=1)
"""A new certificate is valid so much earlier: the other side's clock may be behind."""
_OF_OTHERS: Final = 0o077
_USES: Final = {"client": ExtendedKeyUsageOID.CLIENT_AUTH, "server": ExtendedKeyUsageOID.SERVER_AUTH}


@dataclass(frozen=True, slots=True)
class Application:
    """Whose certificate it is. `uri`: what the certificate has to name; `hosts`: names or addresses of a server."""

    uri: str
    use: Literal["client", "server"]
    certificate: Path
    key: Path
    hosts: tuple[str, ...] = ()
    organisation: str = "Headrace"


def ensure(application: Application, now: datetime) -> bool:
    """Make what is missing, out of time or for another application; whether anything was made. The key stays.

    Raises ConfigurationError where the key can't be read.
    """
    if not application.key.exists():
        renew(application, now)
        return True
    key = read_key(application.key)
    application.key.chmod(0o600)
    found = _read(application.certificate)
    is_right = (
        found is not None
        and found.not_valid_before_utc <= now <= found.not_valid_after_utc
        and application.uri in uris_of(found)
        and (application.use == "client" or set(application.hosts) <= set(_hosts_of(found)))
        and found.public_key() == key.public_key()
    )
    if not is_right:
        certificate = _der(_made(application, key, now, DAYS))
        _put(application.certificate, write_beside(application.certificate, certificate, 0o644))
    return not is_right


def renew(application: Application, now: datetime, days: int = DAYS) -> None:
    """A new key and a certificate of it; what was there is kept as `.old`."""
    key = rsa.generate_private_key(65537, KEY_BITS)
    certificate = _made(application, key, now, days)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    application.key.parent.mkdir(parents=True, exist_ok=True)
    application.certificate.parent.mkdir(parents=True, exist_ok=True)
    new_key = write_beside(application.key, pem, 0o600)
    try:
        new_certificate = write_beside(application.certificate, _der(certificate), 0o644)
    except BaseException:
        new_key.unlink()
        raise
    _put(application.key, new_key)
    _put(application.certificate, new_certificate)


def _made(application: Application, key: rsa.RSAPrivateKey, now: datetime, days: int) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, application.uri.removeprefix("urn:")[:64]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, application.organisation),
        ]
    )
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=True, key_encipherment=True, data_encipherment=True,
        key_cert_sign=True, key_agreement=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    names = [x509.UniformResourceIdentifier(application.uri), *map(_host, application.hosts)]
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([_USES[application.use]]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
    )
    return builder.sign(key, SHA256())


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _put(file: Path, new: Path) -> None:
    """In place of what is there, which is kept."""
    if file.exists():
        file.replace(file.with_name(file.name + OLD))
    new.replace(file)


def read_key(file: Path) -> rsa.RSAPrivateKey:
    """Raises ConfigurationError, with nothing of what stands there."""
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        said = error.strerror if isinstance(error, OSError) else "no private key (PEM, no password)"
        raise ConfigurationError([Finding(str(file), 0, 0, f"can't be read: {said}")]) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigurationError([Finding(str(file), 0, 0, "no RSA key, which OPC UA needs")])
    return key


def read_certificate(file: Path) -> x509.Certificate:
    """DER or PEM. Raises ConfigurationError."""
    found = _read(file)
    if found is None:
        raise ConfigurationError([Finding(str(file), 0, 0, "no certificate (DER or PEM) can be read there")])
    return found


def _read(file: Path) -> x509.Certificate | None:
    try:
        raw = file.read_bytes()
    except OSError:
        return None
    return parsed(raw, is_text=raw.startswith(b"-----"))


def parsed(raw: bytes, is_text: bool = False) -> x509.Certificate | None:
    """DER, or PEM where `is_text`; None: it is no certificate, or one with a part that can't be read."""
    try:
        found = x509.load_pem_x509_certificate(raw) if is_text else x509.load_der_x509_certificate(raw)
        for part in _PARTS:
            getattr(found, part)
        found.public_key()
    except Exception:  # the library has a kind of its own for many of them
        return None
    return found


def subject_of(certificate: x509.Certificate) -> str:
    """Its subject for people: its letters are those of whoever made it."""
    return shortened(certificate.subject.rfc4514_string(), SUBJECT_CHARACTERS_MAX)


def certificates_in(folder: Path) -> Iterator[tuple[Path, x509.Certificate | None]]:
    """Each file of a folder; None: it is no certificate."""
    for file in sorted(folder.glob("*")) if folder.is_dir() else ():
        if file.is_file() and not file.name.startswith(".") and not file.name.endswith(OLD):
            yield file, _read(file)


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-256 of its DER, hex: as `headrace users` has it."""
    return hashlib.sha256(_der(certificate)).hexdigest()


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def uris_of(certificate: x509.Certificate) -> list[str]:
    """The applications that it is for."""
    names = _alternative_names(certificate)
    return [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)


def _hosts_of(certificate: x509.Certificate) -> list[str]:
    names = _alternative_names(certificate)
    if names is None:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def time_findings(file: Path, certificate: x509.Certificate, now: datetime, days: int) -> list[Finding]:
    """Whether it is out of its time, or will be within `days`."""
    end = certificate.not_valid_after_utc
    day = f"{end:%Y-%m-%d}"
    if now > end:
        return [Finding(str(file), 0, 0, f"expired on {day}", "renew it: headrace certs rotate")]
    if now < certificate.not_valid_before_utc:
        return [Finding(str(file), 0, 0, f"not valid before {certificate.not_valid_before_utc:%Y-%m-%d}")]
    if end - now <= timedelta(days=days):
        return [Finding(str(file), 0, 0, f"expires on {day}, in {(end - now).days} days", "renew it in time")]
    return []


def own_findings(application: Application, now: datetime, days: int) -> list[Finding]:
    """What is wrong with an application's own certificate and key, which are there."""
    findings: list[Finding] = []
    try:
        certificate = read_certificate(application.certificate)
        key = read_key(application.key)
    except ConfigurationError as error:
        return list(error.findings)
    findings += time_findings(application.certificate, certificate, now, days)
    if application.uri not in uris_of(certificate):
        said = printable(", ".join(uris_of(certificate)))
        text = f"is for {said or 'no application'}, not {application.uri}"
        findings.append(Finding(str(application.certificate), 0, 0, text))
    if certificate.public_key() != key.public_key():
        text = f"is not of the key {application.key}"
        findings.append(Finding(str(application.certificate), 0, 0, text))
    if key.key_size < KEY_BITS:
        findings.append(Finding(str(application.key), 0, 0, f"{key.key_size} bits, {KEY_BITS} at least"))
    if application.key.stat().st_mode & _OF_OTHERS:
        text = "others than its owner may read this private key"
        findings.append(Finding(str(application.key), 0, 0, text, f"chmod 600 {application.key}"))
    return findings


def plain(file: Path, certificate: x509.Certificate) -> dict[str, Any]:
    """For `--json`."""
    return {
        "file": str(file),
        "subject": subject_of(certificate),
        "uris": [printable(uri) for uri in uris_of(certificate)],
        "thumbprint": thumbprint(certificate),
        "valid_from": certificate.not_valid_before_utc.isoformat(),
        "valid_until": certificate.not_valid_after_utc.isoformat(),
    }


def one_of(found: Sequence[tuple[Path, x509.Certificate]], start: str) -> tuple[Path, x509.Certificate]:
    """The one whose thumbprint begins so. Raises ConfigurationError: none does, or several."""
    fits = [one for one in found if thumbprint(one[1]).startswith(start.lower())]
    if len({thumbprint(certificate) for _, certificate in fits}) != 1:
        text = (
            f"{'no' if not fits else 'more than one'} certificate has a thumbprint that begins with '{start}'"
        )
        raise ConfigurationError([Finding("THUMBPRINT", 0, 0, text, "headrace certs list shows them")])
    return fits[0]


def utc_now(clock_ns: int) -> datetime:
    """Ns since 1970 as a time."""
    return datetime.fromtimestamp(clock_ns / 1e9, UTC)
