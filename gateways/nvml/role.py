"""Role `nvml`: the site's NVML source, into the log. NVML is one host, so one process reads one source.

Options: `source=ID` when the site has several.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from gateways.nvml.gateway import NvmlGateway, gpus_of
from gateways.nvml.library import open_nvml
from rules.errors import ConfigurationError
from rules.findings import Finding, nearest
from rules.site.model import Site, Source
from streams.publisher.publisher import Publisher
from streams.role import RoleContext

PERIOD_NS: Final = (100_000_000, 1_000_000_000)
"""NVML's sensors refresh every 20-100 ms: faster shows nothing new; slower than 1 s is no use to the rules."""
_OPTIONS: Final = {"slow_period_ms": (1000, 100, 60_000), "xid_hold_s": (60, 1, 86_400)}
"""Of the source in the site file: default, lowest and highest."""


def choose_source(site: Site, wanted: str | None) -> Source:
    """The NVML source that this process reads. Raises ConfigurationError and says what is wrong."""
    sources = {source.id: source for source in site.sources.values() if source.kind == "nvml"}
    if wanted is None and len(sources) == 1:
        return next(iter(sources.values()))
    if wanted in sources:
        return sources[wanted]
    if not sources:
        raise _wrong("the site has no source of kind nvml", "add one, or do not start the role nvml")
    if wanted is None:
        raise _wrong(
            f"the site has {len(sources)} sources of kind nvml", f"start one role for each: {_all(sources)}"
        )
    raise _wrong(f"no source of kind nvml is called '{wanted}'", nearest(wanted, sources))


def option(source: Source, name: str) -> int:
    """A whole-number option of the source, or its default. Raises ConfigurationError."""
    default, low, high = _OPTIONS[name]
    text = source.options.get(name, str(default))
    if not text.isdecimal() or not low <= int(text) <= high:
        raise _wrong(f"source '{source.id}': {name} is '{text}'", f"a whole number from {low} to {high}")
    return int(text)


def first_device(site: Site, source: Source) -> tuple[int, int]:
    """(first, count) of the source's GPUs among all GPUs of the site: its window of the simulated plant."""
    everything = [gpu for unit in site.units.values() for gpu in unit.gpus]
    own = list(gpus_of(site, source))
    if not own:
        raise _wrong(f"source '{source.id}' has no GPUs below its assets", "name trays, racks or GPUs")
    first = everything.index(own[0])
    if everything[first : first + len(own)] != own:
        raise _wrong(f"the GPUs of source '{source.id}' are not next to each other", "one source a host")
    return first, len(own)


def _all(names: Iterable[str]) -> str:
    return ", ".join(f"source={name}" for name in names)


def _wrong(message: str, hint: str) -> ConfigurationError:
    return ConfigurationError([Finding("site.yaml", 0, 0, message, hint)])


async def run(context: RoleContext) -> None:
    """Work until `context.stop`. Raises ConfigurationError when the site file asks for what NVML can't do."""
    site = context.site
    source = choose_source(site, context.options.get("source"))
    if not PERIOD_NS[0] <= source.period_ns <= PERIOD_NS[1]:
        raise _wrong(f"source '{source.id}' has a period of {source.period_ns / 1e6:g} ms", "100 ms to 1 s")
    if unknown := sorted(set(source.options) - set(_OPTIONS)):
        raise _wrong(f"source '{source.id}': unknown option '{unknown[0]}'", nearest(unknown[0], _OPTIONS))
    slow_period_ns = option(source, "slow_period_ms") * 1_000_000
    xid_hold_ns = option(source, "xid_hold_s") * 1_000_000_000
    first, count = first_device(site, source)
    # Building the fake library may take a second, and the loop has a status to report.
    nvml = await asyncio.to_thread(open_nvml, context.settings.run_dir, first, count)
    publisher = await Publisher.open(context, source.id)
    gateway = NvmlGateway(context, source, nvml, publisher, slow_period_ns, xid_hold_ns)
    try:
        await gateway.run(context.stop)
    finally:
        await publisher.close()
