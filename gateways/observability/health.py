"""Whether a role is ready, and which part of it is not: from its status alone, as the role, `doctor` and `up` see it.

Rules: pure; nothing here asks the clock or the network. A part that is not the role's own (what a server shows of
others) is said and makes nobody unready: a SCADA server must be reached just then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

TICKLESS_NS: Final = 2_000_000_000
"""A unit without a tick for so long decides nothing in time (docs/architecture.md)."""
SILENT_NS: Final = 10_000_000_000
"""A status is said once a second."""
AHEAD_NS: Final = 2_000_000_000
"""What is from further ahead of the clock is from before it was set back: how old it is, nobody knows."""
READY_STATES: Final = ("ready", "replay")


@dataclass(frozen=True, slots=True)
class Part:
    """`why` is empty for one that works. `is_own`: whether the role is unready without it."""

    name: str
    why: str = ""
    is_own: bool = True

    @property
    def works(self) -> bool:
        """Whether it does."""
        return not self.why


def is_ready(parts: Sequence[Part]) -> bool:
    """Whether a role with these parts does its work."""
    return all(part.works for part in parts if part.is_own)


def parts_of(status: Mapping[str, Any], now_ns: int) -> list[Part]:
    """The parts of a role by its status, the role itself first."""
    metrics: Mapping[str, Any] = status["metrics"]
    state = str(status["state"])
    parts = [Part("role", "" if state in READY_STATES else f"its state is '{state}'")]
    parts += _publishers(metrics)
    parts += _OF_ROLE.get(str(status["kind"]), _nothing)(metrics, now_ns)
    return parts


def silence(status: Mapping[str, Any], now_ns: int) -> str:
    """Why nothing that a status on the log says is true any more; '' while it is fresh."""
    age_ns = now_ns - int(status["at_ns"])
    if status["state"] == "stopping":
        return f"was stopped {_seconds(age_ns)} ago" if age_ns >= 0 else "was stopped"
    return _set_back(age_ns, "its last word") or (
        f"silent for {_seconds(age_ns)}" if age_ns > SILENT_NS else ""
    )


def _publishers(metrics: Mapping[str, Any]) -> Iterator[Part]:
    for source, one in metrics.get("publishers", {}).items():
        state, why = one.get("state"), ""
        if state == "spooling":
            why = f"the broker takes nothing; {one.get('spool_records')} records are in the spool"
        elif state == "ended":
            why = "its publisher has ended"
        yield Part(f"publisher of {source}", why)


def _nothing(_metrics: Mapping[str, Any], _now_ns: int) -> Iterator[Part]:
    return iter(())


def _worker(metrics: Mapping[str, Any], now_ns: int) -> Iterator[Part]:
    if metrics.get("replay"):
        return  # its ticks are of the time that was recorded
    for unit, tick_ns in metrics.get("now_ns", {}).items():
        yield Part(f"ticks of {unit}", _tickless(int(tick_ns), now_ns))


def _ticker(metrics: Mapping[str, Any], now_ns: int) -> Iterator[Part]:
    tick_ns = int(metrics.get("last_tick_ns", 0))
    why = "it holds" if metrics.get("holding") else _tickless(tick_ns, now_ns)
    yield Part("ticks", why)


def _tickless(tick_ns: int, now_ns: int) -> str:
    if not tick_ns:
        return "there was no tick yet"
    age_ns = now_ns - tick_ns
    return _set_back(age_ns, "the last tick") or (
        f"the last tick was {_seconds(age_ns)} ago" if age_ns > TICKLESS_NS else ""
    )


def _set_back(age_ns: int, what: str) -> str:
    return f"the clock was set back: it is {_seconds(-age_ns)} behind {what}" if -age_ns > AHEAD_NS else ""


def _opcua(metrics: Mapping[str, Any], _now_ns: int) -> Iterator[Part]:
    for source, one in metrics.get("sources", {}).items():
        state = one.get("state")
        reason = f": {one['reason']}" if one.get("reason") else ""
        yield Part(f"source {source}", "" if state == "connected" else f"{state}{reason}")


def _nvml(metrics: Mapping[str, Any], _now_ns: int) -> Iterator[Part]:
    yield Part("NVML", str(metrics.get("outage", "")))


def _actuators(metrics: Mapping[str, Any], now_ns: int) -> Iterator[Part]:
    for unit, one in metrics.get("fallback", {}).get("silent", {}).items():
        since = _seconds(now_ns - int(one["since_ns"]))
        yield Part(
            f"unit {unit}", f"its {one['part']} has been silent for {since}: actuators go to their fallback"
        )
    for name, why in metrics.get("refuses", {}).items():
        yield Part(f"target {name}", f"every command is refused: {why}")


def _recorder(metrics: Mapping[str, Any], _now_ns: int) -> Iterator[Part]:
    yield Part("disk", "it has no room: recording stands still" if metrics.get("disk_full") else "")


def _alerts(metrics: Mapping[str, Any], _now_ns: int) -> Iterator[Part]:
    for name, one in metrics.get("channels", {}).items():
        is_dead = one.get("state") == "dead"
        yield Part(f"channel {name}", f"dead: {one.get('last_error')}" if is_dead else "", is_own=False)


def _scada(metrics: Mapping[str, Any], _now_ns: int) -> Iterator[Part]:
    for part in metrics.get("silent", ()):
        yield Part(str(part), "the SCADA server hears nothing of it", is_own=False)


_OF_ROLE: Final[Mapping[str, Callable[[Mapping[str, Any], int], Iterator[Part]]]] = MappingProxyType(
    {
        "worker": _worker,
        "ticker": _ticker,
        "opcua": _opcua,
        "nvml": _nvml,
        "actuators": _actuators,
        "recorder": _recorder,
        "alerts": _alerts,
        "scada": _scada,
    }
)


def _seconds(age_ns: int) -> str:
    return f"{age_ns / 1e9:.1f} s" if age_ns < 100e9 else f"{age_ns / 1e9:.0f} s"
