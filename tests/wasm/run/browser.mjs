// `node browser.mjs MODULE.js [FILTER]`: the tests in Chromium without a window on the screen: in a page, and then
// in a worker of it.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { Browser } from "../../../xtask/src/browser.mjs";
import { serve } from "./server.mjs";

const [path, filter = ""] = process.argv.slice(2);
const file = resolve(path);

const script = JSON.stringify(`/page.mjs?${encodeURIComponent(filter)}`);
const PAGE = `<!doctype html><script type="module">
  await import(${script});
  new Worker(${script}, { type: "module" });
</script>`;
const PLACES = 2;

const beside = (name) => readFileSync(new URL(name, import.meta.url));
const files = {
  "/": ["text/html", () => PAGE],
  "/core.mjs": ["text/javascript", () => beside("core.mjs")],
  "/page.mjs": ["text/javascript", () => beside("page.mjs")],
  "/module.js": ["text/javascript", () => readFileSync(file)],
  "/module_bg.wasm": ["application/wasm", () => readFileSync(file.replace(/\.js$/, "_bg.wasm"))],
};

/** For all tests: only what hangs, or has crashed, takes as long. */
const PATIENCE = 5 * 60_000;

let end;
const ended = new Promise((resolve) => (end = resolve));
let passed = 0;
const { server, origin } = await serve(async (request, response) => {
  const { pathname } = new URL(request.url, origin);
  if (request.method === "POST") {
    let text = "";
    for await (const chunk of request.setEncoding("utf8")) text += chunk;
    response.end();
    if (pathname === "/print") return console.log(text);
    passed += pathname === "/passed" ? 1 : 0;
    if (pathname === "/failed" || passed === PLACES) end(passed === PLACES);
  } else if (files[pathname] === undefined) {
    response.writeHead(404).end();
  } else {
    const [type, content] = files[pathname];
    response.writeHead(200, { "content-type": type }).end(content());
  }
});

const browser = await Browser.open();
let ok = false;
try {
  await browser.visit(`${origin}/`);
  const late = setTimeout(() => end(false), PATIENCE);
  ok = await ended;
  clearTimeout(late);
} finally {
  await browser.close();
  server.closeAllConnections();
  server.close();
}
if (!ok) console.log("the browser has not run all tests to a good end");
process.exitCode = ok ? 0 : 1;
