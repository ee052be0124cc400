"use strict";
// Runs the C tests in a program that Emscripten made, or in a side module beside it:
//
//     node emscripten.js PROGRAM.js [SIDE_MODULE.wasm]
//
// Each exported function test_... and abort_... runs in an instance of its own. One line for each: RESULT and, in JSON,
// its name, the error that ended it, null if none did, and the lines that it wrote to standard error.

const path = require("path");

const make = require(path.resolve(process.argv[2]));
const side = process.argv[3] && path.resolve(process.argv[3]);
const log = console.log;

async function instance(said) {
    const module = await make({
        print: () => {},
        printErr: (line) => said.push(line),
        // Emscripten looks for everything beside the program.
        locateFile: (name, folder) => path.isAbsolute(name) ? name : folder + name,
    });
    if (!side) {
        return module.wasmExports;
    }
    const functions = {};
    await module.loadDynamicLibrary(side, {loadAsync: true, global: false, nodelete: true}, functions);
    return functions;
}

async function main() {
    const names = Object.keys(await instance([])).filter((name) => /^(test|abort)_/.test(name));
    for (const name of names) {
        const said = [];
        let error = null;
        try {
            (await instance(said))[name]();
        } catch (caught) {
            error = String(caught && caught.message || caught);
        }
        console.log = log;
        process.stdout.write("RESULT " + JSON.stringify({name, error, said}) + "\n");
    }
}

main().catch((error) => {
    process.stderr.write(String(error && error.stack || error) + "\n");
    process.exitCode = 1;
});
