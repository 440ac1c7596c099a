"""A side that acts on the simulated plant: what rules would have said had their commands changed what follows.

Rules: event time and a seed alone decide what comes, so that both sides have the same plant, noise and faults until a
command differs; a command takes effect in the first step `ACTS_AFTER_NS` after its cause, as its way over the log and
the device takes about as long; facts reach their units as in a replay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateways.sim.event_time import EventTimePlant
from gateways.sim.faults import Fault
from rules.engine.engine import Engine
from rules.engine.outputs import Alarm, Command
from rules.errors import ConfigurationError
from rules.findings import Finding
from streams.facts import Courier
from streams.replay.replayed import Replay, keep
from streams.replay.rules import Chosen

ACTS_AFTER_NS: Final = 200_000_000


def simulated(
    chosen: Chosen, faults: Sequence[Fault], seed: int, end_ns: int, watch: Callable[[int], bool]
) -> tuple[Replay, int]:
    """The rules with the plant of their site from its start to `end_ns`, and when that ended.

    `watch` hears the event time of each step and says whether to go on. Raises ConfigurationError for a site that the
    simulated plant can't be, or that lacks the target of a fault.
    """
    site, program, _ = chosen
    try:
        plant = EventTimePlant(site, seed)
    except (KeyError, IndexError, ValueError) as error:
        message = f"site '{site.name}' can't be simulated: {error!r}"
        raise ConfigurationError([Finding("--closed-loop", 0, 0, message)]) from None
    for fault in faults:
        plant.inject(fault)
    engines = {unit: Engine(program, site, unit) for unit in site.units}
    courier = Courier()
    result = Replay(site, program)
    waiting: list[Command] = []
    while plant.now_ns < end_ns and not result.is_partial:
        due = [one for one in waiting if one.cause_ns + ACTS_AFTER_NS <= plant.now_ns]
        waiting = [one for one in waiting if one.cause_ns + ACTS_AFTER_NS > plant.now_ns]
        for command in due:
            plant.plant.write(command.actuator, command.value)
        for unit, inputs in plant.step().items():
            for value in inputs:
                outputs = engines[unit].step([*courier.due(value), value])
                courier.take(outputs)
                for output in outputs:
                    if isinstance(output, Alarm | Command):
                        keep(output, result)
                waiting += [output for output in outputs if isinstance(output, Command)]
        result.is_partial = not watch(plant.now_ns)
    result.facts_made = courier.delivered
    return result, plant.now_ns
