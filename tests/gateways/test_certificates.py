"""Certificates of OPC UA: made right, renewed under a running role, trusted and judged."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client
from asyncua.common.utils import ServiceError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateways.certificates import (
    SUBJECT_CHARACTERS_MAX,
    Application,
    ensure,
    own_findings,
    read_certificate,
    read_key,
    renew,
    thumbprint,
)
from gateways.cli.main import run_app
from gateways.opcua import security
from gateways.opcua.security import own_application, own_certificate, renew_own
from gateways.scada.certificates import Pki
from rules.errors import ConfigurationError
from tests.rules.engine.plant import SITE

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def application(folder: Path, **changes: Any) -> Application:
    given = {
        "uri": "urn:headrace:scada:test",
        "use": "server",
        "hosts": ("plant.example", "10.0.0.7"),
    } | changes
    return Application(certificate=folder / "own.der", key=folder / "own.pem", **given)


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_certificate_says_what_the_standard_asks_for(tmp_path: Path) -> None:
    own = application(tmp_path)
    assert ensure(own, NOW)
    made = read_certificate(own.certificate)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:headrace:scada:test"]
    assert names.get_values_for_type(x509.DNSName) == ["plant.example"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["10.0.0.7"]
    usage = made.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.content_commitment
    assert usage.value.key_encipherment
    assert usage.value.data_encipherment
    assert not usage.value.crl_sign
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    extended = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert made.not_valid_before_utc < NOW < made.not_valid_after_utc == NOW + timedelta(days=365)
    made.verify_directly_issued_by(made)
    assert mode(own.key) == 0o600
    assert own_findings(own, NOW, 30) == []


def test_what_is_right_stays_and_what_is_not_is_made_anew_with_the_same_key(tmp_path: Path) -> None:
    own = application(tmp_path)
    ensure(own, NOW)
    first, key = own.certificate.read_bytes(), own.key.read_bytes()
    assert not ensure(own, NOW + timedelta(days=364))
    assert own.certificate.read_bytes() == first
    for other, at in (
        (own, NOW + timedelta(days=366)),
        (application(tmp_path, uri="urn:x"), NOW),
        (application(tmp_path, hosts=("else",)), NOW),
    ):
        assert ensure(other, at)
        assert own.key.read_bytes() == key
        assert own_findings(other, at, 30) == []


def test_a_renewed_one_has_a_new_key_and_the_old_ones_are_kept(tmp_path: Path) -> None:
    own = application(tmp_path)
    renew(own, NOW)
    first, key = own.certificate.read_bytes(), own.key.read_bytes()
    renew(own, NOW, days=10)
    assert own.key.read_bytes() != key
    assert (tmp_path / "own.der.old").read_bytes() == first
    assert (tmp_path / "own.pem.old").read_bytes() == key
    assert mode(tmp_path / "own.pem.old") == 0o600
    assert read_certificate(own.certificate).public_key() == read_key(own.key).public_key()
    assert [one.message for one in own_findings(own, NOW, 30)] == ["expires on 2026-06-11, in 10 days"]


def test_what_is_wrong_with_them_is_found(tmp_path: Path) -> None:
    own = application(tmp_path)
    renew(own, NOW)

    def found(at: datetime = NOW, of: Application = own) -> list[str]:
        return [one.message for one in own_findings(of, at, 30)]

    assert found(NOW + timedelta(days=400)) == ["expired on 2027-06-01"]
    assert found(NOW - timedelta(days=1)) == ["not valid before 2026-05-31"]
    assert "is for urn:headrace:scada:test, not urn:y" in found(of=application(tmp_path, uri="urn:y"))
    own.key.chmod(0o644)
    assert found() == ["others than its owner may read this private key"]
    own.key.chmod(0o600)
    other = application(tmp_path / "other")
    renew(other, NOW)
    own.key.write_bytes(other.key.read_bytes())
    assert found() == [f"is not of the key {own.key}"]
    own.key.write_text("nonsense")
    assert found() == ["can't be read: no private key (PEM, no password)"]
    with pytest.raises(ConfigurationError):
        ensure(own, NOW)


async def test_a_gateway_shows_a_renewed_one_from_its_next_connection_on(tmp_path: Path) -> None:
    client = Client("opc.tcp://127.0.0.1:4840")
    first, _ = await own_certificate(client, tmp_path)
    before = first.read_bytes()
    renew_own(own_application(tmp_path), datetime.now(UTC), 100)
    again, key = await own_certificate(client, tmp_path)
    assert again.read_bytes() != before
    assert read_certificate(again).public_key() == read_key(key).public_key()


async def test_a_server_shows_a_renewed_one_when_it_is_started_again(tmp_path: Path) -> None:
    pki = Pki(tmp_path, lambda: round(NOW.timestamp() * 1e9))
    await pki.prepare("urn:headrace:scada:test", "localhost")
    own = pki.application("urn:headrace:scada:test", "localhost")
    renew(own, NOW)
    renewed = pki.certificate.read_bytes()
    await pki.prepare("urn:headrace:scada:test", "localhost")
    assert pki.certificate.read_bytes() == renewed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "headrace.yaml").write_text(f"run_dir: {tmp_path / 'run'}\n")
    return tmp_path


def said(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    capfd.readouterr()
    code = run_app(["certs", *words, "--json"])
    return code, json.loads(capfd.readouterr().out)


def test_the_command_makes_rotates_and_checks(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    site = str(folder)
    assert said(capfd, "rotate", site, "--for", "scada")[0] == 2
    code, made = said(capfd, "make", site, "--for", "scada", "--days", "20", "--organisation", "Plant")
    assert (code, made["made"]) == (0, True)
    assert "O=Plant" in made["subject"]
    assert said(capfd, "make", site, "--for", "scada")[1]["made"] is False
    code, found = said(capfd, "check", site)
    assert code == 1
    assert "expires on" in found["findings"][0]["message"]
    assert said(capfd, "rotate", site, "--for", "scada")[1]["thumbprint"] != made["thumbprint"]
    assert said(capfd, "check", site) == (0, {"findings": []})


def test_root_writes_nothing_that_the_role_could_not_read(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, run = str(folder), folder / "run"
    made = {whose: said(capfd, "make", site, "--for", whose)[1] for whose in ("gateway", "scada")}
    other = os.getuid() or 10_001
    for path in (run, *run.rglob("*")):
        os.chown(path, other, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    for whose, own in made.items():
        trust = ["trust", site, "--file", own["file"], "--source", "plant"]
        for words in (["rotate", site], ["make", site], trust):
            assert run_app(["certs", *words, "--for", whose]) == 2
            assert "run it as that user: runuser -u " in capfd.readouterr().err
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before
    shutil.rmtree(run / "certificates")  # as before the first start of the role
    assert run_app(["certs", "make", site, "--for", "gateway"]) == 2
    assert not (run / "certificates").exists()


def full_after(files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk has room for so many more."""
    room = iter(range(files))

    def fsync(_: int) -> None:
        if next(room, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("whose", ["gateway", "scada"])
def test_on_a_full_disk_key_and_certificate_stay_as_they_were(
    whose: str, folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (str(folder), "--for", whose)
    full_after(0, monkeypatch)
    code, answer = said(capfd, "make", *words)
    assert (code, [one["message"] for one in answer["findings"]]) == (
        2,
        ["can't be written: No space left on device"],
    )
    assert "make room" in answer["findings"][0]["hint"]
    monkeypatch.undo()
    assert said(capfd, "make", *words)[0] == 0
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    full_after(1, monkeypatch)
    assert said(capfd, "rotate", *words)[0] == 2
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_a_server_s_certificate_that_had_no_room_is_kept_at_the_next_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = application(tmp_path)
    renew(own, NOW)
    shown = read_certificate(own.certificate)
    full_after(0, monkeypatch)
    with pytest.raises(OSError, match="No space left"):
        security._trust_on_first_use(tmp_path, "plant")(shown, None).send(None)
    monkeypatch.undo()
    with pytest.raises(StopIteration):
        security._trust_on_first_use(tmp_path, "plant")(shown, None).send(None)
    assert thumbprint(read_certificate(tmp_path / security.SERVERS / "plant.der")) == thumbprint(shown)


def test_who_was_rejected_is_trusted_and_distrusted(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    site, client = str(folder), application(folder / "client", use="client")
    renew(client, datetime.now(UTC))
    certificate = read_certificate(client.certificate)
    pki = Pki(folder / "run" / "scada-pki", lambda: round(datetime.now(UTC).timestamp() * 1e9))
    for one in (pki.trusted, pki.revoked, pki.rejected):
        one.mkdir(parents=True)
    der, mark = certificate.public_bytes(Encoding.DER), thumbprint(certificate)
    assert not pki.is_trusted(der)
    (listed,) = said(capfd, "list", site)[1]["certificates"]
    assert (listed["list"], listed["thumbprint"]) == ("rejected", mark)
    code, answer = said(capfd, "trust", site, "0000")
    assert (code, answer["error"].partition(":")[0]) == (2, "THUMBPRINT")
    assert said(capfd, "trust", site, mark[:10])[0] == 0
    assert pki.is_trusted(der)
    assert not list(pki.rejected.iterdir())
    assert said(capfd, "distrust", site, mark[:10])[0] == 0
    assert not pki.is_trusted(der)
    assert said(capfd, "trust", site, "--file", str(client.certificate))[0] == 0
    assert pki.is_trusted(der)


def test_what_others_have_made_is_listed_in_a_line_each(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A subject that clears the screen, one without end, and what is no certificate."""
    rejected = folder / "run" / "scada-pki" / "rejected"
    rejected.mkdir(parents=True)
    key, now = rsa.generate_private_key(65537, 2048), datetime.now(UTC)
    for file, common, unit in (("a", "x\n\x1b[2J", "y"), ("b", "long", "z" * 9000)):
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, common),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit, _validate=False),
            ]
        )
        uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:\x1b[2J")])
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=9))
            .add_extension(uri, critical=False)
            .sign(key, SHA256())
        )
        (rejected / f"{file}.der").write_bytes(made.public_bytes(Encoding.DER))
    (rejected / "c.der").write_bytes(b"\x30\x82nothing")
    assert run_app(["certs", "list", str(folder)]) == 0
    shown = capfd.readouterr().out
    assert shown.replace("\n", "").isprintable()
    assert len(shown.splitlines()) <= 3 + 2
    assert "c.der" in shown
    first, second, third = said(capfd, "list", str(folder))[1]["certificates"]
    assert first["subject"] == "OU=y,CN=x\\n\\x1b[2J"
    assert first["uris"] == ["urn:\\x1b[2J"]
    assert len(second["subject"]) == SUBJECT_CHARACTERS_MAX
    assert set(third) == {"for", "list", "file"}


def test_a_server_that_was_refused_takes_the_place_of_the_one_before(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = folder / "run" / security.FOLDER
    first, second = (application(folder / name) for name in ("first", "second"))
    shown = []
    for one in (first, second):
        renew(one, datetime.now(UTC))
        shown.append(read_certificate(one.certificate))
    kept = run / security.SERVERS / "plant.der"
    sees = security._trust_on_first_use(run, "plant")

    def refused(certificate: x509.Certificate) -> bool:
        try:
            sees(certificate, None).send(None)
        except StopIteration:
            return False
        except ServiceError:
            return True
        raise AssertionError

    assert not refused(shown[0])
    assert refused(shown[1])
    assert said(capfd, "trust", str(folder), thumbprint(shown[1]), "--for", "gateway")[0] == 0
    assert kept.read_bytes() == shown[1].public_bytes(Encoding.DER)
    assert refused(shown[0])
    code, answer = said(
        capfd, "trust", str(folder), "--for", "gateway", "--file", str(first.certificate), "--source", "plnt"
    )
    assert code == 2
    assert "did you mean 'plant'" in answer["error"]
