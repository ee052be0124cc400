// node make.mjs SOURCE WIT WORLD COMPONENT: a component of a file in JavaScript.
import { componentize } from "@bytecodealliance/componentize-js";
import { readFile, writeFile } from "node:fs/promises";

const [source, witPath, worldName, target] = process.argv.slice(2);
const { component } = await componentize(await readFile(source, "utf8"), {
  witPath,
  worldName,
  disableFeatures: ["http", "fetch-event"],
});
await writeFile(target, component);
