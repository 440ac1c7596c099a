"""Hypothesis strategies: logs with everything that goes wrong on the way to one, and steady runs between.

Numbers come from `terms_of_rules.NUMBERS`, of which the thresholds of its programs are made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from rules.access.users import User, plain_users
from rules.engine.inputs import (
    AccessList,
    Action,
    Activation,
    Fact,
    Frame,
    Gap,
    Identity,
    Input,
    Readings,
    Receipt,
    Tick,
)
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from tests.rules.access.people import PEOPLE, action, listing, user
from tests.rules.engine.plant import MS, START, UNIT, S, tick
from tests.rules.engine.terms_of_rules import NUMBERS

POINTS = (
    "R1.RackLiquidFlow", "R2.RackLiquidFlow", "R1.RackPower", "R2.RackPower", "CDU.LiquidFlow", "CDU-P1.PumpSpeed",
    "CDU-P2.PumpSpeed", "V1.ValvePosition",
)  # fmt: skip
STEADY = 100 * MS
"""From one tick, frame and readings of a steady run to the next."""


class _Writer:
    """Numbers the inputs of each source, as a gateway does."""

    def __init__(self) -> None:
        self.at: dict[str, tuple[int, int]] = {}
        self.has_list = False

    def next(self, source: str, skip: int = 0, restart: bool = False) -> Identity:
        epoch, sequence = self.at.get(source, (1, 0))
        epoch, sequence = (epoch + 1, 0) if restart else (epoch, sequence)
        self.at[source] = epoch, sequence + 1 + skip
        return Identity(source, *self.at[source])


READ = [FIELD_INDEX[name] for name in ("temperature", "power_instant", "xid")]


def _gpu_values(numbers: list[float], gpus: int) -> NDArray[np.float32]:
    """(S, G, 24): each sample starts from its number; fields and GPUs differ by their places in NUMBERS."""
    values = np.empty((len(numbers), gpus, FIELD_COUNT), np.float32)
    values[:] = np.arange(FIELD_COUNT)
    for s, number in enumerate(numbers):
        for g in range(gpus):
            for place, field in enumerate(READ):
                values[s, g, field] = NUMBERS[
                    (NUMBERS.index(number) + g * (place + 1) + 2 * place) % len(NUMBERS)
                ]
    return values


@st.composite
def frames(draw: st.DrawFn, writer: _Writer, now_ns: int, trouble: bool) -> Frame:
    samples, spacing_ns = draw(st.sampled_from([(1, 30 * MS), (2, 30 * MS), (3, 30 * MS), (3, MS), (12, MS)]))
    gpus = draw(st.lists(st.integers(0, 4 if trouble else 3), min_size=1, max_size=4, unique=not trouble))
    end_ns = now_ns + draw(st.integers(0 if trouble else 61, 90)) * MS
    ingest_ns = end_ns + 5 * MS
    if trouble:
        end_ns += draw(st.sampled_from([0] * 8 + [3600 * S, -3 * S, -1 * S, -100 * MS]))
        ingest_ns += draw(st.sampled_from([0] * 8 + [3600 * S, -3 * S]))
    numbers = draw(st.lists(st.sampled_from(NUMBERS), min_size=samples, max_size=samples))
    values = _gpu_values(numbers, len(gpus))
    if draw(st.sampled_from([False, False, True])):
        part = draw(st.sampled_from([slice(None), slice(FIELD_INDEX["temperature"], None), slice(0, 1)]))
        values[-1, 0, part] = draw(st.sampled_from([np.nan, np.inf]))
    quality = np.zeros((samples, len(gpus)), np.uint8)
    quality[:, 0] = draw(st.lists(st.sampled_from([0, 0, 0, 0, 1, 2, 3]), min_size=samples, max_size=samples))
    times = end_ns - spacing_ns * np.arange(samples, dtype=np.int64)[::-1]
    return Frame(
        UNIT,
        writer.next("gpus", draw(_skips) if trouble else 0),
        ingest_ns,
        draw(st.sampled_from(["R1", "R2", "R1-T2", UNIT] + ["nowhere"] * trouble)),
        times,
        np.array(gpus, np.uint16),
        values,
        quality,
        np.full((samples, len(gpus)), -1, np.int64),
    )


_skips = st.sampled_from([0] * 9 + [1, 5])


@st.composite
def readings(draw: st.DrawFn, writer: _Writer, now_ns: int, trouble: bool) -> Readings:
    names = (*POINTS, *["nowhere.Point", "H.ActivePower"] * trouble)
    points = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4))
    count = len(points)
    end_ns = now_ns + draw(st.integers(0 if trouble else 61, 90)) * MS
    times = np.full(count, end_ns, np.int64) - 20 * MS * np.arange(count, dtype=np.int64)[::-1]
    ingest_ns = end_ns + 5 * MS
    source, backfill = "plant", False
    if trouble:
        times += draw(st.sampled_from([0] * 8 + [3600 * S, -3 * S, -1 * S]))
        ingest_ns += draw(st.sampled_from([0] * 8 + [3600 * S]))
        source = draw(st.sampled_from(["plant"] * 5 + ["stranger", "plant/backfill"]))
        backfill = source.endswith("backfill")
    return Readings(
        UNIT,
        writer.next(source, draw(_skips) if trouble else 0, trouble and draw(st.integers(0, 15)) == 0),
        ingest_ns,
        tuple(points),
        times,
        np.zeros(count, np.int64),
        np.array(draw(st.lists(st.sampled_from((*NUMBERS, np.nan)), min_size=count, max_size=count))),
        np.array(
            draw(st.lists(st.sampled_from([0, 0, 0, 0, 1, 2, 3]), min_size=count, max_size=count)), np.uint8
        ),
        np.zeros(count, np.uint32),
        backfill,
    )


RULE_SETS = ("one", "two", "refused", "unheard-of")
"""Digests that an activation may name."""


@st.composite
def activations(draw: st.DrawFn, writer: _Writer, now_ns: int, after_ms: int = -500) -> Activation:
    at_ns = now_ns + draw(st.sampled_from([after_ms, 60, 90])) * MS
    return Activation(UNIT, writer.next("activation"), "a", draw(st.sampled_from(RULE_SETS)), at_ns)


@st.composite
def facts(draw: st.DrawFn, writer: _Writer, now_ns: int, trouble: bool) -> Fact:
    """What the hall tells of its meter, as rules "one" have it or not."""
    at_ns = now_ns + draw(st.integers(0 if trouble else 61, 90)) * MS
    if trouble:
        at_ns += draw(st.sampled_from([0] * 8 + [3600 * S, -3 * S, -1 * S]))
    known = draw(st.sampled_from([1, 1, 1, 0]))
    return Fact(
        UNIT,
        writer.next("fact:hall", draw(_skips) if trouble else 0),
        draw(st.sampled_from(["H.ActivePower"] * 5 + ["f"] * trouble)),
        "H",
        at_ns,
        draw(st.sampled_from(NUMBERS)) if known else 0.0,
        known,
        draw(st.sampled_from([0, 0, 0, 0, 1])) if known else 2,
        draw(st.sampled_from(["one", "one", "two"])),
    )


LISTS = (
    PEOPLE,
    {**PEOPLE, "new": user("new", "admin")},
    {name: one for name, one in PEOPLE.items() if name != "otto"},
    {"ada": User("admin"), "eva": PEOPLE["eva"]},
)
"""Users of lists; the last ones lack an admin with a key."""


@st.composite
def access_lists(draw: st.DrawFn, writer: _Writer, now_ns: int) -> AccessList:
    """One that is taken; or one that is not, for one reason or another."""
    identity = writer.next("access")
    is_good = not writer.has_list or draw(st.booleans())
    writer.has_list = True
    users = draw(st.sampled_from(LISTS[:3]))
    if is_good:
        return listing(users=users, at_ns=now_ns, identity=identity)
    made = listing(
        users=users,
        signer=draw(st.sampled_from(["ada", "ada", "eng", "nobody"])),
        key=draw(st.sampled_from(["", "eva"])),
        at_ns=now_ns + draw(st.sampled_from([0, 61, -61])) * S,
        identity=identity,
    )
    altered: dict[str, Any] = draw(st.sampled_from([{}, {}, {"at_ns": 1}, {"users": plain_users(LISTS[3])}]))
    return replace(made, **altered)


@st.composite
def refused_actions(draw: st.DrawFn, writer: _Writer, now_ns: int) -> Action:
    """What a viewer wants, what is forged, and what is late. The twin acts on nothing.

    An operator's that is ahead of time stays so: a repeat of it, an hour of the log later, is refused as well.
    """
    signer = draw(st.sampled_from(["vic", "vic", "eva", "scada", "panel", "nobody"]))
    by = {"scada": "vic", "panel": "otto"}.get(signer, signer)
    lag_s = (
        draw(st.sampled_from([36_000, -61, -100]))
        if signer == "eva"
        else draw(st.sampled_from([0, 0, 61, -61]))
    )
    return action(
        draw(st.sampled_from(["acknowledge", "shelve", "comment"])),
        signer,
        by,
        key=draw(st.sampled_from(["", "", "otto"])),
        at_ns=now_ns + lag_s * S + 50 * MS,
        identity=writer.next(f"action:{signer}", draw(_skips)),
        asset=draw(st.sampled_from(["R1", "V1"])),
        **draw(st.sampled_from([{}, {"one_shot": True, "until_ns": now_ns}])),
    )


@st.composite
def others(draw: st.DrawFn, writer: _Writer, now_ns: int) -> Input:
    kind = draw(st.sampled_from(["gap", "restart", "receipt", "fact"]))
    if kind == "gap":
        reason = draw(st.sampled_from(["disconnected", "spool-full", "spooled"]))
        return Gap(UNIT, writer.next("plant"), reason, now_ns - S, now_ns, draw(st.integers(0, 9)))
    if kind == "restart":
        return Gap(UNIT, writer.next("gpus", restart=True), "restart", now_ns - S, now_ns, 0)
    if kind == "receipt":
        return Receipt(UNIT, writer.next("actuators"), "c", "CDU-P1.PumpSpeed", "done", 1.0, None, now_ns)
    return draw(facts(writer, now_ns, True))


@st.composite
def steady_runs(draw: st.DrawFn, writer: _Writer, start_ns: int, trouble: bool) -> list[Input]:
    """Ticks, and between them all GPUs or a rack's, and all points or few: what fills windows.

    Numbers change now and then, so that something stands still, and something is frozen. With `trouble` samples may
    come after the tick that passes them.
    """
    steps = draw(st.integers(2, 12))
    asset, gpus = draw(st.sampled_from([(UNIT, [*range(8)]), (UNIT, [7, 2, 0, 1]), ("R1", [0, 1, 2, 3])]))
    points = draw(st.sampled_from([POINTS, POINTS, POINTS[:1], POINTS[4:5] * 3, ()]))
    lags_ms = st.sampled_from([0, 0, 0, 250, 900] if trouble else [0])
    ends_ms = [draw(st.integers(61, 90)) - draw(lags_ms) for _ in range(2)]
    changes = draw(st.sampled_from([1, 2, 7]))
    places = draw(st.lists(st.integers(0, len(NUMBERS) - 1), min_size=steps, max_size=steps))
    samples, count = draw(st.integers(1, 3)), len(points)
    # One after the other, or each older than the one before it: then a condition's time is ahead of its sample.
    ages_ns = 3 * MS * np.arange(count, dtype=np.int64)[::-1]
    if trouble and draw(st.sampled_from([False, False, True])):
        ages_ns = 170 * MS * np.arange(count, dtype=np.int64)
    run: list[Input] = []
    for step, now_ns in enumerate(range(start_ns, start_ns + steps * STEADY, STEADY)):
        place = places[step // changes]
        frame_ns, readings_ns = (now_ns + ms * MS for ms in ends_ms)
        run.append(
            Frame(
                UNIT,
                writer.next("gpus"),
                frame_ns + 5 * MS,
                asset,
                frame_ns - 30 * MS * np.arange(samples, dtype=np.int64)[::-1],
                np.array(gpus, np.uint16),
                _gpu_values([NUMBERS[place]] * samples, len(gpus)),
                np.zeros((samples, len(gpus)), np.uint8),
                np.full((samples, len(gpus)), -1, np.int64),
            )
        )
        if count:
            run.append(
                Readings(
                    UNIT,
                    writer.next("plant"),
                    readings_ns + 5 * MS,
                    points,
                    readings_ns - ages_ns,
                    np.zeros(count, np.int64),
                    np.array([NUMBERS[(place + 2 * n) % len(NUMBERS)] for n in range(count)]),
                    np.zeros(count, np.uint8),
                    np.zeros(count, np.uint32),
                )
            )
        run.append(tick(now_ns + STEADY))
    return run


@st.composite
def logs(draw: st.DrawFn, trouble: bool = True) -> list[Input]:
    """A log: ticks forward, data about the time of the last one; with `trouble`, whatever can go wrong.

    Without it, every sample is of a time behind the tick before it: the domain in which ticks' density means nothing.
    """
    writer = _Writer()
    now_ns = START
    log: list[Input] = [tick(now_ns)]
    if trouble and draw(st.booleans()):
        log.insert(0, draw(frames(writer, now_ns, False)))
    for _ in range(draw(st.sampled_from([2, 10, 20, 40]))):
        kinds = ["frame", "readings", "tick", "run"] * 2 + ["fact", "activation"]
        kind = draw(st.sampled_from(kinds + ["other", "again", "people"] * trouble))
        if kind == "frame":
            log.append(draw(frames(writer, now_ns, trouble)))
        elif kind == "readings":
            log.append(draw(readings(writer, now_ns, trouble)))
        elif kind == "fact":
            log.append(draw(facts(writer, now_ns, trouble)))
        elif kind == "tick":
            now_ns += (
                draw(st.sampled_from([100, 100, 200, 300, 500, 900, 1700, *([3000, 40_000] * trouble)])) * MS
            )
            log.append(tick(now_ns))
        elif kind == "run":
            run = draw(steady_runs(writer, now_ns, trouble))
            log += run
            now_ns += STEADY * len([value for value in run if isinstance(value, Tick)])
        elif kind == "activation":
            log.append(draw(activations(writer, now_ns, -500 if trouble else 60)))
        elif kind == "people":
            is_list = not writer.has_list or draw(st.integers(0, 3)) == 0
            log.append(draw((access_lists if is_list else refused_actions)(writer, now_ns)))
        elif kind == "other":
            log.append(draw(others(writer, now_ns)))
        else:
            log.append(log[draw(st.integers(0, len(log) - 1))])
    log.append(tick(now_ns + 5 * S))
    return log
