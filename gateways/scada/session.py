"""One client's session: the services that asyncua lacks, or offers to everybody.

Rules: a session's token is random; subscriptions are the session's own, and another one gets them only by a transfer
of the same user from the same application; nothing can be written; what acts goes through `methods`. What one request
may ask for has a limit (`limits`), and others have their turn between its parts.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.server.internal_session import InternalSession, SessionState

from gateways.scada.access import ANONYMOUS, SessionUser
from gateways.scada.limits import BROWSES_MAX, check_count
from gateways.scada.names import INDEX

SUBSCRIPTIONS_MAX: Final = 20
REFERENCES_MAX: Final = 1_000
CONTINUATIONS_MAX: Final = 50
READ_BYTES_MAX: Final = 8_000_000
"""Of the long values of one answer: the standard has one of 0.3 MB."""
_CODES: Final = ua.StatusCodes


class Session(InternalSession):  # type: ignore[misc]
    """`channel`: over which it speaks now. `application`: certificate or URI of the client, by which it is known."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.iserver.unregister_external_session(self)
        self.auth_token = ua.NodeId(secrets.token_bytes(32), 0, ua.NodeIdType.ByteString)
        self.iserver.register_external_session(self)
        self.channel: Any = None
        self.certificate: bytes | None = None
        self.application = ""
        self.claimed: SessionUser = ANONYMOUS
        self._continuations: dict[bytes, list[Any]] = {}

    @property
    def owner(self) -> str:
        """Whose its subscriptions are."""
        return f"{self.user.name}\n{self.application}"

    def activate_session(self, params: Any, peer_certificate: bytes | None) -> Any:
        """The channel has found out who it is: `claimed`."""
        params.UserIdentityToken = ua.AnonymousIdentityToken()
        result = super().activate_session(params, peer_certificate)
        self.user = self.claimed
        return result

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it."""
        return bool(self.state != SessionState.Closed)

    def subscriptions(self) -> list[Any]:
        """Its own."""
        return [
            one
            for one in self.subscription_service.subscriptions.values()
            if one.session_id == self.session_id
        ]

    # Subscriptions: the session's own, and no others.

    def _own(self, number: int) -> Any:
        if not self._owns(number):
            raise ServiceError(_CODES.BadSubscriptionIdInvalid)
        return self.subscription_service.subscriptions[number]

    def _owns(self, number: int) -> bool:
        found = self.subscription_service.subscriptions.get(number)
        return found is not None and found.session_id == self.session_id

    async def create_subscription(self, params: Any, callback: Any, request_callback: Any = None) -> Any:
        """As asyncua's, within bounds."""
        if len(self.subscriptions()) >= SUBSCRIPTIONS_MAX:
            raise ServiceError(_CODES.BadTooManySubscriptions)
        return await self.subscription_service.create_owned(params, self, callback, request_callback)

    def modify_subscription(self, params: Any) -> Any:
        """ServiceError where it is another's."""
        return self.subscription_service.modify(self._own(params.SubscriptionId), params)

    async def delete_subscriptions(self, ids: list[int]) -> list[Any]:
        """Another's is as good as none."""
        check_count(ids)
        mine = [number for number in ids if self._owns(number)]
        deleted = dict(zip(mine, await super().delete_subscriptions(mine), strict=True))
        unknown = ua.StatusCode(_CODES.BadSubscriptionIdInvalid)
        return [deleted.get(number, unknown) for number in ids]

    async def create_monitored_items(self, params: Any) -> Any:
        """ServiceError where the subscription is another's; so with all that follow."""
        self._own(params.SubscriptionId)
        check_count(params.ItemsToCreate)
        return await self.subscription_service.create_monitored_items(params)

    async def modify_monitored_items(self, params: Any) -> Any:
        """Of an own subscription."""
        self._own(params.SubscriptionId)
        check_count(params.ItemsToModify)
        return self.subscription_service.modify_monitored_items(params)

    async def delete_monitored_items(self, params: Any) -> Any:
        """Of an own subscription."""
        self._own(params.SubscriptionId)
        check_count(params.MonitoredItemIds)
        return self.subscription_service.delete_monitored_items(params)

    async def set_monitoring_mode(self, params: Any) -> Any:
        """Of an own subscription."""
        self._own(params.SubscriptionId)
        check_count(params.MonitoredItemIds)
        return await self.subscription_service.set_monitoring_mode(params)

    async def set_publishing_mode(self, params: Any) -> list[Any]:
        """Of own subscriptions; another's is as good as none."""
        check_count(params.SubscriptionIds)
        results = []
        for number in params.SubscriptionIds:
            if self._owns(number):
                await self.subscription_service.subscriptions[number].set_publishing_mode(
                    params.PublishingEnabled
                )
            results.append(
                ua.StatusCode(_CODES.Good if self._owns(number) else _CODES.BadSubscriptionIdInvalid)
            )
        return results

    def publish(self, acks: Any = None) -> tuple[int, list[Any]]:
        """How many subscriptions there are, and a status for each acknowledgement."""
        count = len(self.subscriptions())
        if not count:
            raise ServiceError(_CODES.BadNoSubscription)
        check_count(acks)
        results = []
        for ack in acks or []:
            is_kept = self._owns(ack.SubscriptionId)
            if is_kept:
                self.subscription_service.subscriptions[ack.SubscriptionId].publish([ack.SequenceNumber])
            results.append(ua.StatusCode(_CODES.Good if is_kept else _CODES.BadSubscriptionIdInvalid))
        return count, results

    def republish(self, params: Any) -> Any:
        """Of an own subscription."""
        return self._own(params.SubscriptionId).republish(params.RetransmitSequenceNumber)

    async def transfer_subscriptions(self, params: Any, callback: Any) -> list[Any]:
        """From a session of the same user and application that has gone."""
        check_count(params.SubscriptionIds)
        return [self._transfer(number, params.SendInitialValues) for number in params.SubscriptionIds]

    def _transfer(self, number: int, send_values: bool) -> Any:
        found = self.subscription_service.subscriptions.get(number)
        if found is None:
            return ua.TransferResult(StatusCode=ua.StatusCode(_CODES.BadSubscriptionIdInvalid))
        if found.owner != self.owner:
            return ua.TransferResult(StatusCode=ua.StatusCode(_CODES.BadUserAccessDenied))
        found.session_id = self.session_id
        self.channel.serve(found)
        if send_values:
            found.items.send_values()
        return ua.TransferResult(StatusCode=ua.StatusCode(), AvailableSequenceNumbers=found.unacknowledged())

    # Looking, reading, acting.

    async def browse(self, params: Any) -> list[Any]:
        """As many references as the client wants at once; `browse_next` has the others."""
        check_count(params.NodesToBrowse, BROWSES_MAX)
        results: list[Any] = await super().browse(params)
        limit = min(params.RequestedMaxReferencesPerNode or REFERENCES_MAX, REFERENCES_MAX)
        for result in results:
            self._page(result, result.References, limit)
        return results

    async def browse_next(self, parameters: Any) -> list[Any]:
        """A result for each continuation point, in order."""
        check_count(parameters.ContinuationPoints, BROWSES_MAX)
        results = []
        for point in parameters.ContinuationPoints:
            result = ua.BrowseResult()
            kept = self._continuations.pop(point, None)
            if kept is None:
                result.StatusCode = ua.StatusCode(_CODES.BadContinuationPointInvalid)
            elif not parameters.ReleaseContinuationPoints:
                limit, *references = kept
                self._page(result, references, limit)
            results.append(result)
        return results

    def _page(self, result: Any, references: list[Any], limit: int) -> None:
        result.References = references[:limit]
        if len(references) > limit:
            if len(self._continuations) >= CONTINUATIONS_MAX:
                self._continuations.pop(next(iter(self._continuations)))
            result.ContinuationPoint = secrets.token_bytes(8)
            self._continuations[result.ContinuationPoint] = [limit, *references[limit:]]

    async def translate_browsepaths_to_nodeids(self, params: list[Any]) -> list[Any]:
        """A result for each path, in order."""
        check_count(params)
        results: list[Any] = []
        for path in params:
            results += await super().translate_browsepaths_to_nodeids([path])
            await asyncio.sleep(0)
        return results

    async def read(self, params: Any) -> list[Any]:
        """A value for each attribute, in order. ServiceError: together they are too long."""
        check_count(params.NodesToRead)
        results: list[Any] = await super().read(params)
        values = (one.Value.Value for one in results if one.Value is not None)
        if sum(len(value) for value in values if isinstance(value, bytes | str)) > READ_BYTES_MAX:
            raise ServiceError(_CODES.BadResponseTooLarge)
        return results

    async def write(self, params: Any) -> list[Any]:
        """Nothing: the plant is steered by rules, and alarms by methods."""
        check_count(params.NodesToWrite)
        return [
            ua.StatusCode(
                _CODES.BadNotWritable if one.NodeId.NamespaceIndex == INDEX else _CODES.BadUserAccessDenied
            )
            for one in params.NodesToWrite
        ]

    async def history_read(self, params: Any) -> list[Any]:
        """A result for each node, in order."""
        results: list[Any] = await self.iserver.history.read(params)
        return results

    async def history_update(self, params: Any) -> list[Any]:
        """Nothing: what was, was."""
        raise ServiceError(_CODES.BadHistoryOperationUnsupported)

    async def call(self, params: Any) -> list[Any]:
        """A result for each call, in order; all are asked for at once. The channel has counted them."""
        return await asyncio.gather(*(self.iserver.methods.call(self, one) for one in params))
