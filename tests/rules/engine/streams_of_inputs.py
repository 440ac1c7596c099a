"""Hypothesis strategies: rule programs, and logs with everything that goes wrong on the way to one."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from rules.engine.inputs import Activation, Fact, Frame, Gap, Identity, Input, Readings, Receipt
from rules.gpu_fields import FIELD_COUNT
from rules.language.program import Program
from tests.rules.engine.plant import MS, START, UNIT, S, program, tick

SIGNALS = {
    "GPU": (("temperature", "degC"), ("power_instant", "W"), ("xid", "")),
    "Rack": (("RackLiquidFlow", "L/min"), ("RackPower", "kW")),
    "Pump": (("PumpSpeed", "percent"),),
}
ACTIONS = {
    "GPU": "limit each GPU.power_limit to 500 W",
    "Rack": "limit each GPU.power_limit to 0.5 * default_power_limit",
    "Pump": "set PumpSpeed to 100 percent",
}
NUMBERS = (0.0, 40.0, 49.0, 50.0, 50.5, 51.0, 60.0, 75.0, 100.0)
POINTS = ("R1.RackLiquidFlow", "R2.RackLiquidFlow", "R1.RackPower", "CDU-P1.PumpSpeed", "nowhere.Point")


@st.composite
def rule_texts(draw: st.DrawFn, name: str) -> str:
    """One rule in YAML."""
    kind = draw(st.sampled_from(sorted(SIGNALS)))
    signal, unit = draw(st.sampled_from(SIGNALS[kind]))
    lines = [f"for: {kind}", "severity: high", 'message: "{asset} {value}"']
    shape = draw(st.sampled_from(["value", "value", "rate", "no_data"]))
    if shape == "no_data":
        lines.append(f"when: no_data({signal})")
        if draw(st.booleans()):
            lines.append(f"after: {draw(st.sampled_from(['150 ms', '1 s', '2500 ms']))}")
    else:
        operator = draw(st.sampled_from(["<", "<=", ">", ">="]))
        limit = draw(st.sampled_from(NUMBERS))
        if shape == "rate":
            window = draw(st.sampled_from(["300 ms", "1 s"]))
            lines.append(f"when: rate({signal}, {window}) {operator} {limit - 50} {unit or '1'}/s")
        else:
            lines.append(f"when: {signal} {operator} {limit} {unit}".rstrip())
            if draw(st.booleans()):
                band = {"degC": "K"}.get(unit, unit)
                lines.append(f"deadband: {draw(st.sampled_from([0.5, 2, 20]))} {band}".rstrip())
        for delay in ("on_delay", "off_delay"):
            if draw(st.booleans()):
                lines.append(f"{delay}: {draw(st.sampled_from(['100 ms', '250 ms', '1 s', '3 s']))}")
    if draw(st.booleans()):
        lines.append(f"then: [{{command: {ACTIONS[kind]}}}]")
    return f"  {name}:\n" + "".join(f"    {line}\n" for line in lines)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A program of one to six rules."""
    count = draw(st.integers(1, 6))
    return program("".join(draw(rule_texts(f"rule-{index}")) for index in range(count)))


class _Writer:
    """Numbers the inputs of each source, as a gateway does."""

    def __init__(self) -> None:
        self.at: dict[str, tuple[int, int]] = {}

    def next(self, source: str, skip: int = 0, restart: bool = False) -> Identity:
        epoch, sequence = self.at.get(source, (1, 0))
        epoch, sequence = (epoch + 1, 0) if restart else (epoch, sequence)
        self.at[source] = epoch, sequence + 1 + skip
        return Identity(source, *self.at[source])


@st.composite
def frames(draw: st.DrawFn, writer: _Writer, now_ns: int, trouble: bool) -> Frame:
    samples = draw(st.integers(1, 3))
    gpus = draw(st.lists(st.integers(0, 4 if trouble else 3), min_size=1, max_size=4, unique=not trouble))
    end_ns = now_ns + draw(st.integers(0 if trouble else 60, 90)) * MS
    ingest_ns = end_ns + 5 * MS
    if trouble:
        end_ns += draw(st.sampled_from([0] * 8 + [3600 * S, -3 * S, -1 * S, -100 * MS]))
        ingest_ns += draw(st.sampled_from([0] * 8 + [3600 * S, -3 * S]))
    numbers = draw(st.lists(st.sampled_from(NUMBERS), min_size=samples, max_size=samples))
    values = np.empty((samples, len(gpus), FIELD_COUNT), np.float32)
    values[:] = np.array(numbers, np.float32)[:, None, None] + np.arange(len(gpus), dtype=np.float32)[:, None]
    if draw(st.sampled_from([False, False, True])):
        values[-1, 0, :] = draw(st.sampled_from([np.nan, np.inf]))
    quality = np.zeros((samples, len(gpus)), np.uint8)
    quality[:, 0] = draw(st.sampled_from([0, 0, 0, 1, 2, 3]))
    times = end_ns - 30 * MS * np.arange(samples, dtype=np.int64)[::-1]
    return Frame(
        UNIT,
        writer.next("gpus", draw(_skips) if trouble else 0),
        ingest_ns,
        draw(st.sampled_from(["R1", "R2", "R1-T2"] + ["nowhere"] * trouble)),
        times,
        np.array(gpus, np.uint16),
        values,
        quality,
        np.full((samples, len(gpus)), -1, np.int64),
    )


_skips = st.sampled_from([0] * 9 + [1, 5])


@st.composite
def readings(draw: st.DrawFn, writer: _Writer, now_ns: int, trouble: bool) -> Readings:
    points = draw(st.lists(st.sampled_from(POINTS), min_size=1, max_size=4))
    count = len(points)
    end_ns = now_ns + draw(st.integers(0 if trouble else 60, 90)) * MS
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


@st.composite
def others(draw: st.DrawFn, writer: _Writer, now_ns: int) -> Input:
    kind = draw(st.sampled_from(["gap", "restart", "receipt", "activation", "fact"]))
    if kind == "gap":
        reason = draw(st.sampled_from(["disconnected", "spool-full", "spooled"]))
        return Gap(UNIT, writer.next("plant"), reason, now_ns - S, now_ns, draw(st.integers(0, 9)))
    if kind == "restart":
        return Gap(UNIT, writer.next("gpus", restart=True), "restart", now_ns - S, now_ns, 0)
    if kind == "receipt":
        return Receipt(UNIT, writer.next("actuators"), "c", "CDU-P1.PumpSpeed", "done", 1.0, None, now_ns)
    if kind == "activation":
        return Activation(UNIT, writer.next("site"), "a", "b")
    return Fact(UNIT, writer.next("other"), "f", "R1", now_ns, 1.0, 0)


@st.composite
def logs(draw: st.DrawFn, trouble: bool = True, length: int = 40) -> list[Input]:
    """A log: ticks forward, data about the time of the last one; with `trouble`, whatever can go wrong.

    Without it, no sample is older than the tick before it: the domain in which ticks' density means nothing.
    """
    writer = _Writer()
    now_ns = START
    log: list[Input] = [tick(now_ns)]
    if trouble and draw(st.booleans()):
        log.insert(0, draw(frames(writer, now_ns, False)))
    for _ in range(draw(st.integers(1, length))):
        kinds = ["frame", "frame", "readings", "readings", "tick", "tick"]
        kind = draw(st.sampled_from(kinds + ["other", "again"] * trouble))
        if kind == "frame":
            log.append(draw(frames(writer, now_ns, trouble)))
        elif kind == "readings":
            log.append(draw(readings(writer, now_ns, trouble)))
        elif kind == "tick":
            now_ns += draw(st.sampled_from([100, 100, 200, 500, 900, *([3000, 20_000] * trouble)])) * MS
            log.append(tick(now_ns))
        elif kind == "other":
            log.append(draw(others(writer, now_ns)))
        else:
            log.append(log[draw(st.integers(0, len(log) - 1))])
    log.append(tick(now_ns + 5 * S))
    return log
