"""A certificate for the server programs of this folder, which are scripts and find it beside them."""

from asyncua.crypto.cert_gen import setup_self_signed_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID


async def load_certificate(server, folder, uri):
    """Make one for the application `uri` in `folder`, and give it to the server."""
    await server.set_application_uri(uri)
    key, certificate = folder / "server.pem", folder / "server.der"
    await setup_self_signed_certificate(
        key, certificate, uri, "localhost", [ExtendedKeyUsageOID.SERVER_AUTH], {}
    )
    await server.load_certificate(str(certificate))
    await server.load_private_key(str(key))
