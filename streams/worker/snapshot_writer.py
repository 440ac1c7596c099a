"""Snapshots of a worker's units onto the log."""

from __future__ import annotations

import time
from collections.abc import Callable

from rules.site.model import Site
from streams.bus.bus import Producer
from streams.snapshots import Snapshot, snapshot_messages
from streams.worker.counts import Counts
from streams.worker.crash_switch import CrashSwitch
from streams.worker.owned import UnitState


class SnapshotWriter:
    """`log_ids` are those of the log as it is now."""

    def __init__(
        self,
        producer: Producer,
        site: Site,
        partitions: int,
        counts: Counts,
        crash: CrashSwitch,
        clock_s: Callable[[], float],
    ) -> None:
        self._producer = producer
        self._site = site
        self._count = partitions
        self._counts = counts
        self._crash = crash
        self._clock_s = clock_s
        self.log_ids: frozenset[str] = frozenset()

    def capture(self, unit: UnitState, last_record: str) -> Snapshot:
        """The unit as it is between two batches, behind a record of this digest."""
        started_s = time.perf_counter()
        state = unit.engine.snapshot()
        pause_ms = (time.perf_counter() - started_s) * 1e3
        self._counts.snapshot_pause_ms_max = max(self._counts.snapshot_pause_ms_max, pause_ms)
        return Snapshot(
            unit.id,
            unit.number + 1,
            unit.next_offset,
            min(self.log_ids),
            unit.engine.rules_digest,
            self._site.digest,
            state,
            last_record,
        )

    async def send(self, unit: UnitState, snapshot: Snapshot) -> None:
        """It counts only when the broker has its manifest."""
        chunks, manifest = snapshot_messages(snapshot, self._count)
        for sent in [await self._producer.send(chunk) for chunk in chunks]:
            await sent
        self._crash.at("snapshot")
        await (await self._producer.send(manifest))
        unit.number, unit.covered = snapshot.number, snapshot.next_offset
        self._counts.snapshots += 1
        self._counts.snapshot_bytes = len(snapshot.state)
        self._counts.snapshot_at_s = self._clock_s()
