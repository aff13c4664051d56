// cargo's runner for `cargo xtask wasm`: runs each test of a libtest program for wasm32-wasip1 in a
// process of its own. UMBEL_EXPECTED lists where tests panic that pass.
//
// There are no threads and no unwinding, so a test that needs either ends. One that ends by a thread
// that could not be, or where the tests of the host panic too, or by the silent end of an unwinding
// that goes on, is counted as one that cannot run; so is one that libtest does not run here, since it
// is to panic. Any other end is a failure.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";

const [program, ...args] = process.argv.slice(2);
const ABORTED = 134;

if (args.length > 0) {
  const wasi = new WASI({ version: "preview1", args: [program, ...args] });
  const module = await WebAssembly.compile(readFileSync(program));
  try {
    const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
    process.exitCode = wasi.start(instance);
  } catch (error) {
    // An abort; an access out of bounds has another message.
    if (error.message !== "unreachable") throw error;
    process.exitCode = ABORTED;
  }
} else {
  runAll();
}

// How it ended, and what it said.
function run(args) {
  const node = ["--no-warnings", process.argv[1], program, ...args];
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, node, { encoding: "utf8" });
  return { status: status ?? signal, text: stdout + stderr };
}

function outcome({ status, text }, expected) {
  if (status === 0) {
    if (text.includes(" 1 passed;")) return "passed";
    return text.includes(" 1 ignored;") ? "unwinding" : "failed";
  }
  // (After some aborts node itself crashes.)
  if (text.includes("kind: Unsupported")) return "threads";
  const places = [...text.matchAll(/panicked at (\S+):\n/g)].map((match) => match[1]);
  const known = places.length > 0 || status === ABORTED;
  return known && places.every((place) => expected.has(place)) ? "unwinding" : "failed";
}

function runAll() {
  const expected = new Set(readFileSync(process.env.UMBEL_EXPECTED, "utf8").split("\n"));
  const list = run(["--list", "--format", "terse"]).text;
  const names = [...list.matchAll(/^(.*): test$/gm)].map((match) => match[1]);
  const count = { passed: 0, failed: 0, threads: 0, unwinding: 0 };
  for (const name of names) {
    const end = run(["--exact", "--nocapture", name]);
    const what = outcome(end, expected);
    count[what] += 1;
    if (what === "failed") console.log(`test ${name} ... FAILED (${end.status})\n${end.text}`);
  }
  const verdict = count.failed === 0 ? "ok" : "FAILED";
  console.log(`\n${count.threads} tests need threads, ${count.unwinding} unwinding`);
  console.log(`test result: ${verdict}. ${count.passed} passed; ${count.failed} failed`);
  process.exitCode = count.failed === 0 && count.passed > 0 ? 0 : 1;
}
