"""The site's nodes in asyncua's address space, each made when somebody asks for it.

Rules: a node is worked out of the model, and forgotten again when many others were asked for since: a site of 15,000
GPUs with 24 fields each takes no memory until somebody looks, and little then. Values are not kept in nodes: they are
asked for where they are (`values`). No node of the site can be written.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from asyncua import ua
from asyncua.server.address_space import AttributeValue, NodeData

from gateways.opcua.engineering_units import engineering_units
from gateways.scada.model import HEARTBEAT_VALUES, Model, Place
from gateways.scada.names import INDEX, SHELVING, SITE, alarm_of, node, text_of

KEPT_MAX: Final = 20_000
_IDS: Final = ua.ObjectIds
_ATTRIBUTES: Final = ua.AttributeIds
_TYPES: Final = ua.VariantType
_OBJECTS: Final = ua.NodeId(_IDS.ObjectsFolder)
_SERVER: Final = ua.NodeId(_IDS.Server)
_READ: Final = ua.AccessLevel.CurrentRead.mask
_HISTORY: Final = ua.AccessLevel.HistoryRead.mask
_TYPE_OF_KIND: Final = {
    "site": _IDS.FolderType,
    "folder": _IDS.FolderType,
    "unit": _IDS.FolderType,
    "asset": _IDS.BaseObjectType,
    "heartbeat": _IDS.BaseObjectType,
    "condition": _IDS.AlarmConditionType,
    "shelving": _IDS.ShelvedStateMachineType,
    "analog": _IDS.AnalogItemType,
    "state": _IDS.DataItemType,
    "value": _IDS.BaseDataVariableType,
    "property": _IDS.PropertyType,
}
_VARIABLES: Final = frozenset({"analog", "state", "value", "property"})
_NOTIFIERS: Final = frozenset({"site", "unit", "asset"})

Read = Callable[[Any], Any]
"""The value of a node as a DataValue."""


class SiteNodes(dict[Any, Any]):
    """The nodes of the standard, and those of a site besides. Takes the place of asyncua's own dictionary.

    `read`: the value of a point, a field or a heartbeat.
    """

    def __init__(self, standard: dict[Any, Any], model: Model, read: Read) -> None:
        super().__init__(standard)
        self._model = model
        self._read = read
        self._made: OrderedDict[Any, Any] = OrderedDict()
        root = model.place(SITE)
        assert root is not None
        self[_OBJECTS].references.append(_reference(_IDS.Organizes, root, True))
        self[_SERVER].references.append(_reference(_IDS.HasNotifier, root, True))

    def get(self, key: Any, default: Any = None) -> Any:
        """The node of an id."""
        if key.NamespaceIndex != INDEX:
            return super().get(key, default)
        made = self._made.get(key)
        if made is None:
            made = self._make(key)
            if made is None:
                return default
            self._made[key] = made
            while len(self._made) > KEPT_MAX:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return made

    def __getitem__(self, key: Any) -> Any:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None

    def _make(self, key: Any) -> Any:
        place = self._place(text_of(key))
        if place is None:
            return None
        data = NodeData(key)
        is_variable = place.kind in _VARIABLES
        _set(data, _ATTRIBUTES.NodeId, key, _TYPES.NodeId)
        _set(data, _ATTRIBUTES.NodeClass, _class_of(place), _TYPES.Int32)
        _set(data, _ATTRIBUTES.BrowseName, _browse_name(place), _TYPES.QualifiedName)
        _set(data, _ATTRIBUTES.DisplayName, ua.LocalizedText(place.name), _TYPES.LocalizedText)
        _set(data, _ATTRIBUTES.Description, ua.LocalizedText(place.description), _TYPES.LocalizedText)
        _set(data, _ATTRIBUTES.WriteMask, 0, _TYPES.UInt32)
        _set(data, _ATTRIBUTES.UserWriteMask, 0, _TYPES.UInt32)
        if is_variable:
            self._set_variable(data, key, place)
        else:
            _set(data, _ATTRIBUTES.EventNotifier, int(place.kind in _NOTIFIERS), _TYPES.Byte)
        data.references = self._references(place)
        return data

    def _set_variable(self, data: Any, key: Any, place: Place) -> None:
        is_kept = self._model.point(place.text) is not None
        access = _READ | (_HISTORY if is_kept else 0)
        _set(data, _ATTRIBUTES.DataType, ua.NodeId(_data_type(place)), _TYPES.NodeId)
        _set(data, _ATTRIBUTES.ValueRank, -1, _TYPES.Int32)
        _set(data, _ATTRIBUTES.AccessLevel, access, _TYPES.Byte)
        _set(data, _ATTRIBUTES.UserAccessLevel, access, _TYPES.Byte)
        _set(data, _ATTRIBUTES.Historizing, is_kept, _TYPES.Boolean)
        _set(data, _ATTRIBUTES.MinimumSamplingInterval, 0.0, _TYPES.Double)
        if place.kind == "property":
            _set(data, _ATTRIBUTES.Value, _property_value(place), _TYPES.ExtensionObject)
        else:
            value = data.attributes[_ATTRIBUTES.Value] = AttributeValue(None)
            value.value_callback = lambda _node, _attribute: self._read(key)

    def _condition(self, text: str) -> Place | None:
        """A condition, or its shelving: for clients that look at a ConditionId; they are not browsed."""
        unit, rule, asset = alarm_of(text)
        if not unit or self._model.place(f"/{unit}") is None:
            return None
        parent = asset if self._model.place(asset) else f"/{unit}"
        if text.endswith(SHELVING):
            return Place(text, "ShelvingState", "shelving", text.removesuffix(SHELVING))
        return Place(text, rule, "condition", parent, (f"{text}{SHELVING}",))

    def _references(self, place: Place) -> list[Any]:
        found = [_type_reference(_TYPE_OF_KIND[place.kind])]
        if place.text == SITE:
            found += [
                _standard_reference(_IDS.Organizes, _OBJECTS, "Objects"),
                _standard_reference(_IDS.HasNotifier, _SERVER, "Server"),
            ]
        above = self._place(place.parent) if place.parent else None
        if above is not None:
            found.append(_reference(_kind_of_reference(above, place), above, False))
        for text in place.children:
            below = self._place(text)
            if below is not None:
                found.append(_reference(_kind_of_reference(place, below), below, True))
                if below.kind in _NOTIFIERS and place.kind in _NOTIFIERS:
                    found.append(_reference(_IDS.HasNotifier, below, True))
        return found

    def _place(self, text: str) -> Place | None:
        return self._condition(text) if ":" in text else self._model.place(text)


def _set(data: Any, attribute: Any, value: Any, kind: Any) -> None:
    data.attributes[attribute] = AttributeValue(ua.DataValue(ua.Variant(value, kind), ua.StatusCode()))


def _class_of(place: Place) -> Any:
    return ua.NodeClass.Variable if place.kind in _VARIABLES else ua.NodeClass.Object


def _browse_name(place: Place) -> Any:
    return ua.QualifiedName(place.name, 0 if place.kind in ("property", "shelving") else INDEX)


def _data_type(place: Place) -> int:
    if place.kind == "property":
        return int(_IDS.EUInformation if place.name == "EngineeringUnits" else _IDS.Range)
    return int(getattr(_IDS, HEARTBEAT_VALUES[place.name]) if place.kind == "value" else _IDS.Double)


def _property_value(place: Place) -> Any:
    assert place.quantity is not None
    if place.name == "EngineeringUnits":
        return engineering_units(place.quantity.engineering_unit)
    return ua.Range(place.quantity.low, place.quantity.high)


def _kind_of_reference(above: Place, below: Place) -> int:
    if below.kind == "property":
        return int(_IDS.HasProperty)
    if below.kind == "condition":
        return int(_IDS.HasCondition)
    is_folder = above.kind in ("site", "folder", "unit") or below.kind == "folder"
    return int(_IDS.Organizes if is_folder else _IDS.HasComponent)


def _reference(kind: int, place: Place, is_forward: bool) -> Any:
    return ua.ReferenceDescription(
        ReferenceTypeId=ua.NodeId(kind),
        IsForward=is_forward,
        NodeId=node(place.text),
        BrowseName=_browse_name(place),
        DisplayName=ua.LocalizedText(place.name),
        NodeClass=_class_of(place),
        TypeDefinition=ua.NodeId(_TYPE_OF_KIND[place.kind]),
    )


def _standard_reference(kind: int, node_id: Any, name: str) -> Any:
    return ua.ReferenceDescription(
        ReferenceTypeId=ua.NodeId(kind),
        IsForward=False,
        NodeId=node_id,
        BrowseName=ua.QualifiedName(name),
        DisplayName=ua.LocalizedText(name),
        NodeClass=ua.NodeClass.Object,
    )


def _type_reference(type_id: int) -> Any:
    return ua.ReferenceDescription(
        ReferenceTypeId=ua.NodeId(_IDS.HasTypeDefinition),
        NodeId=ua.NodeId(type_id),
        BrowseName=ua.QualifiedName(ua.ObjectIdNames[type_id]),
        DisplayName=ua.LocalizedText(ua.ObjectIdNames[type_id]),
        NodeClass=ua.NodeClass.ObjectType,
    )
