"""Which certificates are trusted: lists, authorities, what they took back, time and keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from gateways.scada.certificates import REJECTED_MAX, Pki, application_uris, first_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(3)]


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    made = Pki(tmp_path, lambda: round(NOW.timestamp() * 1e9))
    for folder in (made.trusted, made.revoked, made.rejected):
        folder.mkdir(parents=True)
    return made


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    subject: str,
    key: Any = KEYS[0],
    issuer: tuple[str, Any] | None = None,
    authority: bool = False,
    days: tuple[int, int] = (-10, 10),
    number: int = 0,
) -> x509.Certificate:
    by, signs = issuer or (subject, key)
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"), not authority
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(by))
        .public_key(key.public_key())
        .serial_number(number or x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                **usage, key_agreement=False, key_cert_sign=True, crl_sign=authority, encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:{subject}")]), critical=False
        )
        .sign(signs, SHA256())
    )  # fmt: skip


def der(made: x509.Certificate) -> bytes:
    return made.public_bytes(Encoding.DER)


def test_what_lies_among_the_trusted_is_trusted_in_either_form(pki: Pki) -> None:
    one, other, third = (certificate(text) for text in ("one", "other", "third"))
    (pki.trusted / "one.der").write_bytes(der(one))
    (pki.trusted / "other.pem").write_bytes(other.public_bytes(Encoding.PEM))
    (pki.trusted / "note.txt").write_text("no certificate")
    (pki.trusted / "not-yet").mkdir()
    assert pki.is_trusted(der(one))
    assert pki.is_trusted(der(other))
    assert not pki.is_trusted(der(third))
    assert pki.is_trusted(der(one) + der(third)), "with others behind it, as clients of authorities send them"
    assert not pki.is_trusted(der(third) + der(one))


def test_the_same_name_and_key_is_not_the_same_certificate(pki: Pki) -> None:
    (pki.trusted / "one.der").write_bytes(der(certificate("one")))
    assert not pki.is_trusted(der(certificate("one")))


@pytest.mark.parametrize("days", [(-10, -1), (1, 10)])
def test_out_of_its_time(pki: Pki, days: tuple[int, int]) -> None:
    made = certificate("one", days=days)
    (pki.trusted / "one.der").write_bytes(der(made))
    assert not pki.is_trusted(der(made))


def test_weak_and_other_keys(pki: Pki) -> None:
    for key in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256R1())):
        made = certificate("one", key)
        (pki.trusted / "one.der").write_bytes(der(made))
        assert not pki.is_trusted(der(made))


def test_what_a_trusted_authority_has_signed_and_not_taken_back(pki: Pki) -> None:
    authority = certificate("authority", authority=True)
    (pki.trusted / "authority.der").write_bytes(der(authority))
    signed = certificate("one", KEYS[1], ("authority", KEYS[0]), number=7)
    forged = certificate("two", KEYS[1], ("authority", KEYS[2]))
    assert pki.is_trusted(der(signed))
    assert not pki.is_trusted(der(forged))
    listed = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name("authority"))
        .last_update(NOW)
        .next_update(NOW + timedelta(days=1))
        .add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(7).revocation_date(NOW).build()
        )
        .sign(KEYS[0], SHA256())
    )
    (pki.revoked / "authority.crl").write_bytes(listed.public_bytes(Encoding.DER))
    assert not pki.is_trusted(der(signed))
    assert pki.is_trusted(der(certificate("three", KEYS[1], ("authority", KEYS[0]), number=8)))
    (pki.revoked / "later").mkdir()
    assert not pki.is_trusted(der(certificate("three", KEYS[1], ("authority", KEYS[0]), number=8)))
    (pki.revoked / "later").rmdir()
    (pki.revoked / "broken.crl").write_text("nothing")
    assert not pki.is_trusted(der(certificate("three", KEYS[1], ("authority", KEYS[0]), number=8)))


def test_a_trusted_client_is_no_authority(pki: Pki) -> None:
    """Self-signed certificates of applications may sign others by their own word: only an authority's count."""
    (pki.trusted / "hmi.der").write_bytes(der(certificate("hmi")))
    assert not pki.is_trusted(der(certificate("thief", KEYS[1], ("hmi", KEYS[0]))))


def test_what_is_rejected_is_kept_but_not_without_end(pki: Pki) -> None:
    for number in range(REJECTED_MAX + 5):
        assert not pki.is_trusted(der(certificate("one", number=number + 1)))
        assert not pki.is_trusted(b"\x30\x82\xff\xffnothing")
    assert len(list(pki.rejected.iterdir())) == REJECTED_MAX


def doubled() -> bytes:
    """A certificate that says one extension twice: the library reads it when somebody asks for extensions."""
    oids = ("1.2.3.4.5.6", "1.2.3.4.5.7")
    made = (
        x509.CertificateBuilder()
        .subject_name(name("twice"))
        .issuer_name(name("twice"))
        .public_key(KEYS[0].public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=9))
    )
    for oid in oids:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\x05\x00")
        made = made.add_extension(extension, critical=False)
    return der(made.sign(KEYS[0], SHA256())).replace(b"\x2a\x03\x04\x05\x07", b"\x2a\x03\x04\x05\x06")


def test_what_can_not_be_read_in_all_its_parts_is_no_certificate(pki: Pki) -> None:
    good = certificate("good")
    (pki.trusted / "a.der").write_bytes(doubled())
    (pki.trusted / "b.der").write_bytes(der(good))
    assert not pki.is_trusted(doubled())
    assert not list(pki.rejected.iterdir())
    assert application_uris(doubled()) == []
    assert pki.is_trusted(der(good))
    assert not pki.is_trusted(good.public_bytes(Encoding.PEM)), "a channel shows DER"


def test_a_client_nobody_trusts_writes_no_lines_of_its_own_into_the_log(
    pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    assert not pki.is_trusted(der(certificate("x\n2026-06-01 scada INFO all is well\x1b[2J")))
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.isprintable()
    assert "CN=x\\n2026-06-01 scada INFO all is well\\x1b[2J;" in said


def test_the_first_of_a_chain_and_its_application() -> None:
    one, other = der(certificate("one")), der(certificate("other"))
    assert first_of(one + other) == one
    assert first_of(one) == one
    assert first_of(b"") == b""
    assert application_uris(one + other) == ["urn:one"]
    assert application_uris(b"nothing") == []
