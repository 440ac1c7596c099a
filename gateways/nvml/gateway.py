"""From NVML into the log: one source, one sample a period, one frame an asset and sample.

Rules: NVML's calls block and may hang, so they run in one thread of their own, which owns NVML; the event loop
only publishes. Nothing is silent: a host without a driver, and a call that hangs, are frames of quality bad once a
second while it lasts, state `degraded`, and a `Gap` from the last sample to the next one afterwards. Late slots
are skipped and counted, never caught up: a reading is of the moment at which it was read. What is due when, what came
after what, and how much was missed goes by a clock that nobody sets: the role's may be set by hours.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateways.nvml.library import Nvml
from gateways.nvml.sampler import Sample, Sampler
from rules.errors import UnreachableError
from rules.gpu_fields import FIELD_COUNT
from rules.quality import Quality
from rules.site.model import Site, Source
from streams.publisher.publisher import Publisher
from streams.role import RoleContext

log = logging.getLogger(__name__)

GAP_PERIODS: Final = 3
"""Sampling that stood still for longer than this many periods is a gap; a shorter slip is a skipped sample."""
BAD_EVERY_S: Final = 1.0
BACKOFF_FIRST_S: Final = 1.0
BACKOFF_LAST_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Taken:
    """A sample. `time_ns`: by the role's clock; `at_s`: by that which nobody sets."""

    sample: Sample
    time_ns: int
    at_s: float


@dataclass(frozen=True, slots=True)
class _Outage:
    """The worker thread can't sample: why."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Block:
    """The GPUs of one asset of the source: `first:last` among the host's devices."""

    unit: str
    asset: str
    first: int
    last: int
    gpu: NDArray[np.uint16]


def gpus_of(site: Site, source: Source) -> tuple[str, ...]:
    """The GPUs of a source in device index order."""
    found: list[str] = []
    for asset in source.assets:
        unit = site.units[site.assets[asset].unit]
        low, high = unit.gpu_range[asset]
        found.extend(unit.gpus[low:high])
    return tuple(found)


def _blocks(site: Site, source: Source) -> tuple[_Block, ...]:
    blocks, first = [], 0
    for asset in source.assets:
        unit = site.assets[asset].unit
        low, high = site.units[unit].gpu_range[asset]
        count = high - low
        blocks.append(_Block(unit, asset, first, first + count, np.arange(count, dtype=np.uint16)))
        first += count
    return tuple(blocks)


class NvmlGateway:
    """One NVML source; says how it goes in the context's state and metrics."""

    def __init__(
        self,
        context: RoleContext,
        source: Source,
        nvml: Nvml,
        publisher: Publisher,
        slow_period_ns: int = 1_000_000_000,
        xid_hold_ns: int = 60_000_000_000,
    ) -> None:
        site, metrics = context.site, context.metrics
        self._context = context
        self.source = source
        self._log = logging.LoggerAdapter(log, {"source": source.id})
        self._publisher = publisher
        self._metrics = metrics
        self._blocks = _blocks(site, source)
        self._period_s = source.period_ns / 1e9
        self._sampler = Sampler(nvml, gpus_of(site, source), slow_period_ns, xid_hold_ns)
        self._gpu_count = self._blocks[-1].last if self._blocks else 0
        self._last_ns, self._last_s = context.clock(), time.monotonic()
        self._bad_s = -math.inf
        self._noted_s = -math.inf
        self._backoff_s = BACKOFF_FIRST_S
        self._outage = ""
        self._stopping = threading.Event()
        self._failed: asyncio.Future[None]
        self._silence: asyncio.TimerHandle
        metrics.update(
            face=nvml.face, gpus=self._gpu_count, frames=0, gaps=0, samples_skipped=0, bad_frames=0
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Sample and publish until `stop`. Raises what the worker thread could not foresee."""
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        self._expect_word()
        # A daemon: a call that never returns must not keep the process from ending.
        thread = threading.Thread(target=self._work, args=(loop,), name=f"nvml {self.source.id}", daemon=True)
        thread.start()
        stopped: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait([stopped, self._failed], return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
        finally:
            stopped.cancel()
            self._failed.cancel()
            self._silence.cancel()
            self._stopping.set()
            await asyncio.to_thread(thread.join, 2 * self._period_s)

    def _hear(self, item: _Taken | _Outage | Exception) -> None:
        """What the thread says, in the loop. A callback: a task and a queue cost more than the sample itself."""
        if self._failed.done():
            return
        self._silence.cancel()
        try:
            if isinstance(item, _Taken):
                self._publish(item)
            elif isinstance(item, _Outage):
                self._publish_outage(item.reason)
            else:
                raise item
        except Exception as error:
            self._failed.set_exception(error)
        else:
            self._expect_word()

    def _expect_word(self) -> None:
        """Say that the GPUs are bad when the thread says nothing for too long, and again while that lasts.

        A loop that was held up runs what the thread said meanwhile first: that cancels the timer.
        """
        limit_s = max(GAP_PERIODS * self._period_s, BAD_EVERY_S if self._outage else 0.0)
        silent = _Outage(self._outage or "an NVML call does not return")
        self._silence = asyncio.get_running_loop().call_later(limit_s, self._hear, silent)

    def _publish(self, taken: _Taken) -> None:
        if taken.at_s <= self._bad_s:
            self._metrics["samples_skipped"] += 1  # its GPUs have been said to be bad at a later time
            return
        self._close_gap(taken)
        self._publish_frames(taken.sample, taken.time_ns)
        self._last_ns, self._last_s = taken.time_ns, taken.at_s
        self._context.ready()
        if taken.at_s - self._noted_s >= 1.0:
            self._noted_s = taken.at_s
            self._note_counts()

    def _publish_frames(self, sample: Sample, at_ns: int) -> None:
        time_ns = np.array([at_ns], np.int64)
        for block in self._blocks:
            part = slice(block.first, block.last)
            self._publisher.publish_frame(
                block.unit,
                block.asset,
                time_ns,
                block.gpu,
                sample.values[np.newaxis, part],
                sample.quality[np.newaxis, part],
                sample.energy_mj[np.newaxis, part],
            )
        self._metrics["frames"] += len(self._blocks)

    def _publish_outage(self, reason: str) -> None:
        now_ns, now_s = self._context.clock(), time.monotonic()
        if reason != self._outage:
            self._outage = reason
            self._log.error("%s: %s; its GPUs are quality bad until it answers", self.source.id, reason)
        self._context.state = "degraded"
        self._metrics["outage"] = reason
        if now_s - self._bad_s >= BAD_EVERY_S:
            self._bad_s = now_s
            count = self._gpu_count
            nothing = np.full((count, FIELD_COUNT), np.nan, np.float32)
            bad = np.full(count, Quality.BAD, np.uint8)
            self._publish_frames(Sample(nothing, bad, np.full(count, -1, np.int64)), now_ns)
            self._metrics["bad_frames"] += len(self._blocks)

    def _close_gap(self, taken: _Taken) -> None:
        """Say what was not sampled since the last sample, once sampling goes on."""
        outage, self._outage = self._outage, ""
        now_ns, silent_s = taken.time_ns, taken.at_s - self._last_s
        from_ns = min(self._last_ns, now_ns)  # the clock may have been set back meanwhile
        missed = round(silent_s / self._period_s) - 1
        if missed < GAP_PERIODS and not outage:
            self._metrics["samples_skipped"] += max(0, missed)
            return
        self._metrics.pop("outage", None)
        self._metrics["gaps"] += 1
        self._log.warning("%s: no samples for %.1f s", self.source.id, silent_s)
        gpus: dict[str, int] = {}
        for block in self._blocks:
            gpus[block.unit] = gpus.get(block.unit, 0) + block.last - block.first
        for unit, count in gpus.items():
            self._publisher.publish_gap(
                unit, "disconnected", from_ns, now_ns, max(0, missed) * count * FIELD_COUNT
            )

    def _note_counts(self) -> None:
        counts = self._sampler.counts
        self._metrics.update(
            samples=counts.samples,
            xids=counts.xids,
            energy_resets=counts.energy_resets,
            gpus_lost=counts.gpus_lost,
            gpus_returned=counts.gpus_returned,
            lost=dict(counts.lost),
            not_available={gpu: missing for gpu, missing in counts.not_available.items() if missing},
        )

    # In the worker thread from here on.

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._sampler.start()
                    self._sample_until_failure(loop)
                except UnreachableError as error:
                    self._say(loop, _Outage(str(error)))
                    self._stopping.wait(self._backoff_s * random.uniform(0.8, 1.2))
                    self._backoff_s = min(2 * self._backoff_s, BACKOFF_LAST_S)
            self._sampler.stop()
        except Exception as error:
            self._say(loop, error)

    def _sample_until_failure(self, loop: asyncio.AbstractEventLoop) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            started = time.monotonic()
            time_ns = self._context.clock()
            sample = self._sampler.sample(round(started * 1e9))
            ended = time.monotonic()
            self._backoff_s = BACKOFF_FIRST_S
            # Values from before and after a hang are of no one moment: they are part of the gap.
            if ended - started <= GAP_PERIODS * self._period_s:
                self._say(loop, _Taken(sample, time_ns, started))
            due += self._period_s
            if due < ended:
                due += ((ended - due) // self._period_s + 1) * self._period_s
            self._stopping.wait(due - ended)

    def _say(self, loop: asyncio.AbstractEventLoop, item: _Taken | _Outage | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(self._hear, item)
