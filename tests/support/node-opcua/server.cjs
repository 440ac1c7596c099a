// An OPC UA server that is not asyncua: a few dozen analog points that change five times a second.
// Usage: node server.cjs PORT PKI_FOLDER; needs NODE_PATH. Says "ready"; JSON lines on stdin: ["burst", NAME, [values]].
"use strict";
const readline = require("node:readline");
const { standardUnits } = require("node-opcua-data-access");
const { DataType } = require("node-opcua-variant");
const { StatusCodes } = require("node-opcua-status-code");
const { serve } = require("./local_server.cjs");

const POINTS = 36;

serve("/plant", (space) => {
    const namespace = space.registerNamespace("urn:test:plant");
    const folder = namespace.addFolder(space.rootFolder.objects, { browseName: "plant" });
    const variables = new Map();
    for (let number = 0; number < POINTS; number++) {
        const name = `p${number}`;
        variables.set(name, namespace.addAnalogDataItem({
            componentOf: folder,
            browseName: name,
            nodeId: `s=${name}`,
            dataType: "Double",
            engineeringUnits: standardUnits.degree_celsius,
            engineeringUnitsRange: { low: 0, high: 200 },
            value: { dataType: DataType.Double, value: 20 + number },
        }));
    }
    const write = (variable, value) =>
        variable.setValueFromSource({ dataType: DataType.Double, value }, StatusCodes.Good, new Date());
    let round = 0;
    setInterval(() => {
        round += 1;
        // The first third changes, the rest only proves that it lives.
        [...variables.values()].slice(0, POINTS - 1).forEach((variable, number) =>
            write(variable, 20 + number + (number < POINTS / 3 ? round % 10 : 0)));
    }, 200);
    readline.createInterface({ input: process.stdin }).on("line", (line) => {
        const [command, name, values] = JSON.parse(line);
        if (command === "burst") values.forEach((value) => write(variables.get(name), value));
        console.log("done");
    });
});
