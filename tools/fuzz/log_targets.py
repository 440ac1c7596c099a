"""Records of the log: what decodes them, and the engine that is given what was decoded."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from gateways.alerts.store import alarm_bytes
from rules.engine.engine import Engine
from rules.engine.inputs import (
    AccessList,
    Action,
    Activation,
    Fact,
    Frame,
    Gap,
    Identity,
    Input,
    Receipt,
)
from rules.engine.outputs import Alarm, Output
from rules.errors import UndecodableError
from rules.gpu_fields import FIELD_COUNT
from streams.bus.bus import refuse_oversized
from streams.dead_letter import dead_letter
from streams.record import Message, Record, headers_of
from streams.wire import decode_input, decode_output, encode_input, encode_output
from tests.rules.engine.plant import LOW, MS, START, UNIT, S, flow, program, site, tick
from tools.fuzz.mutate import among, of_bytes, of_json
from tools.fuzz.runner import Case

_MORE_RULES: Final = (
    LOW
    + """
  hot:
    for: GPU
    when: temperature > 80 degC
    on_delay: 1 s
    severity: urgent
    message: "{asset} {value}"
    then:
      - command: limit each GPU.power_limit to 500 W
  moves:
    for: Rack
    when: rate(RackLiquidFlow, 10 s) > 5 L/min/s or avg(RackPower, 10 s) > 100 kW
    severity: low
    message: "{asset}"
"""
)


def _frame(samples: int, gpus: int) -> Frame:
    shape = samples, gpus
    return Frame(
        UNIT, Identity("gpus", 5, 1), START, "R1", np.arange(samples, dtype=np.int64) * 100 * MS + START,
        np.arange(gpus, dtype=np.uint16), np.full((*shape, FIELD_COUNT), 50, np.float32), np.zeros(shape, np.uint8),
        np.full(shape, 12, np.int64),
    )  # fmt: skip


def _inputs() -> list[Input]:
    def own(source: str, sequence: int = 1) -> Identity:
        return Identity(source, 5, sequence)

    person = {"role": "operator", "keys": ["ab" * 32]}
    return [
        _frame(1, 4), _frame(10, 8), flow(1, START, 10.0), flow(1, START, 10.0, 20.0, 30.0),
        replace(flow(2, START + S, 5.0), points=("R1.RackPower",)), tick(START), tick(START + 100 * MS),
        Gap(UNIT, own("plant"), "disconnected", START, START + S, 12),
        Receipt(UNIT, own("receipt:plant"), "row:low:R1", "R1-T1-G1.power_limit", "done", 500.0, None, START),
        Activation(UNIT, own("activation"), site().digest, "0" * 64, START),
        Action(UNIT, own("action:eva"), "shelve", "low", "R1", "eva", START, "row:plant:1:1:1", START + S, False, "why", "eva", "00" * 64),
        AccessList(UNIT, own("access"), {"ada": {"role": "admin", "keys": ["ab" * 32]}, "eva": person}, START, "ada", "00" * 64),
        Fact(UNIT, own("fact:hall"), "ActivePower", "H", START, 3.0, 1, 0, "0" * 64),
    ]  # fmt: skip


def _outputs() -> list[Output]:
    engine, said = Engine(program(_MORE_RULES), site(), UNIT), list[Output]()
    given: list[Input] = [
        tick(START), flow(1, START, 10.0), flow(2, START + 4 * S, 10.0), tick(START + 5 * S)
    ]  # fmt: skip
    for one in given:
        said += engine.step([one])
    assert said
    return said


class _Heads:
    """Records as inputs: a byte that says which head they have, and the value."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages
        self.seeds = [bytes([n]) + (one.value or b"") for n, one in enumerate(messages)]
        self.arrow = [seed for seed in self.seeds if seed[1:2] != b"{"]
        self.json = [seed for seed in self.seeds if seed[1:2] == b"{"]

    def make(self, rng: random.Random) -> bytes:
        if self.arrow and rng.random() < 0.5:
            return of_bytes(self.arrow, keep=rng.choice((0, 1, 1, 1)))(rng)
        head = rng.choice(self.json)
        return head[:1] + of_json([head[1:]])(rng)

    def record(self, data: bytes) -> tuple[bytes | None, Any, bytes | None]:
        head = self._messages[(data[0] if data else 0) % len(self._messages)]
        return head.key, head.headers, data[1:]


def _decoded_twice(heads: _Heads, data: bytes) -> None:
    """Twice, because what came is learned from; and what is decoded can be told again."""
    key, headers, value = heads.record(data)
    first = decode_input(key, headers, value)
    assert type(decode_input(key, headers, value)) is type(first)


def wire_inputs(_: Path) -> Case:
    """`decode_input`: every schema."""
    heads = _Heads([encode_input(one, 3) for one in _inputs()])
    return Case(heads.make, lambda data: _decoded_twice(heads, data), (UndecodableError,))


def wire_heads(_: Path) -> Case:
    """`decode_input`: keys and headers, also without a value; and what nobody can read as a dead letter."""
    messages = [encode_input(one, 3) for one in _inputs()]
    parts = [part for one in messages for part in (one.key or b"", *(value for _, value in one.headers))]
    change = of_bytes([part for part in parts if part])

    def make(rng: random.Random) -> bytes:
        places = bytes([rng.randrange(256), rng.randrange(256)])
        return places if rng.random() < 0.05 else places + change(rng)

    def run(data: bytes) -> None:
        one = messages[data[0] % len(messages)]
        places = ["key", *range(len(one.headers))]
        place, part = places[data[1] % len(places)], data[2:] or None
        key = part if place == "key" else one.key
        headers = headers_of(
            (name, part if number == place else value) for number, (name, value) in enumerate(one.headers)
        )
        try:
            decode_input(key, headers, one.value)
        except UndecodableError as error:
            refuse_oversized(dead_letter(Record("events", 0, 0, 0, key, one.value, headers), error))
            raise

    return Case(make, run, (UndecodableError,))


def wire_outputs(_: Path) -> Case:
    """`decode_output`: alarms, commands, entries of the journal."""
    heads = _Heads([encode_output(one, 3) for one in _outputs()])

    def run(data: bytes) -> None:
        _, headers, value = heads.record(data)
        word = decode_output(headers, value)
        if isinstance(word, Alarm):
            alarm_bytes(word)

    return Case(heads.make, run, (UndecodableError,))


def engine_inputs(_: Path) -> Case:
    """`Engine.step` with whatever can be decoded: one record must not stop a unit for good."""
    heads = _Heads([encode_input(one, 3) for one in _inputs()])
    compiled = program(_MORE_RULES)
    fresh = Engine(compiled, site(), UNIT)
    fresh.step([tick(START), flow(1, START, 10.0)])
    engines = [fresh]
    states = fresh.snapshot()
    count = 0

    def run(data: bytes) -> None:
        nonlocal count
        key, headers, value = heads.record(data)
        one = decode_input(key, headers, value)
        count += 1
        if count % 50 == 0:
            engines[0] = Engine(compiled, site(), UNIT)
            engines[0].restore(states)
        engine = engines[0]
        for output in engine.step([one]):
            decoded = encode_output(output, 3)
            if not isinstance(output, Fact):
                decode_output(decoded.headers, decoded.value)
        engine.step([tick(max(engine.now_ns, START) + 100 * MS)])

    return Case(heads.make, run, (UndecodableError,))


LOG_TARGETS: Final = {
    "wire-inputs": wire_inputs,
    "wire-heads": wire_heads,
    "wire-outputs": wire_outputs,
    "engine": engine_inputs,
}
__all__ = ["LOG_TARGETS", "among"]
