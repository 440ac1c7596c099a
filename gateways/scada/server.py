"""The OPC UA server: asyncua's stack with our parts in it.

Rules: Basic256Sha256 and Aes256Sha256RsaPss, signed and encrypted; security None on loopback alone, and only where the
settings say so. Nothing listens before all nodes are there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.server.internal_server import InternalServer

from gateways.access.users import Users
from gateways.opcua.stack import Server
from gateways.scada.access import ANONYMOUS, Everybody, Identity
from gateways.scada.aggregates import FUNCTIONS
from gateways.scada.certificates import Pki, host_named, server_uri
from gateways.scada.channel import Listener
from gateways.scada.event import SERVER
from gateways.scada.event_types import EventTypes
from gateways.scada.history_read import PAGE_MAX, HistoryReader
from gateways.scada.hub import Hub
from gateways.scada.limits import OPERATION_LIMITS
from gateways.scada.methods import Methods
from gateways.scada.model import Model
from gateways.scada.names import INDEX, NAMESPACE
from gateways.scada.nodes import SiteNodes
from gateways.scada.session import Session
from gateways.scada.subscription import Subscriptions
from gateways.scada.view import View
from rules.errors import ConfigurationError, UnreachableError
from rules.findings import Finding
from streams.loopback import is_loopback

PRODUCT_URI: Final = "urn:headrace:scada-server"
SERVICE_LEVEL: Final = (1, 255)
"""Of a server that has no news of the plant, and of one that has (OPC 10000-4, 6.6.2.4.2)."""
CONNECTIONS_MAX: Final = 200
_SECURE: Final = (
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
)


class Core(InternalServer):  # type: ignore[misc]
    """What asyncua's connections ask: our sessions, subscriptions, history and methods."""

    def __init__(self, users: Users, pki: Pki, offers_none: bool, metrics: dict[str, Any]) -> None:
        super().__init__(user_manager=Everybody())
        self.pki, self.offers_none, self.metrics = pki, offers_none, metrics
        self.identity = Identity(users, self)
        self.allow_remote_admin = False
        self.max_connections = CONNECTIONS_MAX
        self.types = EventTypes(self.aspace)
        self.view_service = View(self.aspace, self.types)
        self.history: HistoryReader
        self.methods: Methods
        metrics.update(sessions=0, subscriptions=0, channels_refused=0, notifications=0, notifications_lost=0)

    def create_session(self, name: str, user: Any = ANONYMOUS, external: bool = False) -> Any:
        """A client's session is ours."""
        return Session(self, self.aspace, self.subscription_service, name, user=user, external=external)

    def use(self, hub: Hub, history: HistoryReader, methods: Methods) -> None:
        """Answer from these."""
        self.history, self.methods = history, methods
        self.subscription_service = Subscriptions(self.aspace, self, hub)
        self.isession.subscription_service = self.subscription_service


class ScadaServer(Server):  # type: ignore[misc]
    """`prepare`, then `start`; `stop` closes every connection."""

    def __init__(self, core: Core, endpoint: str, site_name: str) -> None:
        super().__init__(iserver=core)
        self.core = core
        self._host = urlsplit(endpoint).hostname or ""
        self._where = endpoint
        self._site_name = site_name

    async def prepare(self, model: Model, read: Callable[[Any], Any]) -> None:
        """The address space, and the server's certificate. ConfigurationError: None is asked for on a network."""
        if self.core.offers_none and not is_loopback(self._host):
            text = f"security None is for loopback alone, and the endpoint is {self._where}"
            raise ConfigurationError([Finding("headrace.yaml", 0, 0, text, "scada.allow_none: false")])
        await self.init()
        uri = server_uri(self._site_name)
        self.set_endpoint(self._where)
        self.set_server_name(f"Headrace: {self._site_name}")
        await self.set_application_uri(uri)
        await self.set_build_info(
            PRODUCT_URI, "Headrace", "Headrace SCADA server", "1", "1", datetime(2026, 1, 1, tzinfo=UTC)
        )
        self.application_type = ua.ApplicationType.Server
        await self.core.pki.prepare(uri, host_named(self._where))
        await self.load_certificate(self.core.pki.certificate)
        await self.load_private_key(self.core.pki.key)
        self.set_security_policy(
            [*([ua.SecurityPolicyType.NoSecurity] if self.core.offers_none else []), *_SECURE]
        )
        index = await self.register_namespace(NAMESPACE)
        assert index == INDEX
        space = self.core.aspace
        notifier = ua.DataValue(ua.Variant(1, ua.VariantType.Byte))
        await space.write_attribute_value(SERVER, ua.AttributeIds.EventNotifier, notifier)
        await self._say_capabilities()
        space._nodes = SiteNodes(space._nodes, model, read)

    async def _say_capabilities(self) -> None:
        """What of history there is (OPC 10000-11, 5.4), and how much one request may ask for (OPC 10000-5, 6.3.11)."""
        ids, kinds, space = ua.ObjectIds, ua.VariantType, self.core.aspace
        for node_id, value, kind in (
            (ids.HistoryServerCapabilities_AccessHistoryDataCapability, True, kinds.Boolean),
            (ids.HistoryServerCapabilities_MaxReturnDataValues, PAGE_MAX, kinds.UInt32),
            *(
                (getattr(ids, f"Server_ServerCapabilities_OperationLimits_{name}"), most, kinds.UInt32)
                for name, most in OPERATION_LIMITS.items()
            ),
        ):
            said = ua.DataValue(ua.Variant(value, kind))
            await space.write_attribute_value(ua.NodeId(node_id), ua.AttributeIds.Value, said)
        functions = self.get_node(ids.HistoryServerCapabilities_AggregateFunctions)
        for function in FUNCTIONS:
            await functions.add_reference(function, ids.Organizes)

    async def start(self) -> None:
        """Listen. UnreachableError names a port that is taken."""
        await self._setup_server_nodes()
        await self.iserver.start()
        host, port = self._get_bind_socket_info()
        self.bserver = Listener(self.iserver, host, port, self.limits)
        self.bserver.set_policies(self._policies)
        try:
            await self.bserver.start()
        except OSError as error:
            await self.iserver.stop()
            raise UnreachableError(
                f"the SCADA server can't listen on {self._where}: {error.strerror or error}; end the other program, or "
                "set scada.endpoint in headrace.yaml"
            ) from None

    async def set_service_level(self, is_healthy: bool) -> None:
        """For clients that choose among servers."""
        level = ua.DataValue(ua.Variant(SERVICE_LEVEL[is_healthy], ua.VariantType.Byte))
        node = ua.NodeId(ua.ObjectIds.Server_ServiceLevel)
        await self.core.aspace.write_attribute_value(node, ua.AttributeIds.Value, level)
