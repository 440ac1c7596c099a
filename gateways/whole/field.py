"""The field of the simulation: the simulated plant, its servers, what gateways read of it, and its own log of writes.

Rules: the plant moves whatever Headrace does; a write takes effect when it is sent, so that whoever is killed behind it
has written; the device's log is the truth that receipts are held against. `away`: servers that answer nobody. `deaf`:
those that take writes and never say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from gateways.actuators.outcome import Outcome, Task
from gateways.sim.faults import Fault
from gateways.sim.frames import frame_sources
from gateways.sim.plant import Plant
from gateways.sim.telemetry import Telemetry
from gateways.sim.watchdog import Watchdogs
from gateways.whole.process import PROCESS
from rules.site.model import Site

ANSWER_S: Final = 0.004
PATIENCE_S: Final = 10.0
"""How long the actuators' targets wait for a server that is away (`opcua_target`)."""
LOOK_EVERY_S: Final = 0.2
REQUEST_TIMEOUT_S: Final = 2.0
"""How long they wait for an answer."""
_LONGEST_STEP_NS: Final = 1_000_000_000


class Write(NamedTuple):
    """What the device saw: `command` is the id of the command behind it."""

    at_ns: int
    command: str
    actuator: str
    value: float


class Field:
    """`clock` is true time. The physics steps as often as the fastest source is read, once a second at least."""

    def __init__(self, site: Site, seed: int, clock: Callable[[], int], start_ns: int) -> None:
        self.plant = Plant(site, seed)
        self.telemetry = Telemetry(self.plant)
        self.telemetry.update(0.1)
        self.watchdogs = Watchdogs(site)
        self.start_ns = start_ns
        self.frames = frame_sources(site, ("simulator", "nvml"))
        fastest_ns = min([source.period_ns for source in self.frames], default=_LONGEST_STEP_NS)
        self.step_ns = min(fastest_ns, _LONGEST_STEP_NS)
        self.away: set[str] = set()
        self.deaf: set[str] = set()
        self.writes: list[Write] = []
        self.falls: list[Write] = []
        """What the device did by itself, when nobody counted at its watchdog."""
        self.power_kw_max = 0.0
        self._clock = clock

    def inject(self, fault: Fault) -> None:
        """As `Plant.inject`."""
        self.plant.inject(fault)

    async def run(self) -> None:
        """Until cancelled; each step ends at a multiple of its length."""
        while True:
            due_ns = self.start_ns + self.plant.time_ns + self.step_ns
            await asyncio.sleep((due_ns - self._clock()) / 1e9)
            for actuator in self.watchdogs.due(self.plant.time_ns):
                assert actuator.fallback is not None
                self.plant.write(actuator.id, actuator.fallback.value)
                self.falls.append(Write(self._clock(), "watchdog", actuator.id, actuator.fallback.value))
            self.plant.step(self.step_ns / 1e9)
            self.telemetry.update(self.step_ns / 1e9)
            self.power_kw_max = max(self.power_kw_max, self.plant.load_w / 1e3)

    def write(self, task: Task) -> None:
        """One that reaches the device."""
        command = task.command
        self.plant.write(task.actuator.id, command.value)
        self.writes.append(Write(self._clock(), command.id, task.actuator.id, command.value))


class FieldTarget:
    """The actuators' port to one server of the field; it behaves as `opcua_target` does."""

    def __init__(self, field: Field, name: str, clock: Callable[[], int]) -> None:
        self._field = field
        self._name = name
        self._clock = clock
        self._process = PROCESS.get()
        self.refusal = ""

    async def write(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Write and read back while the first of them is not expired; `unknown` for what was perhaps written."""
        give_up_ns = min(
            self._clock() + round(PATIENCE_S * 1e9), *(task.command.expires_ns for task in tasks)
        )
        was_sent = False
        while True:
            if self._name not in self._field.away and self._process is not None and self._process.is_alive:
                was_sent = True
                for task in tasks:
                    self._field.write(task)
                await asyncio.sleep(ANSWER_S)
                if self._name not in self._field.deaf:
                    return [Outcome("done", task.command.value) for task in tasks]
                await asyncio.sleep(REQUEST_TIMEOUT_S)
            await asyncio.sleep(LOOK_EVERY_S)
            if self._clock() > give_up_ns:
                return [Outcome("unknown" if was_sent else "failed", None, "the server is away")] * len(tasks)

    async def count(self, node: str, number: int) -> str:
        """As the servers of production: one write, tried once."""
        if self._name in self._field.away or self._process is None or not self._process.is_alive:
            return "the server is away"
        self._field.watchdogs.count(self._name, number, self._field.plant.time_ns)
        await asyncio.sleep(ANSWER_S)
        return "no answer" if self._name in self._field.deaf else ""

    async def close(self) -> None:
        """Nothing is held."""
