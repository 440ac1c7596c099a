"""The sources of a site file, before the assets that they read are known.

Rules: a source's id becomes part of every input's identity, so `ticker` (the clock) and a slash (backfill)
are not for sources; GPUs are sampled at 1 to 10 Hz, plant points no faster than 100 Hz. A source with a finding
stays known as a broken one, so that what refers to it has no finding too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import cast, get_args

from rules.findings import nearest
from rules.site.ids import NAME_ID
from rules.site.model import Source, SourceKind, Watchdog
from rules.strict_yaml import DURATION_NS, Node

KINDS = get_args(SourceKind)
SECURITY_POLICIES = ("None", "Basic256Sha256")
RESERVED = ("ticker", "actuators", "access", "activation")
OWN_KINDS = ("recorder", "alerts", "actuators")
"""What roles of Headrace say of themselves."""

_KEYS = ("kind", "period", "lateness", "clock_tolerance", "options")
ADDRESS_PARTS = ("point", "asset", "object_type", "point_type")
"""What stands in braces in an address."""
_IN_BRACES = re.compile(r"\{([A-Za-z_]+)\}")
_OPCUA_KEYS = ("endpoint", "security", "address", "watchdog")
_WATCHDOG_KEYS = ("node", "every")
_GPU_KEYS = ("assets",)
_ENDPOINT = re.compile(r"opc\.tcp://[^\s/:]+:(\d{1,5})(/\S*)?")
_S = DURATION_NS["s"]


@dataclass(slots=True)
class SourceTable:
    """Sources by id. `addresses`: templates of OPC UA sources; `assets`: what a GPU source names as its own.

    `broken`: those with a finding; where it is about the kind, the source is not among `sources`. `has_all`: there
    are no others, which can't be read.
    """

    sources: dict[str, Source] = field(default_factory=dict)
    keys: dict[str, Node] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    assets: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    has_all: bool = True

    def knows_kinds(self) -> bool:
        """Whether it is certain how many sources of each kind there are."""
        return self.has_all and self.sources.keys() == self.keys.keys()

    def knows_gpus(self) -> bool:
        """Whether the sources say which GPUs they read."""
        return self.knows_kinds() and all(self.sources[name].kind == "opcua" for name in self.broken)


def as_address(node: Node) -> str:
    """The text of an address or its template; names in braces that nothing fills in are reported."""
    text = node.as_text() or ""
    for name in _IN_BRACES.findall(text):
        if name not in ADDRESS_PARTS:
            known = ", ".join(f"{{{part}}}" for part in ADDRESS_PARTS)
            node.report(
                f"unknown placeholder '{{{name}}}'", nearest(name, ADDRESS_PARTS) or f"known are {known}"
            )
    return text


def read_sources(node: Node | None) -> SourceTable:
    """All sources of the file; what is wrong is reported, and the source kept as far as it goes."""
    table = SourceTable(has_all=node is not None and node.is_whole())
    for name, entry in ({} if node is None else node.as_mapping()).items():
        assert node is not None
        key = node.keys[name]
        if not NAME_ID.fullmatch(name) or name in RESERVED:
            hint = f"small letters, digits and -; Headrace itself has {', '.join(RESERVED)}"
            key.report(f"'{name}' can't be the id of a source", hint)
        before = len(node.document.findings)
        _read_source(name, key, entry, table)
        if len(node.document.findings) > before or entry.has_unread_keys:
            table.broken.add(name)
    return table


def _read_source(name: str, key: Node, entry: Node, table: SourceTable) -> None:
    kind = entry.entries["kind"].as_choice(KINDS, "kind") if "kind" in entry.entries else None
    allowed = (
        *_KEYS,
        *(_OPCUA_KEYS if kind in (None, "opcua") else () if kind in OWN_KINDS else _GPU_KEYS),
    )
    required = {"opcua": ("endpoint",), "nvml": ("assets",), "simulator": ("assets",)}.get(kind or "", ())
    fields = entry.fields(allowed if kind else (*allowed, *_GPU_KEYS), required=("kind", *required))
    is_slow = kind in (None, "opcua", "file", *OWN_KINDS)

    def duration(field_name: str, default_ns: int, low_ns: int, high_ns: int) -> int:
        if field_name not in fields:
            return default_ns
        return fields[field_name].as_duration_ns(low_ns, high_ns) or default_ns

    low_ns, high_ns = (_S // 100, 86_400 * _S) if is_slow else (_S // 10, 10 * _S)
    table.keys[name] = key
    source = Source(
        name,
        cast(SourceKind, kind),
        _endpoint(fields.get("endpoint")),
        (fields["security"].as_choice(SECURITY_POLICIES, "policy") if "security" in fields else None)
        or "None",
        (),
        duration("period", _S, low_ns, high_ns),
        duration("lateness", 2 * _S, 1, 3600 * _S),
        duration("clock_tolerance", _S, 1, 3600 * _S),
        _options(fields.get("options")),
        _watchdog(fields.get("watchdog")),
    )
    if kind is not None:
        table.sources[name] = source
    if "address" in fields:
        table.addresses[name] = as_address(fields["address"])
    if "assets" in fields:
        table.assets[name] = tuple(item for item in fields["assets"].as_list_or_one() if item.as_text())


def _watchdog(node: Node | None) -> Watchdog | None:
    if node is None:
        return None
    fields = node.fields(_WATCHDOG_KEYS, required=("node",))
    address = (fields["node"].as_text() or "") if "node" in fields else ""
    if "{" in address:
        fields["node"].report(
            f"'{address}' is no node", "a watchdog is one node of the server: no {placeholders}"
        )
    every_ns = fields["every"].as_duration_ns(_S // 10, 60 * _S) if "every" in fields else _S
    return Watchdog(address, every_ns) if address and every_ns else None


def _endpoint(node: Node | None) -> str:
    text = None if node is None else node.as_text()
    if node is None or text is None:
        return ""
    match = _ENDPOINT.fullmatch(text)
    if match is None or not 0 < int(match[1]) < 65536:
        node.report(f"'{text}' is no OPC UA endpoint", "such as opc.tcp://127.0.0.1:4840/headrace/plant")
    return text


def _options(node: Node | None) -> dict[str, str]:
    if node is None:
        return {}
    options = node.as_mapping()
    for value in options.values():
        if value.kind in ("list", "mapping", "null"):
            value.report("an option is one text or number")
    return {key: value.scalar for key, value in options.items()}
