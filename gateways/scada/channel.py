"""One client's connection: which of its requests are heard at all, and whose session they speak for.

Rules, each against a hole of the stack that was exploited (docs/decisions/0091-scada-security.md):
- A channel with a certificate that is not trusted is not opened, and none is renewed with another certificate.
- Over a channel without security, where that is not offered, only endpoints can be asked for.
- CreateSession names the certificate of its channel, and the application that this certificate is for.
- A request is heard with the token of the channel's own session. A session goes over to another channel only with
  the same certificate and the same user, once its client has signed; then the old channel has lost it.
- Services that change the address space or the list of known servers are refused.
- Connections over which nobody has a session are few for one address, and do not last: else whoever reaches the port
  takes all there are. Those with a session are not counted: many clients may be behind one address.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from typing import Any, Final

from asyncua import ua
from asyncua.common.connection import SecureConnection, TransportLimits
from asyncua.common.utils import ServiceError
from asyncua.crypto.security_policies import SecurityPolicyNone
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol
from asyncua.server.uaprocessor import UaProcessor
from asyncua.ua.ua_binary import struct_from_binary, uatcp_to_binary

from gateways.client_address import client_of, ip_address_of
from gateways.scada.certificates import application_uris, first_of
from gateways.scada.limits import check_count
from streams.log_limit import limited

UNREAD_BYTES_MAX: Final = 32_000_000
"""A client that asks and asks and does not read its answers is let go."""
BUFFER_BYTES_MIN: Final = 8192
"""OPC 10000-6, 7.1.2.3."""
REQUEST_BYTES_MAX: Final = (64 << 10, 2 << 20)
"""Of a request that comes in parts, before somebody has logged in and after."""
NONCE_BYTES_MIN: Final = 32
CALLS_MAX: Final = 100
"""Of one channel that wait for their answers."""
UNUSED_MAX: Final = 10
"""Connections of one address without a session."""
UNUSED_S: Final = 10.0
"""How long a connection may have none."""

_CODES: Final = ua.StatusCodes
_IDS: Final = ua.ObjectIds


def _requests(*names: str) -> frozenset[Any]:
    return frozenset(ua.NodeId(getattr(_IDS, f"{name}Request_Encoding_DefaultBinary")) for name in names)


(_CREATE,) = _requests("CreateSession")
(_ACTIVATE,) = _requests("ActivateSession")
(_BROWSE_NEXT,) = _requests("BrowseNext")
(_CALL,) = _requests("Call")
_DISCOVERY: Final = _requests("GetEndpoints", "FindServers", "CloseSecureChannel")
_REFUSED: Final = _requests(
    "AddNodes", "DeleteNodes", "AddReferences", "DeleteReferences", "RegisterServer", "RegisterServer2"
)

log = logging.getLogger("headrace.scada")
log_again = limited("headrace.scada")


class _Limits(TransportLimits):  # type: ignore[misc]
    """Of one connection. asyncua has one for all of a server, and any client's first message changes it."""

    def create_acknowledge_and_set_limits(self, msg: Any) -> Any:
        """ServiceError: buffers too small to answer in."""
        if min(msg.ReceiveBufferSize, msg.SendBufferSize) < BUFFER_BYTES_MIN:
            raise ServiceError(_CODES.BadConnectionRejected)
        return super().create_acknowledge_and_set_limits(msg)

    def update_client_limits(self, msg: Any) -> None:
        """ServiceError: a client acknowledges nothing."""
        raise ServiceError(_CODES.BadTcpMessageTypeInvalid)


class _Connection(SecureConnection):  # type: ignore[misc]
    """A client may send the certificates of its authorities behind its own: the stack reads one."""

    def select_policy(self, uri: str, peer_certificate: bytes | None, mode: Any = None) -> None:
        """By the client's own certificate."""
        super().select_policy(uri, first_of(peer_certificate) if peer_certificate else None, mode)


class Channel(UaProcessor):  # type: ignore[misc]
    """`iserver` is our server (`server.py`): its `pki`, its `identity`, and whether it offers security None."""

    session: Any

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._connection = _Connection(SecurityPolicyNone(), self._limits)
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def certificate(self) -> bytes | None:
        """Of the client; None without security."""
        shown = self._connection.security_policy.peer_certificate
        return first_of(shown) if shown else None

    @property
    def is_used(self) -> bool:
        """Whether somebody has a session over it."""
        return self._has_session() and bool(self.session.is_activated())

    @property
    def _is_secure(self) -> bool:
        return bool(self._connection.security_policy.Mode == ua.MessageSecurityMode.SignAndEncrypt)

    def open_secure_channel(self, algohdr: Any, seqhdr: Any, body: Any) -> None:
        """ServiceError: nobody trusts it, or it is renewed by somebody else."""
        shown = first_of(algohdr.SenderCertificate) if algohdr.SenderCertificate else None
        if shown != self.certificate:
            raise ServiceError(_CODES.BadSecurityChecksFailed)
        is_renewal = self._connection.is_open()
        if shown and not is_renewal and not self.iserver.pki.is_trusted(shown):
            raise ServiceError(_CODES.BadSecurityChecksFailed)
        super().open_secure_channel(algohdr, seqhdr, body)
        if self._is_secure != bool(shown):
            raise ServiceError(_CODES.BadSecurityModeRejected)

    async def process_message(self, seqhdr: Any, body: Any) -> bool:
        """Whether the connection goes on. What is no refusal but our own mistake is said."""
        try:
            return bool(await super().process_message(seqhdr, body))
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("%s: a request failed", self.name)
            raise

    async def process(self, header: Any, body: Any) -> bool:
        """Whether the connection goes on: what can't be read or is not allowed ends it."""
        try:
            went_on = bool(await super().process(header, body))
            if self._connection._incoming_size > REQUEST_BYTES_MAX[self._has_session()]:
                raise ServiceError(_CODES.BadRequestTooLarge)
            return went_on
        except Exception as error:  # whatever the stack says of bytes that somebody has sent
            code = getattr(error, "code", _CODES.BadSecurityChecksFailed)
            self.iserver.metrics["channels_refused"] += 1
            log.warning("%s: the connection is closed: %s", self.name, ua.StatusCode(code).name)
            message = ua.ErrorMessage(ua.StatusCode(code), "")
            self._transport.write(uatcp_to_binary(ua.MessageType.Error, message))
            return False

    def send_response(self, *given: Any, **named: Any) -> None:
        """As asyncua's, unless the client reads nothing."""
        if self._transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            log.warning("%s reads nothing: the connection is closed", self.name)
            self._transport.abort()
            return
        super().send_response(*given, **named)

    def serve(self, subscription: Any) -> None:
        """Publish what a subscription has over this channel."""
        subscription.pub_result_callback = self.forward_publish_response
        subscription.pub_request_callback = self.get_publish_request

    def publish_request_limit(self, subscription_count: int) -> int:
        """How many publish requests wait at most."""
        return int(super().publish_request_limit(subscription_count)) + 20

    async def _process_message(self, typeid: Any, requesthdr: Any, seqhdr: Any, body: Any) -> bool:
        if typeid in _REFUSED:
            raise ServiceError(_CODES.BadServiceUnsupported)
        if not self._is_secure and not self.iserver.offers_none and typeid not in _DISCOVERY:
            raise ServiceError(_CODES.BadSecurityModeInsufficient)
        if typeid == _CREATE:
            return await self._create(typeid, requesthdr, seqhdr, body)
        if typeid == _ACTIVATE:
            return await self._activate(typeid, requesthdr, seqhdr, body)
        if typeid not in _DISCOVERY:
            self._check_token(requesthdr)
        if typeid == _BROWSE_NEXT:
            return await self._browse_next(requesthdr, seqhdr, body)
        if typeid == _CALL:
            return self._call(requesthdr, seqhdr, body)
        return bool(await super()._process_message(typeid, requesthdr, seqhdr, body))

    def _check_token(self, requesthdr: Any) -> None:
        if self.session is None or not _is_same(requesthdr.AuthenticationToken, self.session.auth_token):
            raise ServiceError(_CODES.BadSessionIdInvalid)

    async def _create(self, typeid: Any, requesthdr: Any, seqhdr: Any, body: Any) -> bool:
        params = struct_from_binary(ua.CreateSessionParameters, body.copy())
        if self._has_session():
            raise ServiceError(_CODES.BadTooManySessions)
        application = params.ClientDescription.ApplicationUri or ""
        if self.certificate is not None:
            if first_of(params.ClientCertificate or b"") != self.certificate:
                raise ServiceError(_CODES.BadCertificateInvalid)
            if application not in application_uris(self.certificate):
                raise ServiceError(_CODES.BadCertificateUriInvalid)
            if len(params.ClientNonce or b"") < NONCE_BYTES_MIN:
                raise ServiceError(_CODES.BadNonceInvalid)
        went_on = await super()._process_message(typeid, requesthdr, seqhdr, body)
        self.session.channel, self.session.certificate = self, self.certificate
        self.session.application = application if self.certificate is None else self.certificate.hex()
        return bool(went_on)

    def _has_session(self) -> bool:
        return self.session is not None and self.session.channel is self and self.session.is_open

    async def _activate(self, typeid: Any, requesthdr: Any, seqhdr: Any, body: Any) -> bool:
        """The stack takes a session over before it looks at the signature: if that is wrong, it is given back here."""
        session = self.iserver.lookup_external_session(requesthdr.AuthenticationToken)
        if session is None or (self.session is not None and self.session is not session):
            raise ServiceError(_CODES.BadSessionIdInvalid)
        before = session.channel
        if session.certificate != self.certificate:
            raise ServiceError(_CODES.BadSecurityChecksFailed)
        params = struct_from_binary(ua.ActivateSessionParameters, body.copy())
        peer = str(self.name[0]) if self.name else ""
        claimed = await self.iserver.identity.of(params, session.nonce, self._is_secure, peer)
        if before is not self and claimed.name != session.user.name:
            raise ServiceError(_CODES.BadIdentityChangeNotSupported)
        session.claimed = claimed
        try:
            went_on = await super()._process_message(typeid, requesthdr, seqhdr, body)
        except Exception:
            if before is not self:
                self.session = None
                for one in session.subscriptions():
                    before.serve(one)
            raise
        session.channel = self
        if before is not self:
            before.lose(session)
        for one in session.subscriptions():
            one.owner = session.owner
        return bool(went_on)

    async def close(self) -> None:
        """The connection is gone: what would answer its publish requests waits for the next one."""
        self._publish_requests.clear()
        await super().close()

    def lose(self, session: Any) -> None:
        """The session has gone over to another channel."""
        if self.session is session:
            self.session = None
            self._publish_requests.clear()
            self._closing = True
            self._transport.close()

    def _check_active(self) -> None:
        if not self.session.is_activated():
            raise ServiceError(_CODES.BadSessionNotActivated)
        self.session.touch()

    def _call(self, requesthdr: Any, seqhdr: Any, body: Any) -> bool:
        """Answered when the engine has: what else the client asks for does not wait for it."""
        self._check_active()
        if len(self._calls) >= CALLS_MAX:
            raise ServiceError(_CODES.BadTooManyOperations)
        params = struct_from_binary(ua.CallParameters, body)
        check_count(params.MethodsToCall)  # here: what the task raises answers nobody
        answering = asyncio.create_task(self._answer(self.session, params, requesthdr, seqhdr))
        self._calls.add(answering)
        answering.add_done_callback(self._calls.discard)
        return True

    async def _answer(self, session: Any, params: Any, requesthdr: Any, seqhdr: Any) -> None:
        response = ua.CallResponse()
        response.Results = await session.call(params.MethodsToCall)
        self.send_response(requesthdr.RequestHandle, seqhdr, response)

    async def _browse_next(self, requesthdr: Any, seqhdr: Any, body: Any) -> bool:
        self._check_active()
        params = struct_from_binary(ua.BrowseNextParameters, body)
        response = ua.BrowseNextResponse()
        response.Parameters.Results = await self.session.browse_next(params)
        self.send_response(requesthdr.RequestHandle, seqhdr, response)
        return True


def _is_same(one: Any, other: Any) -> bool:
    """In a time that says nothing of where they differ."""
    left, right = one.Identifier, other.Identifier
    return isinstance(left, bytes) and isinstance(right, bytes) and hmac.compare_digest(left, right)


class _Protocol(OPCUAProtocol):  # type: ignore[misc]
    """A connection whose requests our channel hears."""

    processor: Any
    _buffer: bytes

    def __init__(self, *given: Any) -> None:
        *others, limits = given
        super().__init__(*others, _Limits(**vars(limits)))

    def data_received(self, data: bytes) -> None:
        """asyncua's; a message that says it is longer than one may be is not waited for."""
        super().data_received(data)
        size = int.from_bytes(self._buffer[4:8], "little")
        if size > self.limits.max_recv_buffer and self.transport is not None:
            log.warning("%s: a message of %d bytes: the connection is closed", self.peer_name, size)
            self._buffer = b""
            self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        """asyncua's, with a channel of ours in place of its own; unless too many of its address have no session."""
        self.address = _address_of(transport)
        unused = sum(one.address == self.address and not one.processor.is_used for one in self.clients)
        if unused >= UNUSED_MAX:
            self.iserver.metrics["channels_refused"] += 1
            log_again.warning(
                "%s has %d connections without a session: no more are taken", self.address, unused
            )
            transport.abort()
            return
        super().connection_made(transport)
        if self.processor is not None:
            self.processor = Channel(self.iserver, transport, self.limits)
            self.processor.set_policies(self.policies)

    async def _activation_watchdog(self) -> None:
        """As asyncua's, which looks once: a client that has closed its session could stay."""
        while True:
            await asyncio.sleep(UNUSED_S)
            if not self.processor.is_used and self.transport is not None:
                log_again.warning(
                    "%s has no session for %d s: the connection is closed", self.peer_name, UNUSED_S
                )
                self.transport.abort()
                return


def _address_of(transport: Any) -> str:
    return client_of(ip_address_of(str((transport.get_extra_info("peername") or [""])[0])))


class Listener(BinaryServer):  # type: ignore[misc]
    """The listening socket."""

    def _make_protocol(self) -> Any:
        return _Protocol(self.iserver, self._policies, self.clients, self.closing_tasks, self.limits)

    async def stop(self) -> None:
        """Close every connection and the port."""
        with contextlib.suppress(OSError):
            await super().stop()
