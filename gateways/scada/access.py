"""Who a session is: its user, proved by a password or a certificate, or nobody.

Rules: whoever gives no name is anonymous, sees everything and can't act. A name with a wrong password is refused, not
made anonymous. A password comes encrypted, with the nonce of the session that it is for, so that nobody says it again
later or elsewhere (OPC 10000-4, 7.41.2); the certificate of a user has signed that nonce.
"""

from __future__ import annotations

import asyncio
import hmac
import struct
from dataclasses import dataclass
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto import uacrypto
from asyncua.crypto.permission_rules import User, UserRole

from gateways.access.users import Users
from gateways.scada.encoding import is_left_out

_CODES: Final = ua.StatusCodes
_LENGTH: Final = struct.Struct("<I")
_PASSWORD_MAX: Final = 4096
_DECRYPT: Final = {
    "http://www.w3.org/2001/04/xmlenc#rsa-oaep": uacrypto.decrypt_rsa_oaep,
    "http://opcfoundation.org/UA/security/rsa-oaep-sha2-256": uacrypto.decrypt_rsa_oaep_sha256,
}
"""RSA 1.5 is not among them: its padding tells who asks often enough."""
_SIGNED: Final = {
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256": uacrypto.verify_sha256,
    "http://opcfoundation.org/UA/security/rsa-pss-sha2-256": uacrypto.verify_pss_sha256,
}


@dataclass
class SessionUser(User):  # type: ignore[misc]
    """As asyncua knows a user; `name` is "" where they are anonymous."""


ANONYMOUS: Final = SessionUser(role=UserRole.User, name="")


class Everybody:
    """asyncua's own question for a user: that has been answered before (`Identity`)."""

    def get_user(self, _server: Any, **_given: Any) -> SessionUser:
        """Anonymous."""
        return ANONYMOUS


class Identity:
    """Answers who the sender of an ActivateSession request is. `server`: for its key and its certificate."""

    def __init__(self, users: Users, server: Any) -> None:
        self._users, self._server = users, server

    async def of(self, params: Any, nonce: bytes, is_encrypted: bool, peer: str) -> SessionUser:
        """`is_encrypted`: the channel is. ServiceError: it is nobody, or not proved."""
        token = params.UserIdentityToken
        if isinstance(token, ua.UserNameIdentityToken):
            password = self._password(token, nonce, is_encrypted)
            found = await asyncio.to_thread(self._users.authenticate, token.UserName or "", password, peer)
        elif isinstance(token, ua.X509IdentityToken):
            self._verify(token, params.UserTokenSignature, nonce)
            found = self._users.of_certificate(token.CertificateData)
        elif isinstance(token, ua.AnonymousIdentityToken) or is_left_out(token):
            return ANONYMOUS
        else:
            raise ServiceError(_CODES.BadIdentityTokenRejected)
        if found is None:
            raise ServiceError(_CODES.BadUserAccessDenied)
        return SessionUser(role=UserRole.User, name=found.name)

    def _password(self, token: Any, nonce: bytes, is_encrypted: bool) -> str:
        secret = token.Password or b""
        if isinstance(secret, str):
            secret = secret.encode()
        if token.EncryptionAlgorithm:
            secret = self._decrypted(token.EncryptionAlgorithm, secret, nonce)
        elif not is_encrypted:
            raise ServiceError(_CODES.BadIdentityTokenInvalid)
        try:
            return str(secret, "utf-8")
        except UnicodeDecodeError:
            raise ServiceError(_CODES.BadIdentityTokenInvalid) from None

    def _decrypted(self, algorithm: str, secret: bytes, nonce: bytes) -> bytes:
        decrypt = _DECRYPT.get(algorithm)
        if decrypt is None or self._server.private_key is None or len(secret) > _PASSWORD_MAX:
            raise ServiceError(_CODES.BadIdentityTokenInvalid)
        try:
            plain = decrypt(self._server.private_key, secret)
            (length,) = _LENGTH.unpack_from(plain)
        except (ValueError, struct.error):
            raise ServiceError(_CODES.BadIdentityTokenInvalid) from None
        password, said = plain[4 : 4 + length - len(nonce)], plain[4 + length - len(nonce) : 4 + length]
        if length < len(nonce) or not hmac.compare_digest(said, nonce):
            raise ServiceError(_CODES.BadIdentityTokenInvalid)
        return bytes(password)

    def _verify(self, token: Any, signature: Any, nonce: bytes) -> None:
        verify = _SIGNED.get(signature.Algorithm or "")
        if verify is None or self._server.certificate is None or not signature.Signature:
            raise ServiceError(_CODES.BadIdentityTokenInvalid)
        challenge = uacrypto.der_from_x509(self._server.certificate) + nonce
        try:
            verify(uacrypto.x509_from_der(token.CertificateData), challenge, signature.Signature)
        except Exception:  # whatever a library says of bytes that somebody has sent
            raise ServiceError(_CODES.BadUserSignatureInvalid) from None
