"""Which part of a site is silent: from the last words of its roles on the topic `status`.

Rules: what a role says of itself is judged by the code that answers its `/readyz`; that it says nothing any more, only
others can tell.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from gateways.observability.health import Part, parts_of, silence
from rules.site.model import Site
from streams.role import Status


@dataclass(frozen=True, slots=True)
class Silent:
    """A part that does not work. `has_substitute`: another instance of the role does."""

    role: str
    part: str
    why: str
    was_stopped: bool = False
    has_substitute: bool = False


def silent_parts(statuses: Iterable[Status], expected: Collection[str], now_ns: int) -> list[Silent]:
    """Of all roles that have said anything; `expected`: kinds of roles without which the site does not work."""
    fresh, gone = list[Status](), list[tuple[Status, str]]()
    for status in statuses:
        if why := silence(status, now_ns):
            gone.append((status, why))
        else:
            fresh.append(status)
    working = {status["kind"] for status in fresh}
    found = [
        Silent(kind, "role", "has said nothing") for kind in expected
        if kind not in working and all(status["kind"] != kind for status, _ in gone)
    ]  # fmt: skip
    found += [
        Silent(status["role"], "role", why, status["state"] == "stopping", status["kind"] in working)
        for status, why in gone
    ]
    for status in fresh:
        found += [Silent(status["role"], part.name, part.why) for part in _parts(status) if not part.works]
    return found


def _parts(status: Status) -> list[Part]:
    """As they were when it spoke: its word may be seconds old, and a tick may not."""
    try:
        return parts_of(status, int(status["at_ns"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        return [Part("role", "its status can't be read")]


def expected_roles(site: Site, with_alerts: bool) -> Iterator[str]:
    """The roles that a site needs."""
    kinds = {source.kind for source in site.sources.values()}
    yield "ticker"
    yield "worker"
    yield from (role for role in ("opcua", "nvml") if role in kinds)
    if site.actuators:
        yield "actuators"
    if with_alerts:
        yield "alerts"
