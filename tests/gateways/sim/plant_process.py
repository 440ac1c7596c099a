"""The role `plant` as a process for tests: `plant_process.py PORT RUN_DIR [KEY=VALUE…]`, on a bus in memory.

Prints `ready` when the role is; ends, with the role's own ending, when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from gateways.cli.run_role import with_endpoints
from gateways.sim import role
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.settings import load_settings
from streams.site_folder import load_site
from streams.topics import TOPICS


async def main(port: str, run_dir: Path, options: dict[str, str]) -> None:
    folder = Path(__file__).parents[3] / "examples" / "narvik"
    site = with_endpoints(
        load_site(folder), {"endpoint.plant-opcua": f"opc.tcp://127.0.0.1:{port}/headrace/plant"}
    )
    bus = MemoryBus()
    await bus.create_topics(TOPICS, 3)
    stop = asyncio.Event()
    context = RoleContext("plant", site, folder, load_settings(run_dir=run_dir), bus, stop, options)
    running = asyncio.create_task(role.run(context))
    while context.state != "ready" and not running.done():
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    closed = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([running, closed], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await running


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), dict(word.split("=", 1) for word in sys.argv[3:])))
