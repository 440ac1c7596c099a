"""The site file: from YAML text to a `Site`, or to everything that is wrong with it.

Rules: pure (`streams/site_folder.py` reads the file); every finding at once, sorted by place; a site is
handed out only when no finding is an error; the same text gives the same site, and its digest is that of the
text.

    name, tick, fact_period, alarms, access, rules    the site itself
    sources                where readings come from            rules/site/sources.py
    templates, units       what stands where and is measured   rules/site/spec.py, rules/site/expand.py
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rules.findings import Finding
from rules.site.expand import Expansion, nearest_asset
from rules.site.model import Actuator, Site, Source
from rules.site.sources import SourceTable, read_sources
from rules.site.spec import SpecReader, expand_key
from rules.strict_yaml import DURATION_NS, Node, load

KEYS = ("name", "tick", "fact_period", "alarms", "access", "rules", "sources", "templates", "units")
TICK_NS = 100 * DURATION_NS["ms"]
FACT_PERIOD_NS = DURATION_NS["s"]
ALARM_KEYS = {
    "shelving_max": (1, 400 * DURATION_NS["d"]),
    "out_of_service_max": (1, 400 * DURATION_NS["d"]),
    "hold_off": (0, 2 * DURATION_NS["s"]),
    "action_expiry": (DURATION_NS["s"], DURATION_NS["h"]),
}
"""Keys of `alarms`, each with the shortest and the longest time that it may be; `model.Site` has what they are else."""
FLOOD_KEY = "flood_limit"


def parse_site(text: str, file: str) -> tuple[Site | None, list[Finding]]:
    """The site of `text` and every finding; `file` is only a name. No site when a finding is an error."""
    root, findings = load(text, file)
    site = None if root is None else _read(root, text)
    unique = sorted(dict.fromkeys(findings))
    return (None if any(finding.severity == "error" for finding in unique) else site), unique


def _read(root: Node, text: str) -> Site | None:
    fields = root.fields(KEYS, required=("name", "sources", "units"))
    name = fields["name"].as_text() if "name" in fields else None
    shortest_ns, longest_ns = 10 * DURATION_NS["ms"], 10 * DURATION_NS["s"]
    periods_ns = {
        key: fields[key].as_duration_ns(shortest_ns, longest_ns)
        for key in ("tick", "fact_period")
        if key in fields
    }
    paths = fields["rules"].as_list_or_one() if "rules" in fields else ()
    alarms = fields["alarms"].fields((*ALARM_KEYS, FLOOD_KEY)) if "alarms" in fields else {}
    flood = alarms.pop(FLOOD_KEY, None)
    of_alarms: dict[str, Any] = {
        f"{key}_ns": node.as_duration_ns(*ALARM_KEYS[key]) for key, node in alarms.items()
    }
    if flood is not None:
        of_alarms[FLOOD_KEY] = flood.as_integer(1, 100_000)
    access = fields["access"].fields(("root_key",)) if "access" in fields else {}
    table = read_sources(fields.get("sources"))
    reader = SpecReader(fields.get("templates"), root.is_whole(KEYS), table)
    reader.all_templates()
    expansion = Expansion(reader)
    expansion.read(fields.get("units"))
    sources, source_of_gpu = _assign_gpus(table, expansion)
    _check_nvml_actuators(sources, source_of_gpu, expansion)
    _check_addresses(table, expansion)
    actuators = expansion.build_actuators(source_of_gpu)
    _check_watchdogs(table, actuators)
    if not root.document.findings:
        _warn_of_unused(fields.get("templates"), reader, table, expansion)
    site = Site(
        name=name or "",
        digest=text_digest(text),
        tick_ns=periods_ns.get("tick") or TICK_NS,
        units=expansion.units,
        assets=expansion.assets,
        points=expansion.points,
        sources=sources,
        actuators=actuators,
        rule_paths=tuple(path for node in paths if (path := node.as_text())),
        fact_period_ns=periods_ns.get("fact_period") or FACT_PERIOD_NS,
        root_key=_public_key(access.get("root_key")),
    )
    return replace(site, **{key: ns for key, ns in of_alarms.items() if ns is not None})


def _public_key(node: Node | None) -> str:
    text = (node.as_text() or "") if node is not None else ""
    if node is not None and text and not re.fullmatch("[0-9a-f]{64}", text):
        node.report(f"'{text}' is no public key", "64 digits, as `headrace users key` prints them")
    return text


def text_digest(text: str) -> str:
    """The digest of the site that a file's text describes."""
    return hashlib.sha256(text.encode()).hexdigest()


def _assign_gpus(table: SourceTable, expansion: Expansion) -> tuple[dict[str, Source], dict[str, str]]:
    """The sources with their assets, and the source of each GPU: exactly one."""
    sources = dict(table.sources)
    owner: dict[str, str] = {}
    unread: list[Node] = []
    for name, nodes in table.assets.items():
        assets: list[str] = []
        for node in nodes:
            ids = [expanded.id for expanded in expand_key(node)]
            readable = _readable(node, ids, expansion)
            assets += readable
            if not ids or len(readable) < len(ids):
                unread.append(node)
            _claim(node, name, ids, expansion, owner)
        if name in sources:
            sources[name] = replace(sources[name], assets=tuple(dict.fromkeys(assets)))
    orphans = [gpu for gpu in expansion.gpu_index if gpu not in owner]
    if orphans and not unread and table.knows_gpus():
        those = orphans[0] if len(orphans) == 1 else f"{orphans[0]} and {len(orphans) - 1} more GPUs"
        expansion.keys[orphans[0]].report(
            f"no source reads {those}", "name their tray or rack in a source's assets"
        )
    return sources, owner


def _readable(node: Node, ids: list[str], expansion: Expansion) -> list[str]:
    unknown = [asset for asset in ids if expansion.is_unknown(asset)]
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        node.report(f"unknown asset '{unknown[0]}'{more}", nearest_asset(unknown[0], expansion.keys))
    without = [asset for asset in ids if asset in expansion.keys and not expansion.gpus_below(asset)]
    if without and not expansion.is_broken(without[0]):
        what = "is a GPU itself" if without[0] in expansion.gpu_index else "has no GPUs"
        node.report(f"'{without[0]}' {what}", "a source reads trays, racks or what else holds GPUs")
    return [asset for asset in ids if asset in expansion.keys and asset not in without]


def _claim(node: Node, source: str, ids: list[str], expansion: Expansion, owner: dict[str, str]) -> None:
    twice: list[str] = []
    for asset in ids:
        for gpu in expansion.gpus_below(asset) if asset in expansion.keys else ():
            if gpu in owner:
                twice.append(gpu)
            owner.setdefault(gpu, source)
    if twice:
        more = f" and {len(twice) - 1} more GPUs are" if len(twice) > 1 else " is"
        node.report(f"{twice[0]}{more} read by '{owner[twice[0]]}' already", "each GPU has one source")


def _warn_of_unused(
    templates: Node | None, reader: SpecReader, table: SourceTable, expansion: Expansion
) -> None:
    """What nothing uses is no error, but rarely meant. Not said beside errors, which may be why it is unused."""
    for template, key in ({} if templates is None else templates.keys).items():
        if template not in reader.used:
            key.report(f"template '{template}' is not used", severity="warning")
    used = {point.source for point in expansion.points.values()}
    for name, source in table.sources.items():
        if name not in used and not source.assets and name not in table.assets:
            table.keys[name].report(f"source '{name}' has no points", severity="warning")


def _check_nvml_actuators(sources: dict[str, Source], owner: dict[str, str], expansion: Expansion) -> None:
    """A GPU whose telemetry is imported can't be set."""
    imported = {name for name, source in sources.items() if source.kind == "file"}
    reported: set[tuple[int, int]] = set()
    for spec, gpu, _, quantity, _ in expansion.actuators if imported else ():
        place = (spec.node.line, spec.node.column)
        if spec.kind == "nvml" and place not in reported and owner.get(gpu) in imported:
            reported.add(place)
            spec.node.report(
                f"'{gpu}.{quantity}' comes from a file", "nothing can be set there: remove the actuator"
            )


def _check_addresses(table: SourceTable, expansion: Expansion) -> None:
    """Two points of a source with one address; said once where the address is written, the source or the point."""
    seen: dict[tuple[str, str], str] = {}
    reported: set[tuple[int, int]] = set()
    for point in expansion.points.values():
        first = seen.setdefault((point.source, point.address), point.id)
        if first == point.id or not point.address:
            continue
        spec = expansion.point_spec(point)
        is_template = spec.address == table.addresses.get(point.source)
        key = table.keys[point.source] if is_template else spec.node
        if (key.line, key.column) not in reported:
            reported.add((key.line, key.column))
            key.report(
                f"{point.id} has the address of {first}",
                f"'{point.address}': use {{point}} or {{asset}} in it",
            )


def _check_watchdogs(table: SourceTable, actuators: Mapping[str, Actuator]) -> None:
    """A counter that is slower than what waits for it; and one for which nothing waits."""
    for name, source in table.sources.items():
        watchdog, key = source.watchdog, table.keys[name]
        if watchdog is None:
            continue
        waiting_ns = [
            one.fallback.after_ns for one in actuators.values() if one.source == name and one.fallback
        ]
        if not waiting_ns and not key.document.findings:
            hint = "name the 'fallback' of an actuator, or remove the watchdog"
            key.report(f"the watchdog of '{name}' watches nothing", hint, severity="warning")
        elif waiting_ns and 3 * watchdog.every_ns > min(waiting_ns):
            slow_s, after_s = watchdog.every_ns / 1e9, min(waiting_ns) / 1e9
            key.report(
                f"the watchdog of '{name}' counts too slowly",
                f"every {slow_s:g} s, and an actuator falls back after {after_s:g} s: a third of that at most",
            )
