"""What the engine knows of each source: its last identity, and what to say of it at the next tick.

Rules: identity is (source, epoch, sequence), as docs/architecture.md states it; nothing here looks at an
input's content.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from rules.engine.cause import Cause
from rules.engine.inputs import FACT_SOURCE, Action, Frame, Gap, Identity, Input, Readings, Receipt
from rules.engine.kernel.codes import NEVER
from rules.engine.outputs import Output, Severity
from rules.engine.register import Detail
from rules.engine.statements import Statements
from rules.engine.tables import LONG_AGO
from rules.language.program import SOURCE_CLOCK, SOURCE_GAP
from rules.site.model import Site, Source

Standing = Literal["next", "joined", "repeat", "gap", "restart"]
"""What an identity is to the last one of its source.

next: what was due. joined: the first that this engine sees, and not the first of its epoch. repeat: seen
before, or of an epoch that is over. gap: sequences are missing. restart: a new epoch that starts at 1.
"""

SOURCE_GAP_SEVERITY: Final[Severity] = "medium"
SOURCE_CLOCK_SEVERITY: Final[Severity] = "medium"
CLOCK_DELAY_NS: Final = 1_000_000_000
"""Times must be off for this long: what a pause has held up arrives all at once, and late for once only."""
CLOCK_HOLD_NS: Final = 10_000_000_000
"""Times must be right for this long: a source of several devices sends those of one, then those of another."""
BACKFILL: Final = "/backfill"
AHEAD_NS: Final = 1_000_000_000
"""What is said of an input is stamped with its own time, but no further ahead of now than this."""

FACTS: Final = Source("", "simulator", lateness_ns=60_000_000_000)
"""A fact goes through two engines: after a hold of the log it lies far behind, and is out of date rather than late."""
UNKNOWN: Final = Source("", "simulator")
"""The allowances of a source that the site file does not name."""

NOTES: Final = ("late", "out-of-order", "repeat")
"""What is journaled once per source and tick, in this order."""


class Admission(NamedTuple):
    """How an identity stands, and which sequences of its epoch are missing (half-open range)."""

    standing: Standing
    first_missing: int = 0
    after_missing: int = 0

    @property
    def missing(self) -> int:
        """How many inputs are missing."""
        return self.after_missing - self.first_missing


_NEXT: Final = Admission("next")


@dataclass(slots=True)
class SourceState:
    """`first_epoch`: the one in which this engine met the source. `notes`: counts since the last tick.

    `tolerance_ns`, `lateness_ns`: as the site file says; `is_known`: whether it names the source.
    `off_since_ns`, `off_last_ns`: the first and the last input whose times were off; more than the hold after the last
    one, it begins anew.
    """

    first_epoch: int
    epoch: int
    sequence: int
    tolerance_ns: int
    lateness_ns: int
    is_known: bool
    is_backfill: bool
    notes: dict[str, int] = field(default_factory=dict)
    off_since_ns: int = LONG_AGO
    off_last_ns: int = LONG_AGO


def admit(known: SourceState | None, identity: Identity) -> Admission:
    """How `identity` stands to the last one of its source; changes nothing."""
    if known is None:
        return _NEXT if identity.sequence == 1 else Admission("joined")
    if identity.epoch == known.epoch:
        due = known.sequence + 1
        if identity.sequence == due:
            return _NEXT
        if identity.sequence < due:
            return Admission("repeat")
        return Admission("gap", due, identity.sequence)
    if identity.epoch < known.epoch:
        return Admission("repeat")
    if identity.sequence == 1:
        return Admission("restart")
    return Admission("gap", 1, identity.sequence)


def sane(time_ns: int) -> int:
    """A time that the kernel can add to without overflow."""
    return min(max(time_ns, 0), NEVER)


class Sources:
    """Every source that a unit has heard of. `notes_due`: the next tick has something to say of one."""

    def __init__(self, site: Site, statements: Statements) -> None:
        self._site = site
        self._statements = statements
        self._known: dict[str, SourceState] = {}
        self.notes_due = False

    def __getitem__(self, name: str) -> SourceState:
        return self._known[name]

    def heard(self) -> dict[str, tuple[int, int]]:
        """The last (epoch, sequence) of each source."""
        return {name: (source.epoch, source.sequence) for name, source in self._known.items()}

    def saved(self) -> list[list[Any]]:
        """For a snapshot."""
        return [
            [name, s.first_epoch, s.epoch, s.sequence, s.notes, s.off_since_ns, s.off_last_ns]
            for name, s in sorted(self._known.items())
        ]

    def adopt(self, saved: Iterable[list[Any]]) -> None:
        """Take over what `saved` gave."""
        self._known = {name: self._state(name, *rest) for name, *rest in saved}
        self.notes_due = any(source.notes for source in self._known.values())

    def _state(
        self, name: str, first_epoch: int, epoch: int, sequence: int, notes: dict[str, int], *off_ns: int
    ) -> SourceState:
        other = FACTS if name.startswith(FACT_SOURCE) else UNKNOWN
        named = self._site.sources.get(name.removesuffix(BACKFILL))
        source = named or other
        return SourceState(
            first_epoch,
            epoch,
            sequence,
            source.clock_tolerance_ns,
            source.lateness_ns,
            named is not None,
            name.endswith(BACKFILL),
            dict(notes),
            *off_ns,
        )

    def is_new_tick(self, identity: Identity) -> bool:
        """Whether a tick is above the last one; its sequences may have holes."""
        known = self._known.get(identity.source)
        if known is None:
            first = self._state(identity.source, identity.epoch, identity.epoch, identity.sequence, {})
            self._known[identity.source] = first
            return True
        if (identity.epoch, identity.sequence) <= (known.epoch, known.sequence):
            self._statements.counters["repeats"] += 1
            return False
        known.epoch, known.sequence = identity.epoch, identity.sequence
        return True

    def is_new(self, value: Input, now_ns: int, cause: Cause, out: list[Output]) -> bool:
        """Whether an input is new; says so when something before it is missing."""
        identity = value.identity
        known = self._known.get(identity.source)
        if (
            known is not None
            and identity.epoch == known.epoch
            and identity.sequence == known.sequence + 1
            and (SOURCE_GAP, identity.source) not in self._statements.active
        ):
            known.sequence = identity.sequence  # as nearly every input: the next, and nothing to say
            return True
        admission = admit(known, identity)
        if known is None:
            known = self._state(identity.source, identity.epoch, identity.epoch, 0, {})
            self._known[identity.source] = known
        elif admission.standing == "repeat":
            self._statements.counters["repeats"] += 1
            self.note(known, "repeat", 1)
            return False
        known.epoch, known.sequence = identity.epoch, identity.sequence
        if admission.standing == "joined":
            detail: Detail = {
                "source": identity.source,
                "epoch": identity.epoch,
                "sequence": identity.sequence,
            }
            self._statements.entry(out, cause, "joined", _time_of(value, now_ns), detail)
        elif admission.standing == "gap" or (
            # Writers of data say what a restart has cost them, those of backfill under their live names; the others
            # have nothing to lose.
            admission.standing == "restart" and isinstance(value, Frame | Readings) and not known.is_backfill
        ):
            self._missing(value, _time_of(value, now_ns), admission, cause, out)
        elif not isinstance(value, Gap) and (SOURCE_GAP, identity.source) in self._statements.active:
            self._gap_over(identity.source, _time_of(value, now_ns), cause, out)
        return True

    def gap(self, value: Gap, now_ns: int, cause: Cause, out: list[Output]) -> None:
        """A source's own word on what it could not deliver."""
        source = value.identity.source
        self._statements.counters["readings_lost"] += value.readings if value.reason != "spooled" else 0
        text = f"{source}: {value.readings} readings not delivered ({value.reason})"
        detail: Detail = {
            "source": source,
            "reason": value.reason,
            "from_ns": value.from_ns,
            "to_ns": value.to_ns,
            "readings": value.readings,
        }
        at_ns = _time_of(value, now_ns)
        met = self._known[source].first_epoch == value.identity.epoch and value.identity.sequence == 1
        if met and value.reason == "restart":
            # The first word of a source that this engine never heard: there is nothing that it missed.
            self._statements.entry(out, cause, "joined", at_ns, detail)
            return
        self._gap_found(out, cause, source, at_ns, float(value.readings), text, detail)

    def clock(
        self, value: Frame | Readings, newest_ns: int, now_ns: int, cause: Cause, out: list[Output]
    ) -> None:
        """Hold the newest time of an input against its arrival: an alarm while the source's clock is not believed."""
        name = value.identity.source
        known = self._known[name]
        active = (SOURCE_CLOCK, name) in self._statements.active
        off_ns = sane(newest_ns) - sane(value.ingest_ns)
        if not active and abs(off_ns) <= known.tolerance_ns and known.off_last_ns != LONG_AGO:
            return
        at_ns = _time_of(value, now_ns)
        if known.off_last_ns == LONG_AGO:  # its gateway may still be starting: what it brings then comes late
            known.off_since_ns, known.off_last_ns = at_ns + CLOCK_HOLD_NS, at_ns
        if abs(off_ns) > known.tolerance_ns:
            if at_ns - known.off_last_ns > CLOCK_HOLD_NS:
                known.off_since_ns = at_ns
            known.off_last_ns = max(known.off_last_ns, at_ns)
            if not active and at_ns - known.off_since_ns >= CLOCK_DELAY_NS:
                off_s = off_ns / 1e9
                text = f"{name}: times are {abs(off_s):.1f} s {'ahead of' if off_ns > 0 else 'behind'} their arrival"
                self._statements.raise_alarm(
                    out, cause, SOURCE_CLOCK, name, SOURCE_CLOCK_SEVERITY, at_ns, off_s, text
                )
        elif active and at_ns - known.off_last_ns >= CLOCK_HOLD_NS:
            text = f"{name}: times are right again"
            self._statements.clear_alarm(out, cause, SOURCE_CLOCK, name, at_ns, off_ns / 1e9, text)

    def note(self, source: SourceState, kind: str, count: int) -> None:
        """Something to say of a source with the next tick."""
        if count:
            source.notes[kind] = source.notes.get(kind, 0) + count
            self.notes_due = True

    def say_notes(self, now_ns: int, cause: Cause, out: list[Output]) -> None:
        """What was noted since the last tick, source by source."""
        for name, source in sorted(self._known.items()):
            for kind in NOTES:
                count = source.notes.get(kind, 0)
                if count:
                    detail: Detail = {"source": name, "count": count}
                    self._statements.entry(out, cause, kind, now_ns, detail)
            source.notes.clear()
        self.notes_due = False

    def _missing(
        self, value: Input, at_ns: int, admission: Admission, cause: Cause, out: list[Output]
    ) -> None:
        source, missing = value.identity.source, admission.missing
        self._statements.counters["inputs_missing"] += missing
        reason, text = "restart-unannounced", f"{source}: started again without a word on what it lost"
        if missing:
            last = admission.after_missing - 1
            reason = "sequence"
            text = f"{source}: {missing} inputs missing, sequence {admission.first_missing} to {last}"
        detail: Detail = {
            "source": source,
            "reason": reason,
            "epoch": value.identity.epoch,
            "first_missing": admission.first_missing,
            "missing": missing,
        }
        self._gap_found(out, cause, source, at_ns, float(missing), text, detail)

    def _gap_found(
        self,
        out: list[Output],
        cause: Cause,
        source: str,
        at_ns: int,
        value: float,
        text: str,
        detail: Detail,
    ) -> None:
        self._statements.counters["gaps"] += 1
        self._statements.entry(out, cause, "gap", at_ns, detail)
        if (SOURCE_GAP, source) not in self._statements.active:
            self._statements.raise_alarm(
                out, cause, SOURCE_GAP, source, SOURCE_GAP_SEVERITY, at_ns, value, text
            )

    def _gap_over(self, source: str, at_ns: int, cause: Cause, out: list[Output]) -> None:
        since_ns = self._statements.active[SOURCE_GAP, source].raised_ns
        text = f"{source}: complete again"
        self._statements.clear_alarm(out, cause, SOURCE_GAP, source, max(at_ns, since_ns), 0.0, text)


def _time_of(value: Input, now_ns: int) -> int:
    """When an input says that it happened, for what is said about the input itself."""
    if isinstance(value, Frame | Readings):
        at_ns = value.ingest_ns
    elif isinstance(value, Receipt | Action):
        at_ns = value.at_ns
    elif isinstance(value, Gap):
        at_ns = value.to_ns
    else:
        at_ns = now_ns
    return sane(at_ns) if now_ns == LONG_AGO else min(sane(at_ns), now_ns + AHEAD_NS)
