// Runs each test of a libtest program for wasm32-wasip1 in an instance of its own: cargo's runner for
// `cargo xtask wasm`, which says in UMBEL_EXPECTED where tests panic that pass.
//
// There are no threads and no unwinding, so a test that needs either ends. One that ends by a thread
// that could not be, or where the tests of the host panic too, or by the silent end of an unwinding
// that goes on, is counted as one that cannot run. Any other end is a failure.

import { closeSync, openSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { WASI } from "node:wasi";

const program = process.argv[2];
const expected = new Set(readFileSync(process.env.UMBEL_EXPECTED, "utf8").split("\n"));
const module = await WebAssembly.compile(readFileSync(program));

// How it ended, and what it said.
async function run(args) {
  const said = `${program}.txt`;
  const out = openSync(said, "w+");
  const wasi = new WASI({
    version: "preview1",
    args: [basename(program), ...args],
    stdout: out,
    stderr: out,
  });
  let code;
  try {
    code = wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject()));
  } catch (error) {
    if (!(error instanceof WebAssembly.RuntimeError)) throw error;
    code = error;
  }
  closeSync(out);
  return [code, readFileSync(said, "utf8")];
}

function lack(code, text) {
  if (!(code instanceof WebAssembly.RuntimeError)) return undefined;
  if (text.includes("kind: Unsupported")) return "threads";
  const places = [...text.matchAll(/panicked at (\S+):\n/g)].map((match) => match[1]);
  return places.every((place) => expected.has(place)) ? "unwinding" : undefined;
}

const [, list] = await run(["--list", "--format", "terse"]);
const names = [...list.matchAll(/^(.*): test$/gm)].map((match) => match[1]);
const count = { passed: 0, failed: 0, threads: 0, unwinding: 0 };
for (const name of names) {
  const [code, text] = await run(["--exact", "--nocapture", name]);
  const end = code === 0 && text.includes(" 1 passed;") ? "passed" : (lack(code, text) ?? "failed");
  count[end] += 1;
  if (end === "failed") console.log(`test ${name} ... FAILED (${code})\n${text}`);
}
const verdict = count.failed === 0 ? "ok" : "FAILED";
console.log(`\n${count.threads} tests need threads, ${count.unwinding} unwinding`);
console.log(`test result: ${verdict}. ${count.passed} passed; ${count.failed} failed`);
process.exitCode = count.failed === 0 ? 0 : 1;
