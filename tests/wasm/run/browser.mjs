// `node browser.mjs BROWSER MODULE.js [FILTER]`: the tests in Chromium, without a window.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { serve } from "./server.mjs";

const [browser, path, filter = ""] = process.argv.slice(2);
const file = resolve(path);

const PAGE = `<!doctype html>
<script type="module">
  import { runAll } from "/core.mjs";
  const tell = (what, text = "") => fetch("/" + what, { method: "POST", body: text });
  let told = Promise.resolve();
  const print = (text) => (told = told.then(() => tell("print", text)));
  for (const event of ["error", "unhandledrejection"]) {
    addEventListener(event, (e) => {
      e.preventDefault();
      globalThis.umbelHost?.panicked(String(e.error ?? e.reason ?? e.message));
    });
  }
  console.log = print;
  const module = await WebAssembly.compileStreaming(fetch("/module_bg.wasm"));
  const filter = ${JSON.stringify(filter)};
  const ok = await runAll({ url: "/module.js", module, origin: location.origin, filter, print });
  await told;
  await tell(ok ? "passed" : "failed");
</script>`;

const files = {
  "/": ["text/html", () => PAGE],
  "/core.mjs": ["text/javascript", () => readFileSync(new URL("core.mjs", import.meta.url))],
  "/module.js": ["text/javascript", () => readFileSync(file)],
  "/module_bg.wasm": ["application/wasm", () => readFileSync(file.replace(/\.js$/, "_bg.wasm"))],
};

let end;
const ended = new Promise((resolve) => (end = resolve));
const { server, origin } = await serve(async (request, response) => {
  const { pathname } = new URL(request.url, origin);
  if (request.method === "POST") {
    let text = "";
    for await (const chunk of request.setEncoding("utf8")) text += chunk;
    response.end();
    if (pathname === "/print") console.log(text);
    else end(pathname === "/passed");
  } else if (files[pathname] === undefined) {
    response.writeHead(404).end();
  } else {
    const [type, content] = files[pathname];
    response.writeHead(200, { "content-type": type }).end(content());
  }
});

const profile = mkdtempSync(join(tmpdir(), "umbel-browser-"));
const flags = ["--headless=new", "--no-sandbox", "--disable-gpu", `--user-data-dir=${profile}`];
const child = spawn(browser, [...flags, `${origin}/`], { stdio: ["ignore", "ignore", "ignore"] });
const gone = new Promise((resolve) => {
  child.on("exit", resolve);
  child.on("error", resolve);
});
// If it goes first, it has crashed.
const ok = await Promise.race([ended, gone.then(() => false)]);
child.kill();
await gone;
rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
server.closeAllConnections();
server.close();
if (!ok) console.log("the browser has not run all tests to a good end");
process.exitCode = ok ? 0 : 1;
