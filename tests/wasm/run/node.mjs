// `node node.mjs MODULE.js [FILTER]`: the tests in Node.js, beside a server of its own.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { runAll } from "./core.mjs";

const [path, filter] = process.argv.slice(2);
const file = resolve(path);
const module = await WebAssembly.compile(readFileSync(file.replace(/\.js$/, "_bg.wasm")));

// It answers `/ok`; what else is asked for waits until who asks goes away.
const server = createServer((request, response) => {
  if (request.url === "/ok") return void response.end("ok");
  tell("asked");
  response.on("close", () => tell("gone"));
  if (request.url === "/body") response.write("the first half");
});
const heard = [];
let waits = [];
function tell(what) {
  heard.push(what);
  for (const wake of waits.splice(0)) wake();
}
async function hears(what) {
  while (!heard.includes(what)) await new Promise((wake) => waits.push(wake));
  heard.splice(heard.indexOf(what), 1);
}
await new Promise((listens) => server.listen(0, "127.0.0.1", listens));
// It keeps nobody here.
server.unref();
const origin = `http://127.0.0.1:${server.address().port}`;

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

const failed = await runAll({
  url: pathToFileURL(file).href,
  module,
  filter,
  server: { origin, hears },
  print: console.log,
  on: (name) => (current = name),
});
current = undefined;
server.closeAllConnections();
server.close();
process.exitCode = failed === 0 ? 0 : 1;
