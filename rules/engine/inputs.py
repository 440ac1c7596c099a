"""Everything that the engine may react to. Each input has an identity and belongs to one unit.

Identity: (source, epoch, sequence), counted per source *and* unit, from 1 in each epoch. One writer per
source; an epoch is the writer's start time in ns, so that a later writer's epoch is higher. Backfill has a
source of its own (`<source>/backfill`): live data and a drained spool never share a sequence.

Nobody changes an input. Those that come hundreds of times a second are not `frozen` all the same: a frame would take
five times as long to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Identity(NamedTuple):
    """Where an input comes from; equal identities are the same input, however often it arrives."""

    source: str
    epoch: int
    sequence: int


@dataclass(slots=True)
class Frame:
    """GPU telemetry: S samples of G GPUs. A frame may hold a tray, a rack or a row, 1 to N samples.

    time_ns (S,) int64: source time of each sample, ascending. gpu (G,) uint16: index below `asset` in lane
    order. values (S, G, 24) float32, NaN where not available. quality (S, G) uint8 of `Quality`.
    energy_mj (S, G) int64: the exact energy counter, -1 where not available.
    """

    unit: str
    identity: Identity
    ingest_ns: int
    asset: str
    time_ns: NDArray[np.int64]
    gpu: NDArray[np.uint16]
    values: NDArray[np.float32]
    quality: NDArray[np.uint8]
    energy_mj: NDArray[np.int64]
    backfill: bool = False


@dataclass(slots=True)
class Readings:
    """Plant readings: N values of points of one unit. All columns have length N.

    time_ns: source time; server_ns: the OPC UA server's time, 0 where unknown; status: OPC UA status code.
    """

    unit: str
    identity: Identity
    ingest_ns: int
    points: tuple[str, ...]
    time_ns: NDArray[np.int64]
    server_ns: NDArray[np.int64]
    values: NDArray[np.float64]
    quality: NDArray[np.uint8]
    status: NDArray[np.uint32]
    backfill: bool = False


@dataclass(slots=True)
class Tick:
    """The only clock. Sequence = time_ns // tick period, so that a second ticker's ticks are repeats."""

    unit: str
    identity: Identity
    time_ns: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A source says what it could not deliver: sequences, time span and readings lost, and why.

    reason: 'restart', 'disconnected', 'spool-full', 'spooled' (nothing lost: it follows as backfill), 'oversized';
    OPC UA also 'overflow' (a queue of the server's) and 'missed' (a notification message).
    Imports: 'not-recorded' (the file has no rows for the span).
    """

    unit: str
    identity: Identity
    reason: str
    from_ns: int
    to_ns: int
    readings: int


ReceiptStatus = Literal["done", "refused", "expired", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a command: written, read back, or why not. `read_back` None where none was possible."""

    unit: str
    identity: Identity
    command: str
    actuator: str
    status: ReceiptStatus
    value: float
    read_back: float | None
    at_ns: int
    detail: str = ""


ACTIVATION_SOURCE: Final = "activation"
"""Who says activations, whichever program it is: an epoch is the moment at which they were said."""


@dataclass(frozen=True, slots=True)
class Activation:
    """From here on this site file and rule set rule (SHA-256 digests). `at_ns`: when it was said.

    `signer`: the user whose `signature` it is, as an action's; both are "" where a site has no access list.
    """

    unit: str
    identity: Identity
    site_digest: str
    rules_digest: str
    at_ns: int = 0
    signer: str = ""
    signature: str = ""


ACTION_SOURCE: Final = "action:"
"""How the source of actions begins; who acts follows."""

ActionKind = Literal[
    "acknowledge", "confirm", "reset", "shelve", "unshelve", "remove-from-service", "return-to-service", "comment",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Action:
    """What a person does about an alarm. `at_ns`: when they did; `by`: who; `comment`: why, which silences need.

    `occurrence`: the `raised_id` that they saw, without which nothing is acknowledged, confirmed or reset.
    `until_ns`: when a silence ends at the latest; `one_shot`: a shelving ends when the condition returns. `signer`: the
    user whose `signature` it is (Ed25519, hex; `rules/access/signatures.py`): `by`, or an edge that speaks for them.
    Both are "" where a site has no access list, and nothing is looked at.
    """

    unit: str
    identity: Identity
    action: ActionKind
    rule: str
    asset: str
    by: str
    at_ns: int
    occurrence: str = ""
    until_ns: int = 0
    one_shot: bool = False
    comment: str = ""
    signer: str = ""
    signature: str = ""


ACCESS_SOURCE: Final = "access"
"""The source of access lists."""


@dataclass(frozen=True, slots=True)
class AccessList:
    """From here on these users may act, each as their role allows. `at_ns`: when it was signed.

    `users`: by name, as `rules/access/users.py` reads them. `signer`: an admin of the list before, whose `signature` it
    is; of the first list, one of its own.
    """

    unit: str
    identity: Identity
    users: Mapping[str, Any]
    at_ns: int
    signer: str
    signature: str = ""


Signed = Action | AccessList | Activation
"""Inputs that may have to be signed."""

FACT_SOURCE: Final = "fact:"
"""How the source of facts begins; the id of the unit that tells them follows."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A derived reading that another unit's engine sent: what this unit must know of that one.

    `value` is made of the `known` members of `asset` there; quality bad, and both 0, when none is known. Numbers of
    other rules than those of this unit (`rules_digest`) are not believed.
    """

    unit: str
    identity: Identity
    name: str
    asset: str
    time_ns: int
    value: float
    known: int
    quality: int
    rules_digest: str

    @property
    def id(self) -> str:
        """Where it comes from, with the unit for which it is counted."""
        return f"{self.unit}:{self.identity.source}:{self.identity.epoch}:{self.identity.sequence}"


Input = Frame | Readings | Tick | Gap | Receipt | Activation | Action | AccessList | Fact
