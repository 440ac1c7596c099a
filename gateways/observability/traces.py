"""The path of a command as an OpenTelemetry trace: from the sample that completed its condition to its receipt.

Rules that this module obeys:
- The actuators make all of it, at the receipt, from the times that command and record carry: nobody else takes part,
  and no byte of the log is different for it.
- Ids are hashes: of the cause for the trace, so that all commands of one sample are one trace, and of the command's id
  for its spans, so that a repeat is the same span.
- Spans are handed to a thread of OpenTelemetry's; one that can't be exported is dropped there. No command waits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateways.actuators.outcome import Outcome
from rules.engine.outputs import Command
from streams.role import RoleContext

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.trace import SpanContext

Trace = Callable[[Command, Outcome, int, int, int], None]
"""A command, what became of it, when its record was logged (ms, 0 where unknown), taken and answered (ns)."""

QUEUE_MAX: Final = 2048
EXPORT_S: Final = 2.0
"""For 512 spans, tries again included: a stop waits for what is queued, and its supervisor is not patient."""


def untraced(_command: Command, _outcome: Outcome, _logged_ms: int, _taken_ns: int, _at_ns: int) -> None:
    """No traces."""


def open_traces(context: RoleContext) -> CommandTraces | None:
    """Traces to the endpoint of the settings; None without one, and then nothing of OpenTelemetry is loaded."""
    if not (endpoint := context.settings.traces.endpoint):
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(endpoint, timeout=EXPORT_S)
    processor = BatchSpanProcessor(exporter, QUEUE_MAX, export_timeout_millis=EXPORT_S * 1e3)
    return CommandTraces(processor, context.site.name, context.name)


class CommandTraces:
    """Of one process of the actuators."""

    def __init__(self, processor: SpanProcessor, site: str, instance: str) -> None:
        from opentelemetry.sdk.resources import Resource

        self._processor = processor
        about = {"service.name": "headrace", "service.instance.id": instance, "headrace.site": site}
        self._resource = Resource.create(about)

    def see(self, command: Command, outcome: Outcome, logged_ms: int, taken_ns: int, at_ns: int) -> None:
        """A command has its receipt: one span from its cause to that, with its parts below."""
        logged_ns = logged_ms * 1_000_000 or taken_ns
        whole = self._span(command, "command", None, command.cause_ns, at_ns, outcome)
        self._processor.on_end(whole)
        for name, begin_ns, end_ns in (
            ("decide", command.cause_ns, logged_ns),
            ("deliver", logged_ns, taken_ns),
            ("act", taken_ns, at_ns),
        ):
            self._processor.on_end(self._span(command, name, whole.context, begin_ns, end_ns))

    def close(self) -> None:
        """Export what is left; takes seconds where the endpoint is away."""
        self._processor.shutdown()

    def _span(
        self,
        command: Command,
        name: str,
        parent: SpanContext | None,
        begin_ns: int,
        end_ns: int,
        outcome: Outcome | None = None,
    ) -> ReadableSpan:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

        cause, _, _ = command.id.rpartition(":")
        context = SpanContext(
            _hashed(cause, 16), _hashed(f"{command.id} {name}", 8), False, TraceFlags(TraceFlags.SAMPLED)
        )
        attributes: dict[str, str | float] = {}
        status = Status(StatusCode.UNSET)
        if outcome is not None:
            attributes = {
                "headrace.command": command.id,
                "headrace.unit": command.unit,
                "headrace.rule": command.rule,
                "headrace.asset": command.asset,
                "headrace.actuator": command.actuator,
                "headrace.value": command.value,
                "headrace.status": outcome.status,
            }
            if outcome.status != "done":
                status = Status(StatusCode.ERROR, outcome.detail)
        return ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            status=status,
            # clocks of several machines: a part is never shorter than nothing
            start_time=begin_ns,
            end_time=max(begin_ns, end_ns),
        )


def _hashed(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big")
