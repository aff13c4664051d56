// The page: controls, buttons, the log, and what the server counts.

import init, { Options, Policy, Running, held } from "./umbel_web.js";
import { call, page } from "./host.js";
import { STATES, Tree, icon, noticed, seconds } from "./tree.js";

const $ = (id) => document.getElementById(id);
const root = document.documentElement;

const tree = new Tree($("stalks"), $("rows"), (name) => running?.cancelOne(name));
let work = "";
let running = null;
let server = null;
let begun = 0;
let runs = 0;

// ------------------------------------------------------------------ state

/** loading, ready, running, draining, cleaning, ended. */
function enter(state, text) {
  const focused = document.activeElement;
  root.dataset.state = state;
  $("status").textContent = text;
  const at = (...states) => !states.includes(state);
  $("start").disabled = at("ready", "ended");
  $("cancel").disabled = $("expire").disabled = $("fail").disabled = at("running");
  $("force").disabled = at("running", "draining", "cleaning");
  // Whoever steers it by keyboard goes on from there.
  if (focused?.disabled) document.querySelector(".buttons :enabled")?.focus();
}

function note(kind, text) {
  const line = document.createElement("li");
  line.dataset.kind = kind;
  const time = document.createElement("time");
  time.textContent = ((performance.now() - begun) / 1000).toFixed(2);
  line.append(time, text);
  const log = $("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
  log.append(line);
  if (log.childElementCount > 400) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// ------------------------------------------------------------------ what the nurseries tell

page.progress = (name, size, all) => tree.progress(name, size, all);

page.threw = (name, error) => {
  const row = tree.row(name);
  row.node.dataset.threw = error.name;
  row.say(error.name === "Error" ? error.message : error.name);
  note("thrown", `${name} threw ${error.name}: ${error.message}`);
};

page.tell = ({ what, scope, who, state, text, notice, drain }) => {
  const row = who && tree.row(who);
  switch (what) {
    case "opened":
      tree.fork(scope).set("running", "running");
      return note("scope", `${scope} opens`);
    case "cancelled":
      tree.fork(scope).set("told", "draining");
      if (scope === "session") enter("draining", `${text[0].toUpperCase()}${text.slice(1)}: plain children are cut, graceful ones say goodbye.`);
      return note("cancelled", `${scope} is cancelled: ${text}`);
    case "closed":
      return note("scope", `${scope} closes: nothing of it is left`);
    case "started":
      if (!row) return;
      row.set("running");
      row.node.dataset.begun = "";
      return note("started", `${who} starts`);
    case "told":
      row?.set("told");
      return note("told", `${who} is told: ${text}`);
    case "cleaned":
    case "ended": {
      const times = drain === undefined ? "" : `, ${seconds(drain)} after it was told`;
      row?.set(state);
      if (row && times) {
        row.age.textContent = seconds(drain);
        row.say(noticed(notice ?? null));
      }
      if (who === "downloads") tree.fork(who).set(state, state);
      return note(state, `${who} ${text}${times}`);
    }
  }
};

page.over = (well, text) => {
  running.free();
  running = null;
  root.dataset.well = well;
  $("outcome").textContent = text;
  tree.fork("session").set(well ? "done" : "failed", "ended");
  enter("ended", well ? "Ended well. Nothing is left." : "Ended, and told why. Nothing is left.");
};

// ------------------------------------------------------------------ what the server counts

function count(name) {
  server?.close();
  server = new EventSource(`/counts?run=${name}`);
  return new Promise((resolve, reject) => {
    server.onerror = reject;
    server.onmessage = ({ data }) => {
      for (const [name, n] of Object.entries(JSON.parse(data))) {
        const shown = document.querySelector(`[data-count=${name}]`);
        if (shown.textContent !== String(n)) shown.textContent = n;
      }
      resolve();
    };
  });
}

// ------------------------------------------------------------------ start, and while it runs

/** How the server answers the `n`th fetch. */
const BODIES = {
  mixed: (n) => (n % 4 === 1 ? "quick" : "slow"),
  quick: () => "quick",
  endless: () => "endless",
  race: (n) => (n === 2 ? "quick" : "endless"),
  failing: (n) => (n % 4 === 0 ? "failing" : "slow"),
};

const time = (id) => ($(id).value === "" ? undefined : Number($(id).value));

/** What is to run, before it does. */
function plant() {
  const others = ["journal", ...($("stubborn").checked ? ["stubborn"] : []), "close lease"];
  tree.plant(Number($("fetches").value), others);
}

async function start() {
  const name = `${Date.now().toString(36)}-${++runs}`;
  root.dataset.run = name;
  delete root.dataset.well;
  enter("starting", "starting …");
  plant();
  $("log").replaceChildren();
  $("outcome").textContent = "it runs …";
  try {
    await count(name);
  } catch {
    server.close();
    $("outcome").textContent = "nothing has run";
    return enter("ready", "The server does not answer: has it been stopped?");
  }
  call(name);
  begun = performance.now();
  const policy = Policy[document.querySelector("[name=policy]:checked").value];
  const options = Object.assign(new Options(Number($("limit").value), policy), {
    timeout: time("timeout"),
    deadline: time("deadline"),
    grace: time("grace"),
    stubborn: $("stubborn").checked,
  });
  const kind = BODIES[$("bodies").value];
  const urls = Array.from({ length: Number($("fetches").value) }, (_, i) => `${work}/work/${kind(i + 1)}?run=${name}&n=${i + 1}`);
  running = Running.start(options, urls);
  options.free();
  enter("running", "It runs.");
  requestAnimationFrame(draw);
}

/** Draws what a snapshot shows, as often as there is something to see. */
async function draw() {
  if (!running) return;
  const seen = JSON.parse(await running.look());
  if (!running) return;
  tree.show(seen);
  if (seen.state === "cleaning up" && root.dataset.state !== "cleaning") {
    enter("cleaning", "All children have ended; the lease is given back.");
  }
  requestAnimationFrame(draw);
}

/** Has the server cut an answer: a network error, as networks have them. */
function failOne() {
  const victim = [...tree.rows.values()].find((row) => row.now === "running" && row.name.startsWith("fetch "));
  if (!victim) return;
  note("cut", `the server cuts ${victim.name}`);
  fetch(`/cut?run=${root.dataset.run}&n=${victim.name.slice("fetch ".length)}`, { method: "POST" });
}

// ------------------------------------------------------------------ controls

const BUTTONS = {
  start: ["s", start],
  cancel: ["c", () => running.cancel()],
  expire: ["d", () => running.expire()],
  fail: ["f", failOne],
  force: ["x", () => running.force()],
};

for (const [id, [, action]] of Object.entries(BUTTONS)) {
  $(id).addEventListener("click", action);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const found = Object.entries(BUTTONS).find(([, [key]]) => key === event.key);
  if (found && !$(found[0]).disabled) $(found[0]).click();
});

for (const id of ["fetches", "limit"]) {
  $(id).addEventListener("input", () => ($(`${id}-shown`).textContent = $(id).value));
}
for (const id of ["fetches", "stubborn"]) {
  $(id).addEventListener("input", () => running ?? plant());
}

$("controls").addEventListener("submit", (event) => event.preventDefault());

for (const [state, meaning] of Object.entries(STATES)) {
  const item = document.createElement("li");
  item.dataset.state = state;
  const word = document.createElement("b");
  word.textContent = state;
  const said = document.createElement("span");
  said.textContent = meaning;
  item.append(icon(state), word, said);
  $("legend").append(item);
}

/** For whoever looks from outside: what is held of the page by the nurseries. */
globalThis.umbel = { held };

try {
  await init({ module_or_path: new URL("umbel_web_bg.wasm", import.meta.url) });
  work = `http://${await (await fetch("/where")).text()}`;
  plant();
  enter("ready", "Ready. Press Start, then any other button.");
} catch (error) {
  enter("broken", `It cannot run here: ${error}`);
  throw error;
}
