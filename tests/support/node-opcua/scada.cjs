// A SCADA client that is not asyncua. Usage: node scada.cjs REQUEST_JSON PKI_FOLDER; needs NODE_PATH.
// REQUEST: {endpoint, security: "None" | "Basic256Sha256" | "Aes256Sha256RsaPss", user, password}
// Then a command a line on stdin, as a JSON list; says {"ready": ...}, and for each command {"done": RESULT} or {"failed": TEXT}.
"use strict";
const readline = require("node:readline");
const {
    OPCUAClient, AttributeIds, MessageSecurityMode, SecurityPolicy, DataType, UserTokenType, TimestampsToReturn, Variant,
    AggregateFunction, ClientSubscription, constructEventFilter, ofType, coerceNodeId, installAlarmMonitoring, LocalizedText,
} = require("node-opcua-client");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");

const request = JSON.parse(process.argv[2]);
const policies = {
    None: SecurityPolicy.None, Basic256Sha256: SecurityPolicy.Basic256Sha256,
    Aes256Sha256RsaPss: SecurityPolicy.Aes256_Sha256_RsaPss,
};
const FIELDS = [
    "EventId", "EventType", "SourceName", "Message", "Severity", "ConditionName", "Retain", "ActiveState.Id", "AckedState.Id",
    "ConfirmedState.Id", "ShelvingState.CurrentState", "SuppressedOrShelved", "ConditionId",
];
const events = [];
let subscribed = null;
let reconnections = 0;

const say = (value) => console.log(JSON.stringify(value));
const plain = (variant) => {
    const value = variant.value;
    if (value === null || value === undefined) return null;
    if (Buffer.isBuffer(value)) return value.toString("hex");
    if (value instanceof LocalizedText) return value.text;
    return typeof value === "object" ? value.toString() : value;
};

const commands = {
    async subscribe(session, where) {
        const subscription = subscribed = ClientSubscription.create(session, {
            requestedPublishingInterval: 100, requestedMaxKeepAliveCount: 20, requestedLifetimeCount: 600,
            maxNotificationsPerPublish: 0, publishingEnabled: true, priority: 1,
        });
        const filter = constructEventFilter(FIELDS, where ? ofType(where) : undefined);
        const item = await subscription.monitor(
            { nodeId: coerceNodeId("i=2253"), attributeId: AttributeIds.EventNotifier },
            { filter, queueSize: 10000, discardOldest: true }, TimestampsToReturn.Both,
        );
        item.on("changed", (fields) => {
            const event = {};
            FIELDS.forEach((name, index) => { event[name] = plain(fields[index]); });
            events.push(event);
        });
        await new Promise((resolve, reject) => {
            item.once("initialized", resolve);
            item.once("err", (text) => reject(new Error(text)));
            if (item.monitoredItemId) resolve();
        });
        return subscription.subscriptionId;
    },
    async reconnected() {
        for (let tries = 0; tries < 600 && reconnections === 0; tries++) {
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
        return reconnections;
    },
    async refresh(session) {
        const results = await session.call({
            objectId: "i=2782", methodId: "i=3875",
            inputArguments: [new Variant({ dataType: DataType.UInt32, value: subscribed.subscriptionId })],
        });
        return results.statusCode.name;
    },
    async events() {
        return events;
    },
    async alarms(session, count) {  // node-opcua's own list of alarms, which refreshes by itself
        const list = await installAlarmMonitoring(session);
        for (let tries = 0; tries < 200 && list.length < count; tries++) {
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
        return list.alarms().map((alarm) => [alarm.conditionId.toString(), alarm.getRetain()]).sort();
    },
    async acknowledge(session, condition, event, comment) {
        return (await session.acknowledgeCondition(condition, Buffer.from(event, "hex"), comment)).name;
    },
    async confirm(session, condition, event, comment) {
        return (await session.confirmCondition(condition, Buffer.from(event, "hex"), comment)).name;
    },
    async comment(session, condition, event, comment) {
        return (await session.addCommentCondition(condition, Buffer.from(event, "hex"), comment)).name;
    },
    async call(session, objectId, methodId, ...given) {
        const inputArguments = given.map(([dataType, value]) => new Variant({ dataType: DataType[dataType], value }));
        return (await session.call({ objectId, methodId, inputArguments })).statusCode.name;
    },
    async history(session, node, fromMs, toMs, count) {
        const result = await session.readHistoryValue(node, new Date(fromMs), new Date(toMs), { numValuesPerNode: count });
        const more = result.continuationPoint && result.continuationPoint.length > 0;
        const values = (result.historyData ? result.historyData.dataValues : []) || [];
        return {
            status: result.statusCode.name, more: Boolean(more),
            values: values.map((one) => [one.sourceTimestamp.getTime(), one.value.value]),
        };
    },
    async average(session, node, fromMs, toMs, intervalMs) {
        const result = await session.readAggregateValue(
            { nodeId: node }, new Date(fromMs), new Date(toMs), AggregateFunction.Average, intervalMs,
        );
        return result.historyData.dataValues.map((one) => [one.value.value, one.statusCode.value]);
    },
    async read(session, node) {
        const data = await session.read({ nodeId: node, attributeId: AttributeIds.Value });
        return [plain(data.value), data.statusCode.name];
    },
    async browse(session, node) {
        let result = await session.browse({ nodeId: node, referenceTypeId: "HierarchicalReferences", includeSubtypes: true,
            browseDirection: 0, nodeClassMask: 0, resultMask: 63 });
        const names = result.references.map((one) => one.browseName.name);
        while (result.continuationPoint && result.continuationPoint.length > 0) {
            result = await session.browseNext(result.continuationPoint, false);
            names.push(...result.references.map((one) => one.browseName.name));
        }
        return names;
    },
};

async function main() {
    const secure = request.security !== "None";
    const client = OPCUAClient.create({
        endpointMustExist: false,
        securityMode: secure ? MessageSecurityMode.SignAndEncrypt : MessageSecurityMode.None,
        securityPolicy: policies[request.security],
        connectionStrategy: { maxRetry: 0, initialDelay: 100, maxDelay: 200 },
        clientCertificateManager: new OPCUACertificateManager({
            rootFolder: process.argv[3], automaticallyAcceptUnknownCertificate: true,
        }),
    });
    client.on("connection_reestablished", () => { reconnections += 1; });
    await client.connect(request.endpoint);
    client.connectionStrategy.maxRetry = 100;  // the first try shows whether it is let in; later ones go on
    const session = await client.createSession(request.user
        ? { type: UserTokenType.UserName, userName: request.user, password: request.password }
        : { type: UserTokenType.Anonymous });
    say({ ready: true });
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const [name, ...given] = JSON.parse(line);
        try {
            say({ done: await commands[name](session, ...given) });
        } catch (error) {
            say({ failed: String(error.message || error) });
        }
    }
    await session.close();
    await client.disconnect();
}

main().then(() => process.exit(0), (error) => { say({ refused: String(error.message || error) }); process.exit(1); });
