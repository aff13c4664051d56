// The tests in a window, or in a worker: `page.mjs?FILTER`, from the server of `browser.mjs`, which is told.

import { runAll } from "./core.mjs";

const tell = (what, text = "") => fetch(`/${what}`, { method: "POST", body: text });
let told = Promise.resolve();
const print = (text) => (told = told.then(() => tell("print", text)));

// What a microtask throws, such as the trap of a panic, comes here; the test has been told.
for (const name of ["error", "unhandledrejection"]) {
  addEventListener(name, (event) => {
    event.preventDefault();
    globalThis.umbelHost?.panicked(String(event.error ?? event.reason ?? event.message));
  });
}
console.log = print;

print(`\nin a ${typeof document === "undefined" ? "worker" : "window"}`);
const module = await WebAssembly.compileStreaming(fetch("/module_bg.wasm"));
const filter = decodeURIComponent(new URL(import.meta.url).search.slice(1));
const ok = await runAll({ url: "/module.js", module, origin: location.origin, filter, print });
await told;
await tell(ok ? "passed" : "failed");
