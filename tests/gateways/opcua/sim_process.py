"""The simulated plant in a process of its own, on the in-memory bus: `python sim_process.py SITE PORT RUN_DIR`."""

import asyncio
import dataclasses
import sys
from pathlib import Path

from gateways.sim import role
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.settings import load_settings
from streams.site_folder import load_site
from streams.topics import TOPICS


async def main(site_dir, port, run_dir):
    site = load_site(site_dir)
    plant = dataclasses.replace(
        site.sources["plant-opcua"], endpoint=f"opc.tcp://127.0.0.1:{port}/headrace/plant"
    )
    site = dataclasses.replace(site, sources=dict(site.sources) | {plant.id: plant})
    bus = MemoryBus()
    await bus.create_topics(TOPICS, 3)
    context = RoleContext("plant", site, site_dir, load_settings(run_dir=run_dir), bus, asyncio.Event())
    task = asyncio.create_task(role.run(context))
    while context.state != "ready" and not task.done():
        await asyncio.sleep(0.05)
    if not task.done():
        print("ready", flush=True)
    await task


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
