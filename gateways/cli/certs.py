"""`headrace certs`: certificates of the OPC UA gateway and of the SCADA server, and whom both trust.

Rules: nothing is made by looking; what a command changes takes effect as docs/security.md says, and the command
says it, too; of a private key nothing is ever printed.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateways.certificates import (
    Application,
    certificates_in,
    ensure,
    one_of,
    own_findings,
    plain,
    read_certificate,
    renew,
    subject_of,
    thumbprint,
    time_findings,
)
from gateways.cli.findings import print_findings
from gateways.cli.tables import print_table
from gateways.opcua.security import FOLDER, REJECTED, SERVERS, own_application, renew_own
from gateways.scada.certificates import Pki, host_named, server_uri
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.site.model import Site
from streams.output_file import write_beside
from streams.run_folder import working_in
from streams.settings import load_settings
from streams.site_folder import load_site

_EFFECT = {
    "gateway": "gateway and actuators show it from their next connection on; put it into the trust lists of the "
    "servers first",
    "scada": "the role scada shows it when it is started again; put it into the trust lists of the clients first",
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the certificates of one of the two lie."""

    application: Application
    trusted: Path
    rejected: Path
    is_needed: bool
    run_dir: Path


@contextmanager
def _writing_in(place: _Place) -> Iterator[None]:
    """ConfigurationError where the disk refuses, or where root would leave files that the role can't read."""
    key = place.application.key
    owner = next((one.stat().st_uid for one in (key, key.parent, place.run_dir) if one.exists()), 0)
    if os.geteuid() == 0 and owner != 0:
        text = f"belongs to {_name_of(owner)}, who could not read what root writes here"
        hint = f"run it as that user: runuser -u {_name_of(owner)} -- headrace certs …"
        raise ConfigurationError([Finding(str(key.parent), 0, 0, text, hint)])
    with working_in(place.run_dir):
        yield


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # a container's, of which this machine has no entry
        return f"#{user}"


def _places(site_dir: Path) -> tuple[Site, dict[str, _Place]]:
    site, settings = load_site(site_dir), load_settings(site_dir / "headrace.yaml")
    folder = settings.run_dir / FOLDER
    pki = Pki(settings.scada.pki or settings.run_dir / "scada-pki", lambda: 0)
    uses = any(source.security not in ("", "None") for source in site.sources.values())
    server = pki.application(server_uri(site.name), host_named(settings.scada.endpoint))
    return site, {
        "gateway": _Place(
            own_application(folder), folder / SERVERS, folder / REJECTED, uses, settings.run_dir
        ),
        "scada": _Place(server, pki.trusted, pki.rejected, False, settings.run_dir),
    }


def make(site_dir: Path, whose: str, days: int, organisation: str, as_json: bool) -> int:
    """0, whether it was made or there already."""
    place = _places(site_dir)[1][whose]
    application = replace(place.application, organisation=organisation)
    is_new = not application.key.exists()
    with _writing_in(place):
        if is_new:
            _renew(whose, application, days)
        else:
            is_new = ensure(application, datetime.now(UTC))
    return _say_own(application, is_new, "" if is_new else "is there already", as_json)


def rotate(site_dir: Path, whose: str, days: int, organisation: str, as_json: bool) -> int:
    """ConfigurationError: there is none to renew."""
    place = _places(site_dir)[1][whose]
    application = replace(place.application, organisation=organisation)
    if not application.key.exists():
        hint = f"headrace certs make {site_dir} --for {whose}"
        raise ConfigurationError([Finding(str(application.key), 0, 0, "there is no key to renew", hint)])
    with _writing_in(place):
        _renew(whose, application, days)
    return _say_own(application, True, _EFFECT[whose], as_json)


def _renew(whose: str, application: Application, days: int) -> None:
    now = datetime.now(UTC)
    if whose == "gateway":
        renew_own(application, now, days)
    else:
        renew(application, now, days)
        application.key.parent.chmod(0o700)


def _say_own(application: Application, is_new: bool, words: str, as_json: bool) -> int:
    said = plain(application.certificate, read_certificate(application.certificate))
    if as_json:
        _print_json({**said, "key": str(application.key), "made": is_new})
    else:
        print(f"{said['file']}: {said['uris'][0]}, valid until {said['valid_until'][:10]}")
        print(f"thumbprint (SHA-256): {said['thumbprint']}")
    if words:
        print(words, file=sys.stderr)
    return 0


def _rows(places: dict[str, _Place]) -> list[dict[str, Any]]:
    rows = []
    for whose, place in places.items():
        own = place.application.certificate
        found: list[tuple[str, Path, x509.Certificate | None]] = []
        if own.exists():
            found.append(("own", own, read_certificate(own)))
        for kind, folder in (("trusted", place.trusted), ("rejected", place.rejected)):
            found += [(kind, file, one) for file, one in certificates_in(folder)]
        for kind, file, certificate in found:
            said = {"file": str(file)} if certificate is None else plain(file, certificate)
            rows.append({"for": whose, "list": kind, **said})
    return rows


def list_certificates(site_dir: Path, as_json: bool) -> int:
    """All there are."""
    rows = _rows(_places(site_dir)[1])
    if as_json:
        _print_json({"certificates": rows})
        return 0
    print_table(
        ["for", "list", "thumbprint", "subject", "valid until"],
        [
            [one["for"], one["list"], one.get("thumbprint", "no certificate")[:16],
             one.get("subject", Path(one["file"]).name), one.get("valid_until", "")[:10]]
            for one in rows
        ],
    )  # fmt: skip
    return 0


def trust(site_dir: Path, whose: str, start: str, file: Path | None, source: str, as_json: bool) -> int:
    """Among the trusted ones. A server's takes the place of that of its source."""
    site, places = _places(site_dir)
    place = places[whose]
    if bool(start) == (file is not None):
        text = "name a rejected certificate by its thumbprint, or a file with --file"
        raise ConfigurationError([Finding("call", 0, 0, text)])
    if file is not None:
        certificate = read_certificate(file)
        name = _source_named(site, source) if whose == "gateway" else thumbprint(certificate)[:32]
    else:
        found, certificate = one_of(_readable(place.rejected), start)
        name = found.stem
    with _writing_in(place):
        kept = _keep(certificate, place.trusted, name)
        if file is None:
            found.unlink()
    return _say("trusted", kept, certificate, as_json)


def distrust(site_dir: Path, whose: str, start: str, as_json: bool) -> int:
    """Among the rejected ones; a channel that is open stays open until it ends."""
    place = _places(site_dir)[1][whose]
    found, certificate = one_of(_readable(place.trusted), start)
    name = found.stem if whose == "gateway" else thumbprint(certificate)[:32]
    with _writing_in(place):
        kept = _keep(certificate, place.rejected, name)
        found.unlink()
    if whose == "gateway":
        text = (
            "the next certificate that this server shows is trusted, unless one is put there (trust --file)"
        )
        print(text, file=sys.stderr)
    return _say("rejected", kept, certificate, as_json)


def _keep(certificate: x509.Certificate, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.der"
    return write_beside(file, certificate.public_bytes(Encoding.DER), 0o644).replace(file)


def _readable(folder: Path) -> list[tuple[Path, x509.Certificate]]:
    return [(file, one) for file, one in certificates_in(folder) if one is not None]


def _source_named(site: Site, name: str) -> str:
    if name not in site.sources:
        raise ConfigurationError(
            [Finding("--source", 0, 0, f"the site has no source '{name}'", nearest(name, site.sources))]
        )
    return name


def check(site_dir: Path, days: int, as_json: bool) -> int:
    """1 with a finding."""
    now, findings = datetime.now(UTC), list[Finding]()
    for whose, place in _places(site_dir)[1].items():
        own = place.application
        if own.certificate.exists() or own.key.exists():
            findings += own_findings(own, now, days)
        elif place.is_needed:
            hint = f"headrace certs make {site_dir} --for {whose}"
            findings.append(Finding(str(own.certificate), 0, 0, "there is none, and the site needs it", hint))
        for file, certificate in certificates_in(place.trusted):
            if certificate is None:
                findings.append(Finding(str(file), 0, 0, "is no certificate, and trusts nobody"))
            else:
                findings += time_findings(file, certificate, now, days)
    if as_json:
        _print_json(
            {"findings": [{"file": one.file, "message": one.message, "hint": one.hint} for one in findings]}
        )
    else:
        print_findings(findings, sys.stdout)
    if not findings:
        print("all certificates are in order", file=sys.stderr)
    return 1 if findings else 0


def _say(what: str, file: Path, certificate: x509.Certificate, as_json: bool) -> int:
    if as_json:
        _print_json({"list": what, **plain(file, certificate)})
    else:
        print(f"{what}: {subject_of(certificate)} ({file})")
    return 0


def _print_json(body: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(body) + b"\n")
    sys.stdout.buffer.flush()
