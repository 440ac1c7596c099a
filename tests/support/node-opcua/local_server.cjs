// What the servers of this folder have in common: they hear on this machine alone, with and without security.
// `serve(PATH, build)` takes PORT and PKI_FOLDER from the command line, lets `build(space)` fill the address space,
// and says "ready".
"use strict";
const { OPCUAServer } = require("node-opcua-server");
const { OPCUACertificateManager } = require("node-opcua-certificate-manager");
const { MessageSecurityMode, SecurityPolicy } = require("node-opcua-secure-channel");

async function start(resourcePath, build) {
    const [port, pki] = [Number(process.argv[2]), process.argv[3]];
    const certificates = new OPCUACertificateManager({ rootFolder: pki, automaticallyAcceptUnknownCertificate: true });
    const server = new OPCUAServer({
        port,
        hostname: "127.0.0.1",
        resourcePath,
        serverCertificateManager: certificates,
        userCertificateManager: certificates,
        securityModes: [MessageSecurityMode.None, MessageSecurityMode.SignAndEncrypt],
        securityPolicies: [SecurityPolicy.None, SecurityPolicy.Basic256Sha256],
    });
    await server.initialize();
    build(server.engine.addressSpace);
    await server.start();
    console.log("ready");
}

exports.serve = (resourcePath, build) =>
    start(resourcePath, build).catch((error) => { console.error(error); process.exit(1); });
