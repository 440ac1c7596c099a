"""A small OPC UA server in a process of its own, told what to do by JSON lines on stdin.

Run as `python plant_server.py PORT CERTIFICATE_DIR|- NAME…`; says `ready` when it serves.
Values named `live…` get a new source timestamp ten times a second, changed or not; the others only when told.
"""

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from asyncua import Server, ua
from self_signed import load_certificate

NAMESPACE = "urn:test:plant"


def data_value(value, variant_type, status=0):
    return ua.DataValue(
        ua.Variant(value, variant_type),
        StatusCode=ua.StatusCode(status),
        SourceTimestamp=datetime.now(UTC),
        ServerTimestamp=datetime.now(UTC),
    )


async def keep_alive(variables, frozen):
    while True:
        for name, (node, variant_type) in list(variables.items()):
            if name.startswith("live") and name not in frozen:
                await node.write_value(data_value(20.0, variant_type))
        await asyncio.sleep(0.1)


async def serve(port, certificates, names):
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/plant")
    policies = [ua.SecurityPolicyType.NoSecurity]
    if certificates is not None:
        await load_certificate(server, certificates, "urn:test:plant-server")
        policies.append(ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt)
    server.set_security_policy(policies)
    index = await server.register_namespace(NAMESPACE)
    folder = await server.nodes.objects.add_folder(index, "plant")
    variables, frozen = {}, set()

    async def add(name, value, type_name="Double"):
        variant_type = ua.VariantType[type_name]
        node = await folder.add_variable(ua.NodeId(name, index), name, ua.Variant(value, variant_type))
        await node.write_value(data_value(value, variant_type))
        variables[name] = (node, variant_type)
        if type_name == "Double" and not isinstance(value, list):
            unit = ua.EUInformation(DisplayName=ua.LocalizedText("degC"))
            await node.add_property(ua.NodeId(f"{name}.unit", index), "0:EngineeringUnits", unit)

    for name in names:
        await add(name, 20.0)
    async with server:
        keeper = asyncio.create_task(keep_alive(variables, frozen))
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
        )
        print("ready", flush=True)
        while line := await lines.readline():
            command, *arguments = json.loads(line)
            if command == "add":
                await add(*arguments)
            elif command == "write":
                name, values, status = arguments
                node, variant_type = variables[name]
                for value in values:
                    await node.write_value(data_value(value, variant_type, status))
            elif command == "drop_subscriptions":
                service = server.iserver.subscription_service
                await service.delete_subscriptions(list(service.subscriptions))
            elif command == "freeze":
                frozen.update(arguments)
            print("done", flush=True)
        keeper.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    port, certificates, *names = sys.argv[1:]
    asyncio.run(serve(int(port), None if certificates == "-" else Path(certificates), names))
