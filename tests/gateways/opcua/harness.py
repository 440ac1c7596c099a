"""What the tests of the OPC UA gateway share: a server process, a small site, a publisher that remembers."""

import asyncio
import contextlib
import json
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from gateways.listen import free_port
from gateways.opcua.gateway import SourceGateway
from rules.site.model import Asset, Point, Site, Source, Unit

HERE = Path(__file__).parent
NAMESPACE = "urn:test:plant"


async def until(condition, timeout_s=120.0):
    """Wait for a condition; the time-out only ends a test that has failed."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the condition never came true"
        await asyncio.sleep(0.01)


class ServerProcess:
    """A server in a process of its own, driven by JSON lines; it answers within milliseconds."""

    def __init__(self, port, *command, env=None):
        self.port = port
        self._command = [*map(str, command)]
        self._env = env
        self._process = None

    @classmethod
    def asyncua(cls, *names, certificates="-", port=None):
        """The one of plant_server.py, with points of these names, started."""
        port = port or free_port()
        return cls(port, sys.executable, HERE / "plant_server.py", port, certificates, *names).start()

    def start(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(self._command, bufsize=0, env=self._env, **pipes)
        self._expect(b"ready", 120)
        return self

    def tell(self, *command):
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._expect(b"done", 60)

    def _expect(self, word, timeout_s):
        """Read lines until one is `word`: node-opcua has things to say about itself."""
        end = time.monotonic() + timeout_s
        line = b""
        while line.strip() != word:
            readable, _, _ = select.select([self._process.stdout], [], [], max(end - time.monotonic(), 0))
            assert readable, f"the server did not say {word}"
            line = self._process.stdout.readline()
            assert line, f"the server ended before it said {word}"

    def send_signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@dataclass
class Reading:
    unit: str
    point: str
    time_ns: int
    server_ns: int
    value: float
    quality: int
    status: int


@dataclass
class RecordingPublisher:
    """Stands where streams.publisher.publisher.Publisher does and remembers what it was handed."""

    readings: list = field(default_factory=list)
    gaps: list = field(default_factory=list)
    batches: int = 0

    def publish_readings(self, unit, points, time_ns, server_ns, values, quality, status):
        self.batches += 1
        columns = zip(points, time_ns, server_ns, values, quality, status, strict=True)
        self.readings.extend(Reading(unit, row[0], *(cell.item() for cell in row[1:])) for row in columns)

    def publish_gap(self, unit, reason, from_ns, to_ns, readings):
        self.gaps.append((unit, reason, from_ns, to_ns, readings))

    def of(self, point):
        return [reading for reading in self.readings if reading.point == point]

    def last(self, point):
        found = self.of(point)
        return found[-1] if found else None


def point(name, *, asset="A1", period_s=0.2, address=None, **given):
    period_ns = int(period_s * 1e9)
    node = f"nsu={NAMESPACE};s={name}" if address is None else address
    defaults = {"engineering_unit": "degC", "low": 0.0, "high": 200.0, "sampling_ns": 50_000_000} | given
    return Point(
        id=f"{asset}.{name}",
        asset=asset,
        point_type="LiquidTemperature",
        period_ns=period_ns,
        source="plant",
        address=node,
        **defaults,
    )


def make_site(points, port, **source):
    """A site with one unit per asset letter: asset A1 in unit `row-a`, B1 in `row-b`."""
    units = {}
    for letter in sorted({point.asset[0].lower() for point in points}):
        name = f"row-{letter}"
        asset = Asset(f"{letter.upper()}1", "CDU", name)
        own = tuple(point for point in points if point.asset == asset.id)
        units[name] = Unit(name, (asset,), own, (), {}, {})
    plant = Source("plant", "opcua", f"opc.tcp://127.0.0.1:{port}/plant", **source)
    assets = {asset.id: asset for unit in units.values() for asset in unit.assets}
    by_id = {point.id: point for unit in units.values() for point in unit.points}
    return Site("test", "0" * 64, 100_000_000, units, assets, by_id, {"plant": plant}, {})


@contextlib.asynccontextmanager
async def running_gateway(gateway):
    """A gateway at work until the end of the block."""
    stop = asyncio.Event()
    task = asyncio.create_task(gateway.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


@contextlib.asynccontextmanager
async def running(site, run_dir):
    """The gateway of the site's source `plant` at work; gives (gateway, publisher)."""
    publisher = RecordingPublisher()
    gateway = SourceGateway(site, site.sources["plant"], publisher, run_dir)
    async with running_gateway(gateway):
        yield gateway, publisher
