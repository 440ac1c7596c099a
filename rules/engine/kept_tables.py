"""A unit's tables as bytes and back, so that a process that starts need not work them out again.

Rules: what comes back is what went in, commands that rules share included; nothing is unpickled. The bytes hold for
the code that wrote them and no other: whoever keeps them has to see to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

import numpy as np

from rules.engine import packed
from rules.engine.facts import Told
from rules.engine.kernel.arrays import Code
from rules.engine.packed import Arrays, PackedError
from rules.engine.tables import Compiled, Spoken
from rules.engine.writer import Slot
from rules.language.program import Target

MAGIC: Final = b"HRTABL03"
_CODES: Final = ("gpu_code", "plant_code")
_SLOTS: Final = ("gpu_slots", "plant_slots")
_PLAIN: Final = ("gpu_rules", "gpus", "shown", "registers")
_PLACE_OF_RULE, _PLACE_OF_GPU = "place_of_rule", "place_of_gpu"
"""The two columns of `order`, of the GPUs' conditions."""
_WHAT: Final = "file of tables"


def pack(compiled: Compiled, key: Mapping[str, str]) -> bytes:
    """As bytes, which say what they are for: `key`."""
    arrays: Arrays = {}
    for field in fields(compiled):
        value = getattr(compiled, field.name)
        if isinstance(value, np.ndarray):
            arrays[field.name] = value
        elif isinstance(value, Code):
            arrays.update({f"{field.name}.{name}": array for name, array in value._asdict().items()})
    arrays.update(_without_gpus(compiled))
    header = {
        "key": dict(key),
        **{name: getattr(compiled, name) for name in _PLAIN},
        **{name: [list(slot) for slot in getattr(compiled, name)] for name in _SLOTS},
        **_spoken_as_json(compiled.rules),
        "points": list(compiled.point_index),
        "plant_assets": compiled.assets[compiled.gpu_conditions :],
        "told": [list(one) for one in compiled.told],
        "fact_rows": compiled.fact_rows,
        "suppresses": compiled.suppresses,
    }
    return packed.pack(MAGIC, header, arrays)


def unpack(data: bytearray, key: Mapping[str, str]) -> Compiled:
    """The tables, whose arrays are views of `data`. Raises PackedError where these are no bytes of `key`."""
    header, arrays = packed.unpack(MAGIC, data, _WHAT)
    if header["key"] != dict(key):
        raise PackedError(f"a {_WHAT} for something else: {header['key']}")
    tables: dict[str, Any] = dict(arrays)
    for code in _CODES:
        tables[code] = Code(*(tables.pop(f"{code}.{name}") for name in Code._fields))
    gpus = tuple(header["gpus"])
    tables.update(_with_gpus(tables, header["gpu_rules"], len(gpus)))
    return Compiled(
        rules=_spoken(header),
        assets=gpus * header["gpu_rules"] + tuple(header["plant_assets"]),
        gpu_rules=header["gpu_rules"],
        gpus=gpus,
        shown=header["shown"],
        registers=tuple(header["registers"]),
        gpu_slots=tuple(Slot(*slot) for slot in header["gpu_slots"]),
        plant_slots=tuple(Slot(*slot) for slot in header["plant_slots"]),
        told=tuple(Told(*one) for one in header["told"]),
        fact_rows=header["fact_rows"],
        suppresses={rule: tuple(others) for rule, others in header["suppresses"].items()},
        point_index={point: index for index, point in enumerate(header["points"])},
        **tables,
    )


def _without_gpus(compiled: Compiled) -> Arrays:
    """What each rule says of each GPU in turn, which is most of the tables, is left out."""
    gpus, width = compiled.gpu_conditions, len(compiled.gpus)
    return {
        "rule_of": compiled.rule_of[gpus:],
        "order": compiled.order[gpus:],
        _PLACE_OF_RULE: compiled.order[: gpus : width or 1, 0],
        _PLACE_OF_GPU: compiled.order[:gpus][:width, 1],
    }


def _with_gpus(tables: dict[str, Any], rules: int, width: int) -> Arrays:
    of_rule, of_gpu = tables.pop(_PLACE_OF_RULE), tables.pop(_PLACE_OF_GPU)
    order = np.stack([np.repeat(of_rule, width), np.tile(of_gpu, rules)], axis=1)
    return {
        "rule_of": np.concatenate([np.repeat(np.arange(rules, dtype=np.int64), width), tables["rule_of"]]),
        "order": np.concatenate([order, tables["order"]]),
    }


def _spoken_as_json(rules: tuple[Spoken, ...]) -> dict[str, Any]:
    """What rules share is written once, and named by its number.

    A rule has its `commands`: assets, and for each of them the targets that are set `together`.
    """
    targets: dict[Target, int] = {}
    together: dict[tuple[Target, ...], int] = {}
    commands: dict[int, int] = {}  # by `id`
    listed: list[list[Any]] = []
    rows: list[list[Any]] = []
    for rule in rules:
        if id(rule.targets) not in commands:
            commands[id(rule.targets)] = len(listed)
            numbers = [together.setdefault(own, len(together)) for own in rule.targets.values()]
            listed.append([list(rule.targets), numbers])
        own_commands = commands[id(rule.targets)]
        rows.append(
            [
                *(rule.id, rule.definition, rule.severity, rule.message, rule.shown),
                *(
                    rule.latches,
                    rule.group,
                    rule.sampled_ns,
                    rule.re_alarm_ns,
                    rule.needs_facts,
                    own_commands,
                ),
            ]
        )
    return {
        "rules": rows,
        "commands": listed,
        "together": [[targets.setdefault(one, len(targets)) for one in group] for group in together],
        "targets": [[one.actuator, one.value, one.engineering_unit, one.expiry_ns] for one in targets],
    }


def _spoken(header: Mapping[str, Any]) -> tuple[Spoken, ...]:
    targets = [Target(*columns) for columns in header["targets"]]
    together = [tuple([targets[number] for number in numbers]) for numbers in header["together"]]
    commands = [
        {asset: together[number] for asset, number in zip(assets, numbers, strict=True)}
        for assets, numbers in header["commands"]
    ]
    return tuple(
        Spoken(id_, definition, severity, message, tuple(shown), commands[number], *more)
        for id_, definition, severity, message, shown, *more, number in header["rules"]
    )
