// `node node.mjs MODULE.js [FILTER]`: the tests in Node.js.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { runAll } from "./core.mjs";
import { serve } from "./server.mjs";

const [path, filter] = process.argv.slice(2);
const file = resolve(path);
const module = await WebAssembly.compile(readFileSync(file.replace(/\.js$/, "_bg.wasm")));
const { server, origin } = await serve();
// It keeps nobody here.
server.unref();

// What a microtask throws, such as the trap of a panic, comes here; the test has been told.
process.on("uncaughtException", (error) => globalThis.umbelHost?.panicked(String(error)));
// Nothing is left that could happen, and the tests are not done.
let current;
process.on("exit", () => {
  if (current === undefined) return;
  console.log(`test ${current} ... FAILED\nnobody wakes it any more`);
  console.log("\ntest result: FAILED. 0 passed; 1 failed; 0 ignored");
  process.exitCode = 1;
});

const url = pathToFileURL(file).href;
const on = (name) => (current = name);
const ok = await runAll({ url, module, origin, filter, print: console.log, on });
current = undefined;
server.closeAllConnections();
server.close();
process.exitCode = ok ? 0 : 1;
