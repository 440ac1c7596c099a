// An OPC UA historian that is not asyncua: node-opcua's own, in memory.
// Usage: node historian.cjs PORT PKI_FOLDER; needs NODE_PATH. Says "ready". `flow` has 12000 values, one a second from
// 2026-01-01 on, of which every 100th is bad and every 10th uncertain; `still` has a history without values; `plain` none.
"use strict";
const { DataType } = require("node-opcua-variant");
const { StatusCodes } = require("node-opcua-status-code");
const { serve } = require("./local_server.cjs");

const VALUES = 12000;
const BEGIN = Date.UTC(2026, 0, 1);

serve("/historian", (space) => {
    const namespace = space.registerNamespace("urn:test:historian");
    for (const name of ["flow", "still", "plain"]) {
        const variable = namespace.addVariable({
            organizedBy: space.rootFolder.objects,
            browseName: name,
            nodeId: `s=${name}`,
            dataType: "Double",
        });
        if (name === "plain") continue;
        space.installHistoricalDataNode(variable, { maxOnlineValues: VALUES });
        for (let number = 0; name === "flow" && number < VALUES; number++) {
            const status = number % 100 === 99 ? StatusCodes.BadSensorFailure
                : number % 10 === 9 ? StatusCodes.UncertainSensorNotAccurate : StatusCodes.Good;
            variable.setValueFromSource({ dataType: DataType.Double, value: number }, status, new Date(BEGIN + 1000 * number));
        }
    }
});
