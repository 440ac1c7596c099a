"""An OPC UA historian to rows of an import: HistoryRead of raw values (OPC 10000-11, 6.5.3), node by node.

Rules: source times and status codes are kept as the server has them; a value outside of the span that was asked for
is not taken (servers differ on the end). Some servers end at the number of values that a page may have, without a
continuation point: after a full page they are asked again, from its last time on. A node that has no history ends the
import before anything is written; one whose history breaks off keeps what came, and is rejected by name. Security is
the gateway's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncua import ua

from gateways.opcua.convert import Sample, moment_of, sample_of
from gateways.opcua.inventory import resolve
from gateways.opcua.security import check_security, require_sound, secure
from gateways.opcua.stack import Client
from gateways.opcua.texts import explain
from rules.errors import ConfigurationError, HeadraceError, UnreachableError
from rules.findings import Finding
from rules.site.model import Source
from streams.importing.lines import Progress
from streams.importing.map_file import ImportMap
from streams.importing.report import ImportReport
from streams.importing.row_store import RowStore
from streams.importing.rows import Row

VALUES_A_PAGE: Final = 10_000
REQUEST_TIMEOUT_S: Final = 60.0
"""A historian may have to look on its disk."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked for: from (included) to (not included), in ns since 1970."""

    from_ns: int
    to_ns: int


def read_history(
    endpoint: str, plan: ImportMap, span: Span, run_dir: Path, report: ImportReport, progress: Progress
) -> Iterator[Row]:
    """All rows of the map's nodes by time, held in memory; nothing is asked before the first is taken.

    `progress` is told each node that is done. Raises ConfigurationError (endpoint, security, node ids, nodes
    without a history) and UnreachableError.
    """
    source = Source("history", "opcua", endpoint, plan.security)
    nodes: dict[str, list[int]] = {}
    for cell, column in enumerate(plan.columns):
        nodes.setdefault(column.name, []).append(cell)
    addresses, findings = {}, check_security(source)
    for name in nodes:
        try:
            addresses[name] = ua.NodeId.from_string(name)
        except (ua.UaError, ValueError) as error:
            message = f"the column '{name}' is no OPC UA node id ({error})"
            findings.append(Finding(plan.file, 0, 0, message, "write nsu=URI;s=NAME or ns=2;i=1234"))
    require_sound(findings)
    report.files.append(endpoint)
    reader = _Reader(plan, span, report)
    asyncio.run(reader.read(source, run_dir, nodes, addresses, progress))
    yield from reader.store.sorted()


class _Reader:
    """One session: what it has read is in `store`."""

    def __init__(self, plan: ImportMap, span: Span, report: ImportReport) -> None:
        self.store = RowStore()
        self._plan, self._span, self._report = plan, span, report

    async def read(
        self,
        source: Source,
        run_dir: Path,
        nodes: dict[str, list[int]],
        addresses: dict[str, ua.NodeId],
        progress: Progress,
    ) -> None:
        client = Client(source.endpoint, timeout=REQUEST_TIMEOUT_S, watchdog_intervall=3600)
        findings: list[Finding] = []
        try:
            await secure(client, source, run_dir)
            await client.connect()
            namespaces = await client.get_namespace_array()
            for name, cells in nodes.items():
                node = resolve(addresses[name], namespaces)
                wrong = "the server has no such namespace"
                if node is not None:
                    wrong = await self._read_node(client, node, name, tuple(cells))
                if wrong:
                    findings.append(Finding(self._plan.file, 0, 0, f"node '{name}': {wrong}"))
                progress(1)
        except HeadraceError:
            raise
        except (OSError, ua.UaError) as error:
            raise UnreachableError(f"{source.endpoint}: {explain(error)}; nothing was written") from None
        except Exception as error:  # what a server says can be of any type
            said = f"unexpected failure, {type(error).__name__}: {explain(error)}"
            raise UnreachableError(f"{source.endpoint}: {said}; nothing was written") from error
        finally:
            await client.leave(2.0)
        if findings:
            raise ConfigurationError(findings)

    async def _read_node(self, client: Client, node: ua.NodeId, name: str, cells: tuple[int, ...]) -> str:
        """Why the node has no history at all; empty where it has."""
        where, from_ns, point = client.server_url.geturl(), self._span.from_ns, None
        newest_ns, at_newest, known, pages = -1, 0, 0, 0
        while True:
            result = await self._page(client, node, from_ns, point)
            if result.StatusCode.is_bad():
                wrong = f"{result.StatusCode.name} ({result.StatusCode.doc})"
                if not pages:
                    return wrong
                self._report.reject(where, 0, name, f"{wrong}; what follows is missing")
                return ""
            pages += 1
            values = getattr(result.HistoryData, "DataValues", None) or ()
            for value in values:
                sample = sample_of(value)
                if known and sample.time_ns == newest_ns:
                    known -= 1  # the page before had it
                    continue
                at_newest = at_newest + 1 if sample.time_ns == newest_ns else 1
                newest_ns = sample.time_ns
                self._take(sample, name, cells)
            before, point = point, result.ContinuationPoint
            if not point and len(values) < VALUES_A_PAGE:
                return ""
            if (point and point == before) or (not point and newest_ns <= from_ns):
                self._report.reject(where, 0, name, "the server stays at one page; what follows is missing")
                return ""
            if not point:
                from_ns, known = newest_ns, at_newest

    async def _page(self, client: Client, node: ua.NodeId, from_ns: int, point: bytes | None) -> Any:
        parameters = ua.HistoryReadParameters(
            HistoryReadDetails=ua.ReadRawModifiedDetails(
                IsReadModified=False,
                StartTime=moment_of(from_ns),
                EndTime=moment_of(self._span.to_ns),
                NumValuesPerNode=VALUES_A_PAGE,
                ReturnBounds=False,
            ),
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ReleaseContinuationPoints=False,
            NodesToRead=[ua.HistoryReadValueId(NodeId=node, ContinuationPoint=point)],
        )
        return (await client.uaclient.history_read(parameters))[0]

    def _take(self, sample: Sample, name: str, cells: tuple[int, ...]) -> None:
        if not sample.time_ns:
            self._report.reject(self._report.files[-1], 0, name, "a value without a time")
        elif self._span.from_ns <= sample.time_ns < self._span.to_ns:
            columns = (self._plan.columns[cell] for cell in cells)
            values = tuple(sample.value * column.scale + column.offset for column in columns)
            self.store.add(Row(sample.time_ns, "", cells, values, (sample.status,) * len(cells)))
