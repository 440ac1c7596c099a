"""Eight units over six partitions, and two minutes of their inputs.

In the inputs are late, repeated and out-of-order samples, a restart of a source, a gap, receipts, garbage, and other
rules that are activated in the middle. Rows need what the hall tells, and the hall what the rows tell.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import orjson

from rules.engine.inputs import Activation, Frame, Gap, Identity, Input, Readings, Receipt, Tick
from rules.gpu_fields import FIELD_COUNT, FIELD_INDEX
from streams.record import Message, Record
from streams.recording.recorded_site import recording_metadata, site_attachments
from streams.recording.recording import RecordingWriter
from streams.rule_sets.rule_set import RuleSet, rule_set_message
from streams.site_folder import SITE_FILE
from streams.topics import ALARMS, COMMANDS, EVENTS, JOURNAL, partition_of
from streams.wire import encode_input

S = 1_000_000_000
MS = 1_000_000
T0 = 1_767_225_600 * S
ROWS = ("a", "b", "d", "f", "g", "k", "m")
"""With `hall` they have members in each of six partitions."""
LIVE_PARTITIONS = 3
STEPS = 240
STEP_NS = 500 * MS
RELOAD_AT = 120
GARBAGE = b"\0garbage"
OUTPUTS = (ALARMS.name, COMMANDS.name, JOURNAL.name)


def _row(name: str) -> str:
    return f"""
  row-{name}:
    assets:
      R-{name}: rack
      P-{name}: {{type: Pump, points: {{PumpSpeed: 0..100 %}}, actuators: {{PumpSpeed: {{default: 80 %}}}}}}"""


SITE = f"""
name: many
tick: 500 ms
rules: [rules]
sources:
  plc:
    kind: opcua
    endpoint: opc.tcp://127.0.0.1:4840/plant
    address: ns=2;s={{point}}
    period: 1 s
  gpus: {{kind: simulator, assets: [{", ".join(f"R-{name}" for name in ROWS)}], period: 500 ms}}
templates:
  gpu:
    type: GPU
    actuators: {{power_limit: {{range: 500..1600 W, default: 1400 W}}}}
  rack:
    type: Rack
    points: {{RackPower: 0..200 kW, RackLiquidFlow: 0..300 L/min}}
    contains: {{"-G[1..2]": gpu}}
units:
  hall:
    assets:
      H: {{type: PowerMeter, points: {{ActivePower: 0..1500 kW}}, feeds: [{", ".join(f"R-{n}" for n in ROWS)}]}}
{"".join(map(_row, ROWS))}
"""
RULES = """
rules:
  hot:
    for: GPU
    when: temperature > 80 degC
    until: temperature < 75 degC
    on_delay: 1 s
    severity: high
    message: "{asset} {value:.1f}"
    then: [{command: limit each GPU.power_limit to 900 W}]
  flow-low:
    for: Rack
    when: avg(RackLiquidFlow, 4 s) < 60 L/min
    deadband: 5 L/min
    severity: medium
    message: "{asset} {value:.1f}"
  silent:
    for: Rack
    when: no_data(RackLiquidFlow)
    severity: low
    message: "{asset} says nothing"
  pump-slow:
    for: Pump
    when: PumpSpeed < 40 percent
    deadband: 5 percent
    on_delay: 2 s
    severity: high
    message: "{asset} {value:.0f}"
    then: [{command: set PumpSpeed to 100 percent}]
  total:
    for: PowerMeter
    when: sum(Rack.RackPower) > 520 kW
    deadband: 10 kW
    severity: medium
    message: "{asset} {value:.1f}"
  shed:
    for: Rack
    when: PowerMeter.ActivePower > 560 kW
    deadband: 20 kW
    severity: high
    message: "{asset} {value:.1f}"
    then: [{command: limit each GPU.power_limit to 700 W}]
"""
FIRST = RuleSet({SITE_FILE: SITE, "rules/many.yaml": RULES})
OTHER = RuleSet(
    {SITE_FILE: SITE, "rules/many.yaml": RULES.replace("520 kW", "480 kW").replace("80 degC", "78 degC")}
)


@dataclass
class _Sequences:
    next: dict[tuple[str, str, int], Iterator[int]] = field(default_factory=dict)

    def identity(self, unit: str, source: str, epoch: int) -> Identity:
        numbers = self.next.setdefault((unit, source, epoch), count(1))
        return Identity(source, epoch, next(numbers))


def _readings(unit: str, identity: Identity, at_ns: int, point: str, value: float) -> Readings:
    zero = np.zeros(1, np.int64)
    return Readings(
        unit, identity, at_ns, (point,), np.array([at_ns]), zero, np.array([value]),
        zero.astype(np.uint8), zero.astype(np.uint32),
    )  # fmt: skip


def _frame(unit: str, identity: Identity, at_ns: int, asset: str, temperature: float) -> Frame:
    values = np.full((1, 2, FIELD_COUNT), np.nan, np.float32)
    values[:, :, FIELD_INDEX["temperature"]] = (temperature, temperature - 20)
    quality, energy = np.zeros((1, 2), np.uint8), np.full((1, 2), -1, np.int64)
    return Frame(
        unit,
        identity,
        at_ns,
        asset,
        np.array([at_ns]),
        np.arange(2, dtype=np.uint16),
        values,
        quality,
        energy,
    )


def inputs(seed: int = 1) -> list[list[Message]]:
    """What the gateways send, by steps of half a second."""
    draw = random.Random(seed)
    known = _Sequences()
    site = FIRST.load_site()
    steps: list[list[Message]] = []
    for step in range(STEPS):
        at_ns = T0 + step * STEP_NS
        values: list[Input] = []
        if step == 0:
            values += [
                Activation(unit, Identity("activation", T0, 1), site.digest, FIRST.digest, T0)
                for unit in site.units
            ]
        if step == RELOAD_AT:
            values += [
                Activation(unit, Identity("activation", at_ns, 1), site.digest, OTHER.digest, at_ns)
                for unit in site.units
            ]
        for unit in site.units:
            values.append(Tick(unit, Identity("ticker", 0, at_ns // STEP_NS), at_ns))
            values += _samples(unit, step, at_ns + 100 * MS, known, draw)
        messages = [encode_input(value, LIVE_PARTITIONS) for value in values]
        if step % 50 == 20:
            messages.append(
                Message(
                    EVENTS.name,
                    partition_of("row-a", LIVE_PARTITIONS),
                    b"row-a",
                    GARBAGE,
                    (("schema", b"tick/1"),),
                )
            )
        if step in (0, RELOAD_AT - 5):
            messages.insert(0, rule_set_message(FIRST if step == 0 else OTHER))
        steps.append(messages)
    return steps


def _samples(unit: str, step: int, at_ns: int, known: _Sequences, draw: random.Random) -> list[Input]:
    epoch = T0 + (step >= 150)  # the PLC's gateway is started again
    if unit == "hall":
        power = 500.0 + 80 * (step % 60 > 35) + draw.random()
        return [_readings(unit, known.identity(unit, "plc", epoch), at_ns, "H.ActivePower", power)]
    name = unit.removeprefix("row-")
    own = ROWS.index(name)
    made: list[Input] = []
    if step == 150:
        made.append(Gap(unit, known.identity(unit, "plc", epoch), "restart", at_ns - 2 * S, at_ns, 0))
    wave = (step + 7 * own) % 48
    values = {
        f"R-{name}.RackPower": 60 + 15 * (wave > 24) + draw.random(),
        f"R-{name}.RackLiquidFlow": 50.0 + 40 * (wave < 30) + 5 * draw.random(),
        f"P-{name}.PumpSpeed": 30.0 if 12 < wave < 20 else 80.0,
    }
    is_silent = 180 <= step < 200 and own == 2
    for point, value in values.items():
        if is_silent and point.endswith("Flow"):
            continue
        if draw.random() < 0.02:
            known.identity(unit, "plc", epoch)  # one that never comes: a gap
        late_ns = draw.choice((700 * MS, 30 * S)) if draw.random() < 0.03 else 0
        one = _readings(unit, known.identity(unit, "plc", epoch), at_ns - late_ns, point, value)
        made += [one, one] if draw.random() < 0.03 else [one]
    hot = 85.0 if 5 < (step + 3 * own) % 40 < 15 else 60.0
    made.append(_frame(unit, known.identity(unit, "gpus", T0), at_ns, f"R-{name}", hot + draw.random()))
    if step % 25 == own:
        receipt = f"{unit}:pump-slow:P-{name}:{at_ns}:0", f"P-{name}.PumpSpeed"
        made.append(
            Receipt(unit, known.identity(unit, "actuators", T0), *receipt, "done", 100.0, 100.0, at_ns)
        )
    if draw.random() < 0.02:
        draw.shuffle(made)  # a repeat, a gap and a later one in any order
    return made


def said(records: Sequence[Record]) -> dict[tuple[str, str], dict[str, bytes]]:
    """By topic and unit: bytes by id, in the order in which they were first said. No id has two contents."""
    found: dict[tuple[str, str], dict[str, bytes]] = {}
    for record in records:
        if record.topic not in OUTPUTS:
            continue
        assert record.value is not None
        output = orjson.loads(record.value)
        known = found.setdefault((record.topic, output["unit"]), {}).setdefault(output["id"], record.value)
        assert known == record.value, f"{output['id']} has two contents"
    return found


def in_order(
    found: dict[tuple[str, str], dict[str, bytes]],
) -> dict[tuple[str, str], list[tuple[str, bytes]]]:
    """What was said, so that its order counts in a comparison."""
    return {place: list(ids.items()) for place, ids in found.items()}


def write(path: Path, records: Sequence[Record]) -> None:
    """As the recorder does."""
    attachments = site_attachments(FIRST)
    with RecordingWriter(
        path, attachments=attachments, metadata=recording_metadata(FIRST.load_site(), attachments)
    ) as writer:
        for record in records:
            writer.write(record, T0 + record.timestamp_ms * MS)
