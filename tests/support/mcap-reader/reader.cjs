// Read an MCAP file as others do: by its index, and as a stream; every checksum is checked. Usage: node reader.cjs FILE;
// needs NODE_PATH. Says one JSON object: channels with their schemas, attachments, metadata, messages by topic, and
// every message in the order of the file (`arrow` for those that are Arrow's: schema and data in base64).
"use strict";
const { open } = require("node:fs/promises");
const { McapIndexedReader, McapStreamReader } = require("@mcap/core");
const { loadDecompressHandlers } = require("@mcap/support");

const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const text = (bytes) => Buffer.from(bytes).toString("utf-8");

class Readable {
    constructor(handle) { this.handle = handle; }
    async size() { return BigInt((await this.handle.stat()).size); }
    async read(offset, length) {
        const buffer = Buffer.alloc(Number(length));
        const { bytesRead } = await this.handle.read(buffer, 0, Number(length), Number(offset));
        if (bytesRead !== Number(length)) throw new Error(`only ${bytesRead} of ${length} bytes at ${offset}`);
        return new Uint8Array(buffer.buffer, buffer.byteOffset, bytesRead);
    }
}

async function indexed(handle, decompressHandlers) {
    const reader = await McapIndexedReader.Initialize({ readable: new Readable(handle), decompressHandlers });
    const said = {
        profile: reader.header.profile, chunks: reader.chunkIndexes.length,
        named: Number(reader.statistics.messageCount), channels: {}, attachments: {}, metadata: {}, messages: [], topics: {},
    };
    for (const channel of reader.channelsById.values()) {
        const schema = reader.schemasById.get(channel.schemaId);
        if (channel.schemaId !== 0 && !schema) throw new Error(`channel ${channel.id} has no schema`);
        said.channels[channel.id] = {
            topic: channel.topic, encoding: channel.messageEncoding, metadata: Object.fromEntries(channel.metadata),
            schema: schema ? { name: schema.name, encoding: schema.encoding } : null,
        };
        if (schema && schema.encoding === "jsonschema") JSON.parse(text(schema.data));
    }
    for await (const one of reader.readAttachments({ validateCrcs: true })) said.attachments[one.name] = text(one.data);
    for await (const one of reader.readMetadata()) said.metadata[one.name] = Object.fromEntries(one.metadata);
    let last = 0n;
    for await (const message of reader.readMessages({ validateCrcs: true })) {
        if (message.logTime < last) throw new Error("messages out of order");
        last = message.logTime;
        const channel = reader.channelsById.get(message.channelId);
        const schema = reader.schemasById.get(channel.schemaId);
        said.topics[channel.topic] = (said.topics[channel.topic] ?? 0) + 1;
        if (channel.messageEncoding === "json") JSON.parse(text(message.data));
        const one = { channel: channel.id, sequence: message.sequence, time_ns: String(message.publishTime) };
        if (schema && schema.encoding === "arrow") {
            one.arrow = { name: schema.name, schema: base64(schema.data), data: base64(message.data) };
        }
        said.messages.push(one);
    }
    return said;
}

async function streamed(handle, decompressHandlers) {
    const reader = new McapStreamReader({ decompressHandlers, validateCrcs: true });
    const size = Number((await handle.stat()).size);
    const piece = Buffer.alloc(1 << 16);
    let messages = 0;
    for (let at = 0; at < size; ) {
        const { bytesRead } = await handle.read(piece, 0, piece.length, at);
        at += bytesRead;
        reader.append(new Uint8Array(piece.subarray(0, bytesRead)));
        for (let record; (record = reader.nextRecord()); ) if (record.type === "Message") messages += 1;
    }
    if (!reader.done()) throw new Error("the stream does not end where the file does");
    return messages;
}

async function main() {
    const handle = await open(process.argv[2], "r");
    try {
        const decompressHandlers = await loadDecompressHandlers();
        const said = await indexed(handle, decompressHandlers);
        said.streamed = await streamed(handle, decompressHandlers);
        console.log(JSON.stringify(said));
    } finally {
        await handle.close();
    }
}

main().catch((error) => {
    console.error(String(error));
    process.exit(1);
});
