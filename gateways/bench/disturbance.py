"""Bad manners on the log, seeded: records sent twice, readings that are late, out of order or of a clock that is wrong.

Rules: repeats are copies of what stands on the log, to the byte; everything else comes from a source of its own with
proper sequences, so that what follows is the fault of its times alone.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time

from rules.engine.inputs import Frame, Identity, Readings
from rules.errors import UndecodableError
from streams.bus.bus import Bus
from streams.record import Message, Record
from streams.topics import EVENTS
from streams.wire import decode_input, encode_input

SOURCE = "bench-disturbance"
_SHIFTS_NS = {"late": -30_000_000_000, "skewed": 3_600_000_000_000, "out of order": -300_000_000}


class Disturbance:
    """Copies about one record in `one_in`; `counts` says what was done."""

    def __init__(self, bus: Bus, partitions: int, seed: int, one_in: int = 40) -> None:
        self._bus = bus
        self._partitions = partitions
        self._random = random.Random(seed)
        self._one_in = one_in
        self._epoch = time.time_ns()
        self._sequences: dict[str, int] = {}
        self.counts: dict[str, int] = {"repeated": 0, **dict.fromkeys(_SHIFTS_NS, 0)}

    async def run(self, stop: asyncio.Event) -> None:
        """Disturb until `stop`."""
        producer = await self._bus.producer("bench-disturbance")
        reader = await self._bus.reader([EVENTS.name], "latest")
        try:
            while not stop.is_set():
                for record in await reader.read(timeout_s=0.2):
                    if self._random.randrange(self._one_in) == 0:
                        for message in self._disturb(record):
                            await producer.send(message)
            await producer.flush()
        finally:
            await reader.close()
            await producer.close()

    def _disturb(self, record: Record) -> list[Message]:
        try:
            event = decode_input(record.key, record.headers, record.value)
        except UndecodableError:
            return []
        if event.identity.source == SOURCE:
            return []
        kind = self._random.choice(["repeated", *_SHIFTS_NS])
        if kind == "repeated" or not isinstance(event, Frame | Readings):
            self.counts["repeated"] += 1
            return [Message(record.topic, record.partition, record.key, record.value, record.headers)]
        self.counts[kind] += 1
        shift_ns = _SHIFTS_NS[kind]
        sequence = self._sequences[event.unit] = self._sequences.get(event.unit, 0) + 1
        identity = Identity(SOURCE, self._epoch, sequence)
        # late: both clocks agree that it is old; skewed: only the source's clock is off
        ingest_ns = event.ingest_ns + (shift_ns if kind == "late" else 0)
        time_ns = event.time_ns + shift_ns
        moved = dataclasses.replace(event, identity=identity, ingest_ns=ingest_ns, time_ns=time_ns)
        return [encode_input(moved, self._partitions)]
