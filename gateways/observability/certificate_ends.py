"""When the certificates of a role end, for its status: what is over is otherwise first heard of by a failed connection.

Rules: files alone are read; what is no certificate says nothing here (`headrace certs check` does). Of several, the
first that ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography import x509

from gateways.certificates import certificates_in, parsed
from streams.role import RoleContext


def certificate_ends(context: RoleContext) -> dict[str, float]:
    """Seconds since 1970, by whose it is: `own` and `trusted` of OPC UA, `broker` and `broker_authority` of Kafka."""
    broker = context.settings.broker
    found = {"broker": _in_file(broker.certificate_file), "broker_authority": _in_file(broker.ca_file)}
    if (places := _opcua_places(context)) is not None:
        own, trusted = places
        found["own"] = _in_file(own)
        found["trusted"] = (one for _, one in certificates_in(trusted) if one is not None)
    ends = {of: [one.not_valid_after_utc.timestamp() for one in some] for of, some in found.items()}
    return {of: min(some) for of, some in ends.items() if some}


def _opcua_places(context: RoleContext) -> tuple[Path, Path] | None:
    """Its own certificate and the folder of those that it trusts; None for a role that has none."""
    settings = context.settings
    if context.kind == "scada":
        from gateways.scada.certificates import Pki  # asyncua is loaded where it is used anyhow

        pki = Pki(settings.scada.pki or settings.run_dir / "scada-pki", context.clock)
        return pki.certificate, pki.trusted
    secured = any(source.security not in ("", "None") for source in context.site.sources.values())
    if context.kind in ("opcua", "actuators") and secured:
        from gateways.opcua.security import FOLDER, SERVERS, own_application

        folder = settings.run_dir / FOLDER
        return own_application(folder).certificate, folder / SERVERS
    return None


def _in_file(file: Path | None) -> Iterable[x509.Certificate]:
    try:
        raw = b"" if file is None else file.read_bytes()
    except OSError:
        return []
    if not raw.startswith(b"0"):  # PEM: text may stand before and between
        return list(_in_text(raw))
    found = parsed(raw)
    return [] if found is None else [found]


def _in_text(raw: bytes) -> Iterator[x509.Certificate]:
    end = b"-----END CERTIFICATE-----"
    for part in raw.split(end)[:-1]:
        begin = part.find(b"-----BEGIN CERTIFICATE-----")
        found = parsed(part[begin:] + end, is_text=True) if begin >= 0 else None
        if found is not None:
            yield found
