"""Traces of commands: ids from the command, times from its record, OTLP that OpenTelemetry's own schema reads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateways.actuators.outcome import Outcome
from gateways.observability.traces import CommandTraces, open_traces
from rules.engine.outputs import Command
from streams.bus.memory import MemoryBus
from streams.role import RoleContext
from streams.settings import Settings, TraceSettings
from tests.rules.engine.plant import site

MS = 1_000_000
CAUSE_NS = 1_800_000_000_000 * MS
COMMAND = Command(
    "row-a:plant:17:42:1",
    "row-a",
    "cap",
    "R1",
    "R1.power_limit",
    700.0,
    "W",
    CAUSE_NS,
    CAUSE_NS + 10_000 * MS,
    "cap",
)
TIMES = (CAUSE_NS // MS + 80, CAUSE_NS + 95 * MS, CAUSE_NS + 120 * MS)
"""Logged (ms), taken and answered (ns)."""


class Kept:
    """A processor that keeps what it is given."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def on_end(self, span: Any) -> None:
        self.spans.append(span)


def seen(*commands: Command, outcome: Outcome | None = None) -> list[Any]:
    pytest.importorskip("opentelemetry.sdk")
    kept: Any = Kept()
    traces = CommandTraces(kept, "narvik", "actuators")
    for command in commands:
        traces.see(command, outcome or Outcome("done"), *TIMES)
    return list(kept.spans)


def test_the_parts_of_a_command_follow_each_other() -> None:
    whole, *parts = seen(COMMAND)
    assert (whole.name, whole.parent) == ("command", None)
    assert (whole.start_time, whole.end_time) == (CAUSE_NS, TIMES[2])
    assert [part.name for part in parts] == ["decide", "deliver", "act"]
    assert all(part.parent == whole.context for part in parts)
    edges = [CAUSE_NS, TIMES[0] * MS, TIMES[1], TIMES[2]]
    assert [(part.start_time, part.end_time) for part in parts] == list(pairwise(edges))
    assert whole.attributes["headrace.command"] == COMMAND.id
    assert whole.resource.attributes["headrace.site"] == "narvik"


def test_ids_come_from_the_command() -> None:
    spans, again = seen(COMMAND), seen(COMMAND)
    assert [span.context for span in spans] == [span.context for span in again]
    assert len({span.context.span_id for span in spans}) == 4
    sibling = seen(replace(COMMAND, id="row-a:plant:17:42:2"))
    other = seen(replace(COMMAND, id="row-a:plant:17:43:1"))
    assert sibling[0].context.trace_id == spans[0].context.trace_id
    assert sibling[0].context.span_id != spans[0].context.span_id
    assert other[0].context.trace_id != spans[0].context.trace_id


def test_one_that_was_not_done_is_an_error() -> None:
    whole, *_ = seen(COMMAND, outcome=Outcome("refused", None, "out of range"))
    assert (whole.status.status_code.name, whole.status.description) == ("ERROR", "out of range")
    assert whole.attributes["headrace.status"] == "refused"


def test_a_clock_that_is_behind_makes_no_span_of_less_than_nothing() -> None:
    whole, *parts = seen(replace(COMMAND, cause_ns=TIMES[2] + MS))
    assert all(span.end_time >= span.start_time for span in (whole, *parts))


def context_of(endpoint: str) -> RoleContext:
    settings = Settings(traces=TraceSettings(endpoint=endpoint))
    return RoleContext("actuators", site(), Path(), settings, MemoryBus(), asyncio.Event())


async def test_they_go_out_as_otlp() -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    bodies: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        assert request.content_type == "application/x-protobuf"
        bodies.append(body)
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        traces = open_traces(context_of(f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"))
        assert traces is not None
        traces.see(COMMAND, Outcome("done"), *TIMES)
        await asyncio.to_thread(traces.close)
    finally:
        await runner.cleanup()
    (body,) = bodies
    request = ExportTraceServiceRequest.FromString(body)
    spans = request.resource_spans[0].scope_spans[0].spans
    assert [span.name for span in spans] == ["command", "decide", "deliver", "act"]
    assert len(spans[0].trace_id) == 16


async def test_an_endpoint_that_is_away_is_nobodys_failure() -> None:
    pytest.importorskip("opentelemetry.sdk")
    traces = open_traces(context_of("http://127.0.0.1:9/v1/traces"))
    assert traces is not None
    traces.see(COMMAND, Outcome("done"), *TIMES)
    await asyncio.to_thread(traces.close)


def test_without_an_endpoint_nothing_of_opentelemetry_is_loaded() -> None:
    code = (
        "import sys, gateways.actuators.role, gateways.observability.server; "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert open_traces(context_of("")) is None
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0
