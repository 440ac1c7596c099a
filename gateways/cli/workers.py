"""What the workers of a running site say of themselves, for commands that act on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from rules.errors import ConfigurationError
from rules.findings import Finding
from rules.site.model import Site
from streams.bus.bus import Bus, Reader, up_to_the_end
from streams.record import Record
from streams.role import as_status
from streams.rule_sets.rule_set import published_rule_sets
from streams.topics import STATUS

FRESH_NS: Final = 5_000_000_000
"""A worker says its status once a second; one that has not for this long is away."""
_READ_S: Final = 0.2


class ReadySets(BaseModel):
    """Which rule sets a worker could change to at once, by digest; how long a unit stood still when it last did."""

    ready: list[str]
    take_over_ms_max: float | None = None


class Metrics(BaseModel):
    """What is asked of a worker's metrics here; by unit."""

    rule_sets: ReadySets
    rules: dict[str, str] = {}
    access: dict[str, Any] = {}
    activation_pause_ms_max: float | None = None


class Workers:
    """The last word of each, by instance, on the topic `status`: when, and its metrics."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[int, Metrics]] = {}

    async def hear(self, status: Reader) -> None:
        """What they have said since."""
        self.note(await status.read(_READ_S))

    def note(self, records: Iterable[Record]) -> None:
        """Take in what they say; other roles speak there too, and anybody can write to the topic."""
        for record in records:
            status = as_status(record.value)
            if status is not None and status["kind"] == "worker":
                with contextlib.suppress(ValidationError):
                    metrics = Metrics.model_validate(status["metrics"])
                    self._said[status["role"]] = status["at_ns"], metrics

    def present(self) -> list[Metrics]:
        """The metrics of those that are there now."""
        return self.since(time.time_ns() - FRESH_NS)

    def since(self, after_ns: int) -> list[Metrics]:
        """The metrics of those that have said something after a time."""
        return [metrics for at_ns, metrics in self._said.values() if at_ns > after_ns]

    def digests(self) -> set[str]:
        """Of the rules that rule the units of those that are there now."""
        return {digest for said in self.present() for digest in said.rules.values()}


async def refuse_other_site(bus: Bus, site: Site, site_dir: Path, workers: Workers | None = None) -> None:
    """ConfigurationError where the rules that rule there are another site's.

    `workers`: those that have been heard already. Where nobody has published the rules, or no worker is there, it can't
    be told, and nothing is refused. UnreachableError.
    """
    if workers is None:
        workers = Workers()
        status = await bus.reader([STATUS.name])
        try:
            workers.note([record async for record in up_to_the_end(bus, status, STATUS.name)])
        finally:
            await status.close()
    digests = workers.digests()
    published: Mapping[str, Any] = await published_rule_sets(bus) if digests else {}
    running = {published[digest].load_site().name for digest in digests if digest in published}
    if running and site.name not in running:
        there = ", ".join(sorted(running))
        text = f"this is site '{site.name}', and site '{there}' is running there"
        hint = "name the folder of that site, or with --bootstrap the broker of this one"
        raise ConfigurationError([Finding(str(site_dir), 0, 0, text, hint)])
