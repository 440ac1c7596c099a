"""An OPC UA historian of asyncua in a process of its own.

Run as `python historian_server.py PORT CERTIFICATE_DIR|-`; says `ready` when it serves. `flow` has VALUES values,
one a second from BEGIN on, every 100th of them bad; `text` has words; `plain` has no history.
"""

import asyncio
import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asyncua import Server, ua
from asyncua.server.history import HistoryDict
from self_signed import load_certificate

NAMESPACE = "urn:test:historian"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = 25_000


class Historian(HistoryDict):
    """asyncua's own storage; a node that it doesn't know is refused by status, not by a fault of the whole request."""

    async def read_node_history(self, node_id, start, end, nb_values):
        if node_id not in self._datachanges:
            raise ua.UaStatusCodeError(ua.StatusCodes.BadHistoryOperationUnsupported)
        return await super().read_node_history(node_id, start, end, nb_values)


async def serve(port, certificates):
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/historian")
    policies = [ua.SecurityPolicyType.NoSecurity]
    if certificates is not None:
        await load_certificate(server, certificates, "urn:test:historian-server")
        policies = [ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt]
    server.set_security_policy(policies)
    index = await server.register_namespace(NAMESPACE)
    storage = Historian()
    server.iserver.history_manager.set_storage(storage)
    for name in ("flow", "text", "plain"):
        node = ua.NodeId(name, index)
        await server.nodes.objects.add_variable(node, name, ua.Variant(0.0, ua.VariantType.Double))
        if name == "plain":
            continue
        await storage.new_historized_node(node, None)
        for number in range(VALUES if name == "flow" else 3):
            content = ua.Variant(float(number)) if name == "flow" else ua.Variant("open")
            bad = name == "flow" and number % 100 == 99
            await storage.save_node_value(
                node,
                ua.DataValue(
                    content,
                    StatusCode=ua.StatusCode(ua.StatusCodes.BadSensorFailure if bad else 0),
                    SourceTimestamp=BEGIN + timedelta(seconds=number),
                    ServerTimestamp=BEGIN + timedelta(seconds=number, milliseconds=20),
                ),
            )
    async with server:
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    port, certificates = sys.argv[1:]
    asyncio.run(serve(int(port), None if certificates == "-" else Path(certificates)))
