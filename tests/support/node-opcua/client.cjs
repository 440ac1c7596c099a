// An OPC UA client that is not asyncua. Usage: node client.cjs REQUEST_JSON PKI_FOLDER; needs NODE_PATH.
// REQUEST: {endpoint, security: "None" | "Basic256Sha256", namespace, browse, points: [name], write: {name, value, type}}
// Says one JSON object: variables found by browsing below Objects, and what each of `points` holds.
"use strict";
const {
    OPCUAClient, AttributeIds, MessageSecurityMode, SecurityPolicy, DataType, NodeClass, makeBrowsePath,
} = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");

const request = JSON.parse(process.argv[2]);
const secure = request.security !== "None";

async function browseAll(session, root) {
    const found = [];
    const seen = new Set();
    let level = [root];
    while (level.length > 0) {
        const next = [];
        for (const nodeId of level) {
            let result = await session.browse({
                nodeId, browseDirection: 0, referenceTypeId: "HierarchicalReferences", includeSubtypes: true,
                nodeClassMask: 0, resultMask: 63,
            });
            let references = result.references;
            while (result.continuationPoint && result.continuationPoint.length > 0) {
                result = await session.browseNext(result.continuationPoint, false);
                references = references.concat(result.references);
            }
            for (const reference of references) {
                const id = reference.nodeId.toString();
                if (seen.has(id) || reference.nodeId.namespace === 0) continue;
                seen.add(id);
                if (reference.nodeClass === NodeClass.Variable) found.push(id);
                next.push(id);
            }
        }
        level = next;
    }
    return found;
}

const plain = (variant) => {
    const value = variant.value;
    if (value === null || typeof value !== "object") return value;
    if (value.displayName !== undefined) return value.displayName.text;
    if (value.low !== undefined) return [value.low, value.high];
    return String(value);
};

async function property(session, nodeId, name) {
    const found = await session.translateBrowsePath(makeBrowsePath(nodeId, `.${name}`));
    if (!found.statusCode.isGood() || found.targets.length === 0) return null;
    return plain((await session.read({ nodeId: found.targets[0].targetId, attributeId: AttributeIds.Value })).value);
}

async function main() {
    const client = OPCUAClient.create({
        endpointMustExist: false,
        securityMode: secure ? MessageSecurityMode.SignAndEncrypt : MessageSecurityMode.None,
        securityPolicy: secure ? SecurityPolicy.Basic256Sha256 : SecurityPolicy.None,
        connectionStrategy: { maxRetry: 2, initialDelay: 200, maxDelay: 500 },
        clientCertificateManager: new OPCUACertificateManager({
            rootFolder: process.argv[3], automaticallyAcceptUnknownCertificate: true,
        }),
    });
    await client.connect(request.endpoint);
    const session = await client.createSession();
    const index = (await session.readNamespaceArray()).indexOf(request.namespace);
    const id = (name) => `ns=${index};s=${name}`;
    const variables = request.browse ? await browseAll(session, "ObjectsFolder") : [];
    const points = {};
    for (const name of request.points) {
        const data = await session.read({ nodeId: id(name), attributeId: AttributeIds.Value });
        const type = await session.read({ nodeId: id(name), attributeId: AttributeIds.DataType });
        points[name] = {
            value: plain(data.value), status: data.statusCode.value,
            source: data.sourceTimestamp && data.sourceTimestamp.toISOString(),
            server: data.serverTimestamp && data.serverTimestamp.toISOString(),
            type: DataType[data.value.dataType], declared: String(type.value.value),
            unit: await property(session, id(name), "EngineeringUnits"),
            range: await property(session, id(name), "EURange"),
        };
    }
    let written = null;
    if (request.write) {
        const { name, value, type } = request.write;
        const status = await session.write({
            nodeId: id(name), attributeId: AttributeIds.Value,
            value: { value: { dataType: DataType[type], value } },
        });
        const back = await session.read({ nodeId: id(name), attributeId: AttributeIds.Value });
        written = { status: status.value, value: plain(back.value) };
    }
    const channel = { mode: MessageSecurityMode[client.securityMode], policy: client.securityPolicy };
    await session.close();
    await client.disconnect();
    console.log(JSON.stringify({ variables, points, written, channel }));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
