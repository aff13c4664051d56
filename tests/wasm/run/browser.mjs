// `node browser.mjs BROWSER MODULE.js [FILTER]`: the tests in Chromium without a window on the screen: in a page,
// and then in a worker of it.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { serve } from "./server.mjs";

const [browser, path, filter = ""] = process.argv.slice(2);
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

const profile = mkdtempSync(join(tmpdir(), "umbel-browser-"));
const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", `--user-data-dir=${profile}`];
const child = spawn(browser, [...flags, `${origin}/`], { stdio: "ignore" });
const gone = new Promise((resolve) => {
  child.on("exit", resolve);
  child.on("error", resolve);
});
// If it goes first, it has crashed.
const ok = await Promise.race([ended, gone.then(() => false)]);
child.kill();
await gone;
rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
server.closeAllConnections();
server.close();
if (!ok) console.log("the browser has not run all tests to a good end");
process.exitCode = ok ? 0 : 1;
