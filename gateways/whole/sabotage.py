"""Does to a run what its schedule says, and heals all of it at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gateways.sim.faults import FAULTS, Fault
from gateways.whole.activations import Operator
from gateways.whole.bus import Network
from gateways.whole.disk import Disk
from gateways.whole.field import Field
from gateways.whole.loop import VirtualLoop
from gateways.whole.process import Process
from gateways.whole.roles import WORKER
from gateways.whole.schedule import Trouble
from streams.bus.memory import MemoryBus
from streams.record import Message, TopicPartition
from streams.topics import EVENTS


class Sabotage:
    """`clock_ns`: by process, how far its clock is off. `down_s`: how long who was killed stays down."""

    def __init__(
        self, loop: VirtualLoop, log: MemoryBus, network: Network, disk: Disk, field: Field,
        processes: Mapping[str, Process], operator: Operator,
        stop_role: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.clock_ns: dict[str, int] = {}
        self.down_s: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        self._loop = loop
        self._log = log
        self._network = network
        self._disk = disk
        self._field = field
        self._operator = operator
        self._stop_role = stop_role
        self._processes = processes
        self._begin: dict[str, Callable[[Trouble], None]] = {
            "kill": self._kill,
            "crash": self._crash,
            "away": self._away,
            "slow-partition": self._slow_partition,
            "slow-reader": self._slow_reader,
            "lose-ack": self._lose_acknowledgements,
            "refuse": self._refuse,
            "repeat": self._repeat,
            "clock": self._clock,
            "disk-full": self._disk_full,
            "server-away": self._server_away,
            "server-deaf": self._server_deaf,
            "plant": self._plant,
            "activate": self._activate,
            "stop": self._stop,
        }

    def begin(self, trouble: Trouble) -> None:
        """It happens now, and ends by itself after its length."""
        self.counts[f"trouble {trouble.kind}"] += 1
        self._begin[trouble.kind](trouble)

    def heal(self) -> None:
        """All is well from here on; the plant keeps what was broken in it."""
        self._come_back()
        network, field = self._network, self._field
        states: tuple[Any, ...] = (
            network.send_delay_s, network.read_delay_s, network.lose_acknowledgements, network.refuse, network.crash,
            self.clock_ns, self._disk.full, field.away, field.deaf,
        )  # fmt: skip
        for state in states:
            state.clear()

    def _later(self, trouble: Trouble, end: Callable[..., Any], *given: Any) -> None:
        self._loop.call_later(trouble.length_s, partial(end, *given))

    def _kill(self, trouble: Trouble) -> None:
        self.down_s[trouble.target] = trouble.length_s
        self._processes[trouble.target].kill()

    def _stop(self, trouble: Trouble) -> None:
        self.down_s[trouble.target] = trouble.length_s
        self._stop_role(trouble.target)

    def _crash(self, trouble: Trouble) -> None:
        self._network.crash[WORKER] = (trouble.target, round(trouble.size))

    def _away(self, trouble: Trouble) -> None:
        self._network.is_away = True
        self._later(trouble, self._come_back)

    def _come_back(self) -> None:
        self._network.is_away = False

    def _slow_partition(self, trouble: Trouble) -> None:
        topic, _, number = trouble.target.partition("/")
        place = TopicPartition(topic, int(number))
        self._network.send_delay_s[place] = trouble.size
        self._later(trouble, self._network.send_delay_s.pop, place, None)

    def _slow_reader(self, trouble: Trouble) -> None:
        self._network.read_delay_s[trouble.target] = trouble.size
        self._later(trouble, self._network.read_delay_s.pop, trouble.target, None)

    def _lose_acknowledgements(self, trouble: Trouble) -> None:
        self._network.lose_acknowledgements[trouble.target] = round(trouble.size)

    def _refuse(self, trouble: Trouble) -> None:
        self._network.refuse[trouble.target] = round(trouble.size)

    def _repeat(self, trouble: Trouble) -> None:
        """The newest records of each partition once more, as from a sender that thinks they failed."""
        count = round(trouble.size)
        for place in self._log.places(EVENTS.name):
            for record in self._log.records_from(place, self._log.end(place) - count):
                copy = Message(record.topic, record.partition, record.key, record.value, record.headers)
                self._log.append(copy)

    def _clock(self, trouble: Trouble) -> None:
        self.clock_ns[trouble.target] = round(trouble.size * 1e9)
        self._later(trouble, self.clock_ns.pop, trouble.target, None)

    def _disk_full(self, trouble: Trouble) -> None:
        self._disk.full.add(trouble.target)
        self._later(trouble, self._disk.full.discard, trouble.target)

    def _server_away(self, trouble: Trouble) -> None:
        self._field.away.add(trouble.target)
        self._later(trouble, self._field.away.discard, trouble.target)

    def _server_deaf(self, trouble: Trouble) -> None:
        self._field.deaf.add(trouble.target)
        self._later(trouble, self._field.deaf.discard, trouble.target)

    def _activate(self, trouble: Trouble) -> None:
        self._operator.begin(trouble.target, trouble.size, trouble.length_s)

    def _plant(self, trouble: Trouble) -> None:
        name, _, target = trouble.target.partition(":")
        size = FAULTS[name].size if trouble.size == 1.0 else trouble.size
        self._field.inject(Fault(name, 0.0, target, size))
        self._later(trouble, self._field.inject, Fault(name, 0.0, target, remove=True))
