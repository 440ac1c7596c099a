"""What must hold after every run, whatever went wrong in it: the promises of docs/sim.md, one function each.

Rules: each says what is broken in sentences, and names ids and times; nothing here knows what was done to the run, but
for the lives of the actuators, as a command that was taken by a process that ended may be written once more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from gateways.actuators.dead_man import RULE, TRY_S
from gateways.whole.field import Field, Write
from gateways.whole.reference import Reference, is_fact
from gateways.whole.tap import Handed
from rules.engine.inputs import Gap
from rules.site.model import Site

SHOWN: Final = 5
TOLD_NS: Final = 1_500_000_000
"""A receipt that stands on the log for so long, while the actuators live, is known to their ledger."""
SENT_NS: Final = 20_000_000
"""What a write takes from the check of its expiry to the device."""

HEARD_NS: Final = 6_000_000_000
"""What a word of life takes to the actuators at most, a slow reader's three seconds included."""
ANSWERED_NS: Final = 15_000_000_000
"""From the end of an actuator's patience to what became of its fallback."""
FALLBACK: Final = f"{RULE}:"

Life = tuple[int, int]
"""From when to when a process lived, true time in ns."""


def same_answers(reference: Reference) -> Iterator[str]:
    """What the workers said is what undisturbed engines say to the same log."""
    expected, said = reference.expected, reference.said
    for kind, names in (
        ("never said", expected.keys() - said.keys()),
        ("said by no undisturbed engine", said.keys() - expected.keys()),
        (
            "said with other bytes",
            {name for name in expected.keys() & said.keys() if expected[name] != said[name]},
        ),
        ("said twice with different bytes", set(reference.contradictions)),
    ):
        if names:
            facts = sum(is_fact(name) for name in names)
            yield f"{len(names)} outputs ({facts} facts) {kind}, such as {_some(names)}"


def nothing_lost(reference: Reference) -> Iterator[str]:
    """What publishers took is on the log, or a gap tells of it; and the log itself has no holes."""
    missing = sum(engine.counters["inputs_missing"] for engine in reference.engines.values())
    if missing:
        yield f"{missing} sequences are missing on the log"
    gaps: dict[tuple[str, str], list[Gap]] = {}
    for gap in reference.gaps:
        gaps.setdefault((gap.identity.source.removesuffix("/backfill"), gap.unit), []).append(gap)
    untold = [
        (one, at_ns)
        for one, times in reference.accepted.open.items()
        for at_ns in times
        if not _is_told(one, at_ns, gaps.get((one.source, one.unit), ()))
    ]
    if untold:
        kinds = Counter(f"{one.source} {one.kind}" for one, _ in untold)
        yield f"{len(untold)} inputs are on no log and in no gap ({dict(kinds)}), such as {untold[0]}"


def _is_told(one: Handed, at_ns: int, gaps: Sequence[Gap]) -> bool:
    for gap in gaps:
        if gap.reason == "restart" and gap.from_ns <= at_ns <= gap.to_ns:
            return True
        if gap.reason == "spool-full" and gap.from_ns <= one.from_ns and one.to_ns <= gap.to_ns:
            return True
    return False


def nothing_twice(reference: Reference, writes: Sequence[Write], lives: Sequence[Life]) -> Iterator[str]:
    """A command reaches the device again only where nobody could know that it had, and never with another value."""
    by_command: dict[str, list[Write]] = {}
    for write in writes:
        by_command.setdefault(write.command, []).append(write)
    for name, written in by_command.items():
        command = reference.commands.get(name)
        if name.startswith(FALLBACK):
            continue
        if command is None:
            yield f"{name}: the device was written, and no such command is on the log"
            continue
        if any((write.actuator, write.value) != (command.actuator, command.value) for write in written):
            yield f"{name}: something else was written than it says"
        told = [one for one in reference.receipts.get(name, ()) if _was_kept(one.on_log_ns, lives)]
        late = [write for write in written if told and write.at_ns > told[0].on_log_ns + TOLD_NS]
        if late:
            yield f"{name}: written again {(late[0].at_ns - told[0].on_log_ns) / 1e9:.1f} s after its receipt"
        refused = [
            one.status for one in reference.receipts.get(name, ()) if one.status in ("refused", "expired")
        ]
        if refused:
            yield f"{name}: written, and its receipt says {refused[0]}"


def _was_kept(on_log_ns: int, lives: Sequence[Life]) -> bool:
    return any(begin <= on_log_ns and on_log_ns + TOLD_NS <= end for begin, end in lives)


def every_command_answered(reference: Reference, writes: Sequence[Write]) -> Iterator[str]:
    """Each command has a receipt; `done` and `unknown` are as the device saw it."""
    silent = reference.commands.keys() - reference.receipts.keys()
    if silent:
        yield f"{len(silent)} commands without a receipt, such as {_some(silent)}"
    written = {write.command for write in writes}
    unfounded = {
        name
        for name, told in reference.receipts.items()
        if name not in written and any(one.status == "done" for one in told)
    }
    if unfounded:
        yield f"{len(unfounded)} receipts say done, and the device saw nothing: {_some(unfounded)}"
    doubled = {
        name
        for name, told in reference.receipts.items()
        if sum(one.status in ("expired", "refused") for one in told) and len(told) > 1
    }
    if doubled:
        yield f"{len(doubled)} commands were refused or expired, and told twice: {_some(doubled)}"


def none_after_expiry(reference: Reference, writes: Sequence[Write]) -> Iterator[str]:
    """No command reaches a device after its expiry."""
    for write in writes:
        command = reference.commands.get(write.command)
        if command is not None and write.at_ns > command.expires_ns + SENT_NS:
            yield f"{command.id}: written {(write.at_ns - command.expires_ns) / 1e9:.2f} s after its expiry"


def falls_are_due(site: Site, reference: Reference, writes: Sequence[Write], begun_ns: int) -> Iterator[str]:
    """A fallback is written to the value that the site names, and only where Headrace was silent for so long."""
    for write in writes:
        if not write.command.startswith(FALLBACK):
            continue
        actuator = site.actuators[write.actuator]
        if actuator.fallback is None or write.value != actuator.fallback.value:
            yield f"{write.actuator} fell back to {write.value:g}, which the site does not name"
            continue
        words = reference.alive.get(site.assets[actuator.asset].unit, [])
        # it may have been on its way when life returned, and that takes a while to be heard
        tried_ns = write.at_ns - round(TRY_S * 1e9) - HEARD_NS
        heard_ns = [word.on_log_ns for word in words]
        first, last = bisect_right(heard_ns, tried_ns), bisect_right(heard_ns, write.at_ns)
        alive_ns = [begun_ns, *(word.alive_ns for word in words)][first : last + 1]
        ends_ns = (*heard_ns[first:last], write.at_ns)
        silent_ns = max(end_ns - since_ns for since_ns, end_ns in zip(alive_ns, ends_ns, strict=True))
        if silent_ns < actuator.fallback.after_ns - HEARD_NS:
            yield f"{write.actuator} fell back after a silence of {silent_ns / 1e9:.1f} s"


def silence_is_answered(
    site: Site, reference: Reference, writes: Sequence[Write], lives: Sequence[Life]
) -> Iterator[str]:
    """Where a unit was silent for long enough, and the actuators lived, each fell back, or it was said why not."""
    fell: dict[str, list[int]] = {}
    for name in {*(write.command for write in writes), *reference.receipts}:
        if name.startswith(FALLBACK):
            _, fallen, since_ns = name.split(":")
            fell.setdefault(fallen, []).append(int(since_ns))
    for actuator in site.actuators.values():
        if actuator.fallback is None:
            continue
        words, after_ns = (
            reference.alive.get(site.assets[actuator.asset].unit, []),
            actuator.fallback.after_ns,
        )
        for (_, alive_ns), (_, next_ns) in pairwise(words):
            end_ns = alive_ns + after_ns + ANSWERED_NS
            if next_ns < end_ns or not any(begin < alive_ns and end_ns < end for begin, end in lives):
                continue
            if not any(abs(since_ns - alive_ns) < HEARD_NS for since_ns in fell.get(actuator.id, ())):
                silent_s = (next_ns - alive_ns) / 1e9
                yield f"{actuator.id} did not fall back, though its unit was silent for {silent_s:.1f} s"


def cap_holds(field: Field) -> Iterator[str]:
    """The plant never drew more than its cap."""
    site = field.plant.layout.site
    for asset in site.assets.values():
        cap = asset.constants.get("power_cap")
        if cap is not None and asset.constant_units["power_cap"] == "kW" and field.power_kw_max > cap:
            yield f"the plant drew {field.power_kw_max:.0f} kW, its cap is {cap:.0f} kW"


def left_behind(name: str, metrics: Mapping[str, Any]) -> Iterator[str]:
    """What a role that ended because it was told to has not settled, though nothing kept it from that."""
    for source, publisher in metrics.get("publishers", {}).items():
        if publisher["unsent"] and not publisher["disk_failures"]:
            unsent = publisher["unsent"]
            yield f"{name} was stopped, and {unsent} records of {source} are neither sent nor in its spool"
    covered = metrics.get("acknowledged")
    if covered is not None and covered != metrics["positions"]:
        read = metrics["positions"]
        yield f"{name} was stopped, and its snapshots do not cover what it had read: {covered} of {read}"


def _some(names: object) -> str:
    listed: list[str] = sorted(names)  # type: ignore[call-overload]
    return ", ".join(listed[:SHOWN])


def broken(
    reference: Reference, field: Field, lives: Sequence[Life], ends: Mapping[str, Sequence[str]]
) -> list[str]:
    """Everything that does not hold. `ends`: why roles ended by themselves, where nothing explains it."""
    found: list[str] = []
    site = field.plant.layout.site
    for promise in (
        same_answers(reference),
        nothing_lost(reference),
        nothing_twice(reference, field.writes, lives),
        every_command_answered(reference, field.writes),
        none_after_expiry(reference, field.writes),
        falls_are_due(site, reference, field.writes, field.start_ns),
        silence_is_answered(site, reference, field.writes, lives),
        cap_holds(field),
    ):
        said = list(promise)
        found += said[:SHOWN]
        if len(said) > SHOWN:
            found.append(f"and {len(said) - SHOWN} more like these")
    found += [f"the role {role} ended by itself: {why}" for role, reasons in ends.items() for why in reasons]
    return found
