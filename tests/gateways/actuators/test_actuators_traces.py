"""The role traces each command that it answers, where the settings name an endpoint."""

import pytest
from aiohttp import web

from streams.settings import TraceSettings
from tests.gateways.actuators.plant import by_command, command, running, send
from tests.gateways.nvml.hosts import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_command_that_is_done_and_one_that_is_refused(context, server):
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = []

    async def take(request):
        sent = ExportTraceServiceRequest.FromString(await request.read())
        spans.extend(
            span for part in sent.resource_spans for scope in part.scope_spans for span in scope.spans
        )
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
    context.settings.traces = TraceSettings(endpoint=endpoint)
    done, refused = command("P1.PumpSpeed", 80.0), command("P2.PumpSpeed", 800.0)
    await send(context.bus, done, refused)
    try:
        async with running(context):
            await until(lambda: {done.id, refused.id} <= by_command(context.bus).keys())
    finally:
        await runner.cleanup()
    wholes = {_text(span, "headrace.command"): span for span in spans if span.name == "command"}
    assert {name: _text(span, "headrace.status") for name, span in wholes.items()} == {
        done.id: "done",
        refused.id: "refused",
    }
    assert wholes[refused.id].status.message == "800 is out of range 0 to 100 percent"
    receipt = by_command(context.bus)[done.id][0]
    act = next(
        span for span in spans if span.name == "act" and span.parent_span_id == wholes[done.id].span_id
    )
    assert act.end_time_unix_nano == receipt.at_ns
    assert wholes[done.id].start_time_unix_nano == done.cause_ns
    assert done.cause_ns <= act.start_time_unix_nano <= act.end_time_unix_nano


def _text(span, name):
    return next(one.value.string_value for one in span.attributes if one.key == name)
