"""The OPC UA server of the simulated plant.

Rules: every point of the site file is one variable under its configured address, below site, unit and assets; what a
client writes is checked, acts on the plant, and is logged, before the answer goes out; security None is offered on
loopback only, Basic256Sha256 (sign and encrypt) everywhere.

Every value is a Double, states too (0 or 1): the site file's ranges and units then hold for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asyncua import ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.permission_rules import UserRole
from asyncua.server.address_space import AttributeService
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateways.opcua.convert import moment_of
from gateways.opcua.engineering_units import engineering_units
from gateways.opcua.stack import Server
from rules.errors import ConfigurationError, UnreachableError
from rules.findings import Finding
from rules.site.model import Actuator, Point, Site, Source

NAMESPACE = "urn:headrace:plant"
PRODUCT_URI = "urn:headrace:simulated-plant"
"""By this, actuators know that the server is no real plant."""
APPLICATION_URI = "urn:headrace:plant-server"
LOOPBACK = ("127.0.0.1", "localhost", "::1")

WriteHook = Callable[[Actuator, float, float], None]
"""Called with actuator, old and new value; a ValueError or KeyError of it refuses the write."""
CountHook = Callable[[str, int], None]
"""Called with the source and the number that was written to its watchdog."""


class _PlantAttributes:
    """The Write service: only set points, only values in range; the plant has it before the client has its answer.

    `watchdog`: a node that takes any UInt32, and who hears of it.
    """

    def __init__(
        self,
        aspace: Any,
        targets: dict[ua.NodeId, Actuator],
        hook: WriteHook,
        watchdog: tuple[ua.NodeId, Callable[[int], None]] | None,
    ) -> None:
        self._own = AttributeService(aspace)
        self.read = self._own.read
        self._space = aspace
        self._targets = targets
        self._hook = hook
        self._watchdog = watchdog

    async def write(self, params: Any, user: Any = None) -> list[ua.StatusCode]:
        """One status code for each value, in order. Only the server itself (its status node) has the admin's role."""
        if user is not None and user.role == UserRole.Admin:
            own: list[ua.StatusCode] = await self._own.write(params, user)
            return own
        return [ua.StatusCode(await self._write(item)) for item in params.NodesToWrite]

    async def _write(self, item: Any) -> int:
        codes = ua.StatusCodes
        if item.NodeId not in self._space:
            return int(codes.BadNodeIdUnknown)
        if self._watchdog is not None and item.NodeId == self._watchdog[0]:
            return await self._count(item, self._watchdog[1])
        actuator = self._targets.get(item.NodeId)
        if actuator is None or item.AttributeId != ua.AttributeIds.Value:
            return int(codes.BadNotWritable)
        variant = item.Value.Value
        if variant is None or variant.VariantType != ua.VariantType.Double or variant.is_array:
            return int(codes.BadTypeMismatch)
        value = float(variant.Value)
        if not actuator.low <= value <= actuator.high or not math.isfinite(value):
            return int(codes.BadOutOfRange)
        shown = self._space.read_attribute_value(item.NodeId, ua.AttributeIds.Value)
        try:
            self._hook(actuator, float(shown.Value.Value), value)
        except (ValueError, KeyError):
            return int(codes.BadOutOfRange)
        await self._space.write_attribute_value(
            item.NodeId, item.AttributeId, _data_value(value, datetime.now(UTC), 0)
        )
        return int(codes.Good)

    async def _count(self, item: Any, count: Callable[[int], None]) -> int:
        variant = item.Value.Value
        if item.AttributeId != ua.AttributeIds.Value:
            return int(ua.StatusCodes.BadNotWritable)
        if variant is None or variant.VariantType != ua.VariantType.UInt32 or variant.is_array:
            return int(ua.StatusCodes.BadTypeMismatch)
        count(int(variant.Value))
        await self._space.write_attribute_value(item.NodeId, item.AttributeId, ua.DataValue(variant))
        return int(ua.StatusCodes.Good)


class PlantServer:
    """A started server shows what `show` is handed."""

    def __init__(self, site: Site, source: Source, run_dir: Path, hook: WriteHook, count: CountHook) -> None:
        self.points: tuple[Point, ...] = tuple(
            point for point in site.points.values() if point.source == source.id
        )
        self.source_id = source.id
        self._site = site
        self._source = source
        self._run_dir = run_dir
        self._hook = hook
        self._count = count
        self._server: Any = Server()
        self._nodes: list[ua.NodeId] = []
        self._tripped: ua.NodeId | None = None

    async def start(self) -> None:
        """Build the address space and listen. UnreachableError names a port that is taken."""
        server, host = self._server, urlsplit(self._source.endpoint).hostname or ""
        await server.init()
        server.allow_remote_admin(False)
        server.set_endpoint(self._source.endpoint)
        server.set_server_name("Headrace simulated plant")
        await server.set_application_uri(APPLICATION_URI)
        await server.set_build_info(
            PRODUCT_URI, "Headrace", "Headrace simulated plant", "1", "1", datetime(2026, 1, 1, tzinfo=UTC)
        )
        await self._load_certificate(host)
        secure = ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt
        open_policy = [ua.SecurityPolicyType.NoSecurity] if host in LOOPBACK else []
        server.set_security_policy([*open_policy, secure])
        index = await server.register_namespace(NAMESPACE)
        self._build(index)
        targets = {
            self._node_id(index, actuator.address): actuator
            for actuator in self._site.actuators.values()
            if actuator.kind == "opcua" and actuator.source == self._source.id
        }
        for node in targets:
            self._make_writable(node)
        watchdog = self._build_watchdog(index)
        server.iserver.attribute_service = _PlantAttributes(
            server.iserver.aspace, targets, self._hook, watchdog
        )
        try:
            await server.start()
        except OSError as error:
            raise UnreachableError(
                f"the simulated plant can't listen on {self._source.endpoint}: {error.strerror or error}; "
                "end the other program or change the endpoint in site.yaml"
            ) from None

    @property
    def is_read(self) -> bool:
        """Whether somebody has subscribed to something."""
        return bool(self._server.iserver.subscription_service.subscriptions)

    async def stop(self) -> None:
        """Close every session and the port."""
        await self._server.stop()

    async def show(
        self, places: Iterable[int], values: Sequence[float], time_ns: Sequence[int], status: Sequence[int]
    ) -> None:
        """Set the points at `places` (as in `points`); source times are wall-clock ns."""
        space = self._server.iserver.aspace
        for place, value, at_ns, code in zip(places, values, time_ns, status, strict=True):
            data_value = _data_value(value, moment_of(at_ns), code)
            await space.write_attribute_value(self._nodes[place], ua.AttributeIds.Value, data_value)

    async def show_tripped(self, is_tripped: bool) -> None:
        """Set the flag of the watchdog, where there is one."""
        if self._tripped is not None:
            value = ua.DataValue(ua.Variant(is_tripped, ua.VariantType.Boolean))
            await self._server.iserver.aspace.write_attribute_value(
                self._tripped, ua.AttributeIds.Value, value
            )

    async def _load_certificate(self, host: str) -> None:
        folder = self._run_dir / "certificates"
        folder.mkdir(parents=True, exist_ok=True)
        key, certificate = folder / "plant-server.key.pem", folder / "plant-server.der"
        await setup_self_signed_certificate(
            key, certificate, APPLICATION_URI, host, [ExtendedKeyUsageOID.SERVER_AUTH], {}
        )
        key.chmod(0o600)
        await self._server.load_certificate(certificate)
        await self._server.load_private_key(key)

    def _node_id(self, index: int, address: str) -> ua.NodeId:
        prefix = f"nsu={NAMESPACE};"
        if not address.startswith(prefix):
            message = f"the simulated plant can't serve '{address}'"
            raise ConfigurationError([Finding("site", 0, 0, message, f"write {prefix}s=NAME")])
        return ua.NodeId.from_string(f"ns={index};{address.removeprefix(prefix)}")

    def _build(self, index: int) -> None:
        """Objects: site, its units, their assets with parts below them; variables with their properties."""
        objects = ua.NodeId(ua.ObjectIds.ObjectsFolder)
        root = ua.NodeId(self._site.name, index)
        items = [_object(root, objects, self._site.name, index, ua.ObjectIds.FolderType, organizes=True)]
        with_points = {point.asset for point in self.points}
        for name in list(with_points):
            above = self._site.assets[name].part_of
            while above is not None:
                with_points.add(above)
                above = self._site.assets[above].part_of
        for unit in self._site.units.values():
            node = ua.NodeId(f"unit:{unit.id}", index)
            items.append(_object(node, root, unit.id, index, ua.ObjectIds.FolderType, organizes=True))
            for asset in unit.assets:
                if asset.id in with_points:
                    parent = ua.NodeId(asset.part_of, index) if asset.part_of else node
                    items.append(_object(ua.NodeId(asset.id, index), parent, asset.id, index))
        for point in self.points:
            node = self._node_id(index, point.address)
            self._nodes.append(node)
            items += _variable(node, ua.NodeId(point.asset, index), point, index)
        self._add(items)

    def _add(self, items: list[ua.AddNodesItem]) -> None:
        results = self._server.iserver.node_mgt_service.add_nodes(items)
        for item, result in zip(items, results, strict=True):
            if not result.StatusCode.is_good():
                name = item.RequestedNewNodeId.to_string()
                message = f"the simulated plant can't make node {name}: {result.StatusCode.name}"
                raise ConfigurationError([Finding("site", 0, 0, message, "two points with one address?")])

    def _build_watchdog(self, index: int) -> tuple[ua.NodeId, Callable[[int], None]] | None:
        """The node that a client counts at, and beside it `….Tripped`, the flag."""
        watchdog = self._source.watchdog
        if watchdog is None:
            return None
        node = self._node_id(index, watchdog.node)
        self._tripped = self._node_id(index, f"{watchdog.node}.Tripped")
        root = ua.NodeId(self._site.name, index)
        items = [
            _variable_item(
                one,
                root,
                ua.QualifiedName(one.Identifier, index),
                value,
                kind,
                ua.ObjectIds.BaseDataVariableType,
            )
            for one, value, kind in (
                (node, ua.Variant(0, ua.VariantType.UInt32), ua.ObjectIds.UInt32),
                (self._tripped, ua.Variant(False, ua.VariantType.Boolean), ua.ObjectIds.Boolean),
            )
        ]
        self._add(items)
        self._make_writable(node)
        return node, partial(self._count, self._source.id)

    def _make_writable(self, node: ua.NodeId) -> None:
        space = self._server.iserver.aspace
        bits = ua.AccessLevel.CurrentRead.mask | ua.AccessLevel.CurrentWrite.mask
        level = ua.DataValue(ua.Variant(bits, ua.VariantType.Byte))
        for attribute in (ua.AttributeIds.AccessLevel, ua.AttributeIds.UserAccessLevel):
            space[node].attributes[attribute].value = level


def _data_value(value: float, source_time: datetime, status: int) -> ua.DataValue:
    return ua.DataValue(
        ua.Variant(value, ua.VariantType.Double),
        ua.StatusCode(status),
        SourceTimestamp=source_time,
        ServerTimestamp=datetime.now(UTC),
    )


def _object(
    node: ua.NodeId,
    parent: ua.NodeId,
    name: str,
    index: int,
    kind: int = ua.ObjectIds.BaseObjectType,
    organizes: bool = False,
) -> ua.AddNodesItem:
    attributes = ua.ObjectAttributes()
    attributes.DisplayName = ua.LocalizedText(name)
    return ua.AddNodesItem(
        ParentNodeId=parent,
        ReferenceTypeId=ua.NodeId(ua.ObjectIds.Organizes if organizes else ua.ObjectIds.HasComponent),
        RequestedNewNodeId=node,
        BrowseName=ua.QualifiedName(name, index),
        NodeClass=ua.NodeClass.Object,
        NodeAttributes=attributes,
        TypeDefinition=ua.NodeId(kind),
    )


def _variable(node: ua.NodeId, parent: ua.NodeId, point: Point, index: int) -> list[ua.AddNodesItem]:
    """A point as an AnalogItem with EURange and EngineeringUnits; a state, which has no unit, as a DataItem."""
    is_analog = point.engineering_unit != ""
    kind = ua.ObjectIds.AnalogItemType if is_analog else ua.ObjectIds.DataItemType
    value = ua.Variant(0.0, ua.VariantType.Double)
    item = _variable_item(
        node, parent, ua.QualifiedName(point.point_type, index), value, ua.ObjectIds.Double, kind
    )
    if not is_analog:
        return [item]
    properties = (
        ("EURange", ua.Range(point.low, point.high), ua.ObjectIds.Range),
        ("EngineeringUnits", engineering_units(point.engineering_unit), ua.ObjectIds.EUInformation),
    )
    return [item] + [
        _variable_item(
            ua.NodeId(f"{point.id}/{name}", index),
            node,
            ua.QualifiedName(name, 0),
            ua.Variant(content, ua.VariantType.ExtensionObject),
            datatype,
            ua.ObjectIds.PropertyType,
        )
        for name, content, datatype in properties
    ]


def _variable_item(
    node: ua.NodeId, parent: ua.NodeId, name: ua.QualifiedName, value: ua.Variant, datatype: int, kind: int
) -> ua.AddNodesItem:
    attributes = ua.VariableAttributes()
    attributes.DisplayName = ua.LocalizedText(name.Name)
    attributes.Value = value
    attributes.DataType = ua.NodeId(datatype)
    attributes.ValueRank = ua.ValueRank.Scalar
    attributes.AccessLevel = attributes.UserAccessLevel = ua.AccessLevel.CurrentRead.mask
    is_property = kind == ua.ObjectIds.PropertyType
    return ua.AddNodesItem(
        ParentNodeId=parent,
        ReferenceTypeId=ua.NodeId(ua.ObjectIds.HasProperty if is_property else ua.ObjectIds.HasComponent),
        RequestedNewNodeId=node,
        BrowseName=name,
        NodeClass=ua.NodeClass.Variable,
        NodeAttributes=attributes,
        TypeDefinition=ua.NodeId(kind),
    )
