"""A program's rules for one unit as tables for the kernel, and the state that goes with them.

Rules: the only place that knows both a `Rule` and a `Tables`; a fused kernel or an interpreter would take
its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rules.engine import kernel
from rules.engine.arrays import State, Tables
from rules.engine.kernel import NEVER, OPERATORS, RING
from rules.gpu_fields import FIELD_INDEX
from rules.language.program import GPU_TYPE, Program, Rule
from rules.site.model import Unit

_KINDS: Final = {"value": kernel.VALUE, "rate": kernel.RATE, "no_data": kernel.NO_DATA}

LONG_AGO: Final = -NEVER
"""Before every sample: the newest sample of what was never seen."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """Tables, and what a condition is called: `rules[rule_of[c]]` on the asset `assets[c]`.

    `rules` are those with an asset in this unit, the GPU's first and in program order within; `order` (C, 2)
    is (rule in program order, asset in unit order), by which deadlines of one instant fire. `lanes` are the
    unit's GPUs.
    """

    tables: Tables
    rules: tuple[Rule, ...]
    gpu_rules: int
    assets: tuple[str, ...]
    order: NDArray[np.int64]
    point_index: dict[str, int]
    lanes: tuple[str, ...]
    rings: int

    def conditions_of(self, rule: int) -> NDArray[np.int64]:
        """Conditions of rule `rule` (an index of `rules`), in lane order."""
        return np.flatnonzero(self.tables.condition_rule == rule)


def compile_unit(program: Program, unit: Unit) -> Compiled:
    """The program's tables for one unit."""
    here = {asset.id: index for index, asset in enumerate(unit.assets)}
    gpu = [rule for rule in program.rules if rule.asset_type == GPU_TYPE and unit.gpus]
    plant = [
        rule
        for rule in program.rules
        if rule.asset_type != GPU_TYPE and any(asset in here for asset in rule.assets)
    ]
    rules = (*gpu, *plant)
    conditions: list[tuple[int, str]] = [(row, asset) for asset in unit.gpus for row in range(len(gpu))]
    conditions += [
        (len(gpu) + row, asset) for row, rule in enumerate(plant) for asset in rule.assets if asset in here
    ]
    position = {rule.id: index for index, rule in enumerate(program.rules)}
    point_index = {point.id: index for index, point in enumerate(unit.points)}
    hanging: list[list[int]] = [[] for _ in unit.points]
    for c, (row, asset) in enumerate(conditions):
        if row >= len(gpu):
            hanging[point_index[f"{asset}.{rules[row].signal}"]].append(c)
    rings = np.full(len(conditions), -1, np.int64)
    keeping = [c for c, (row, _) in enumerate(conditions) if rules[row].kind == "rate"]
    rings[keeping] = np.arange(len(keeping))
    tables = Tables(
        rules=np.array([_row(rule) for rule in rules], np.int64).reshape(len(rules), 8),
        limits=np.array(
            [
                [rules[row].limit.of(asset) for row, asset in conditions],
                [rules[row].until.of(asset) for row, asset in conditions],
            ],
            np.float64,
        ).reshape(2, len(conditions)),
        timeouts=np.array([rules[row].timeouts_ns.get(asset, NEVER) for row, asset in conditions], np.int64),
        rings=rings,
        condition_rule=np.array([row for row, _ in conditions], np.int64),
        point_first=np.concatenate([[0], np.cumsum([len(c) for c in hanging])]).astype(np.int64),
        point_conditions=np.array([c for group in hanging for c in group], np.int64),
    )
    order = np.array([(position[rules[row].id], here[asset]) for row, asset in conditions], np.int64)
    return Compiled(
        tables,
        rules,
        len(gpu),
        tuple(asset for _, asset in conditions),
        order.reshape(len(conditions), 2),
        point_index,
        unit.gpus,
        len(keeping),
    )


def _row(rule: Rule) -> list[int]:
    return [
        _KINDS[rule.kind],
        OPERATORS.index(rule.operator),
        OPERATORS.index(rule.until_operator),
        FIELD_INDEX[rule.signal] if rule.asset_type == GPU_TYPE else -1,
        rule.window_ns,
        rule.window_ns // (RING - 2),
        rule.on_delay_ns,
        rule.off_delay_ns,
    ]


def fresh_state(compiled: Compiled) -> State:
    """State before the first input."""
    conditions = len(compiled.assets)
    timers = np.empty((3, conditions), np.int64)
    timers[kernel.DEADLINE] = NEVER
    timers[kernel.REMAINING] = 0
    timers[kernel.CHANGED] = LONG_AGO
    return State(
        timers=timers,
        values=np.full(conditions, np.nan),
        phases=np.zeros((2, conditions), np.int8),
        ring_times=np.zeros((compiled.rings, RING), np.int64),
        ring_values=np.zeros((compiled.rings, RING)),
        ring_ends=np.zeros((compiled.rings, 2), np.int64),
        newest_gpu=np.full(len(compiled.lanes), LONG_AGO, np.int64),
        newest_point=np.full(len(compiled.point_index), LONG_AGO, np.int64),
        next_deadline=np.array([NEVER], np.int64),
    )
