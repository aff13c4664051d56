// Clicks through the page in Chromium: `node clicks.mjs URL PICTURES [ONLY]`.
//
// Nothing here waits for a time: the page says where it is, and the server what it has seen.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Browser } from "../browser.mjs";

const [url, pictures, only = ""] = process.argv.slice(2);

// ------------------------------------------------------------------ the page, from outside

/** What is chosen if a test does not say otherwise. No times: a slow machine is no failure. */
const PLAIN = {
  fetches: 6,
  limit: 4,
  bodies: "endless",
  policy: "FailFast",
  timeout: "",
  deadline: "",
  grace: "",
  stubborn: false,
};

class Page {
  constructor(browser) {
    this.browser = browser;
  }

  async load() {
    await this.browser.visit(url);
    await this.is("ready", "broken");
    const status = await this.browser.run(() => document.getElementById("status").textContent);
    assert.equal(await this.state(), "ready", status);
  }

  /** Chooses, and clicks Start. */
  async start(options) {
    const { policy, stubborn, ...values } = { ...PLAIN, ...options };
    await this.browser.run((values) => {
      for (const [id, value] of Object.entries(values)) {
        const control = document.getElementById(id);
        control.value = value;
        control.dispatchEvent(new Event("input"));
      }
      // The most fetches that ever were drawn as running.
      globalThis.mostRunning = 0;
      globalThis.watching?.disconnect();
      globalThis.watching = new MutationObserver(() => {
        const running = document.querySelectorAll(".row[data-name^=fetch][data-state=running]").length;
        mostRunning = Math.max(mostRunning, running);
      });
      watching.observe(document.getElementById("rows"), { subtree: true, attributes: true, childList: true });
    }, values);
    await this.browser.click(`[value=${policy}]`);
    const checked = await this.browser.run(() => document.getElementById("stubborn").checked);
    if (checked !== stubborn) await this.browser.click("#stubborn");
    await this.browser.click("#start");
    await this.browser.until("a run", () => document.documentElement.dataset.state !== "starting");
  }

  click(button) {
    return this.browser.click(`#${button}`);
  }

  is(...states) {
    const f = (states) => states.includes(document.documentElement.dataset.state);
    return this.browser.until(`the page is ${states.join(" or ")}`, f, states);
  }

  /** Waits until the server has counted so. */
  counts(expected) {
    const f = (expected) =>
      Object.entries(expected).every(
        ([name, n]) => document.querySelector(`[data-count=${name}]`).textContent === String(n),
      );
    return this.browser.until(`the server counts ${JSON.stringify(expected)}`, f, expected);
  }

  /** Waits until so many rows are in a state. */
  rows(state, n) {
    const f = (state, n) => document.querySelectorAll(`.row[data-name^=fetch][data-state=${state}]`).length === n;
    return this.browser.until(`${n} fetches are ${state}`, f, state, n);
  }

  row(name, state) {
    const f = (name, state) => document.querySelector(`.row[data-name="${name}"]`)?.dataset.state === state;
    return this.browser.until(`${name} is ${state}`, f, name, state);
  }

  /** Waits until all fetches that were begun have thrown an error of that name. Gives their number. */
  threw(name) {
    const f = (name) => {
      const begun = [...document.querySelectorAll(".row[data-name^=fetch][data-begun]")];
      return begun.every((row) => row.dataset.threw === name) && { begun: begun.length };
    };
    return this.browser.until(`all fetches threw ${name}`, f, name).then(({ begun }) => begun);
  }

  mostRunning() {
    return this.browser.run(() => mostRunning);
  }

  outcome() {
    return this.browser.run(() => document.getElementById("outcome").textContent);
  }

  state() {
    return this.browser.run(() => document.documentElement.dataset.state);
  }

  well() {
    return this.browser.run(() => document.documentElement.dataset.well === "true");
  }

  picture(name) {
    return this.browser.picture(join(pictures, name));
  }

  /** Whatever became of it: the journal was closed with a word, the lease given back. */
  async isTidy() {
    await this.is("ended");
    await this.counts({ open: 0, goodbyes: 1, leasesOpened: 1, leasesClosed: 1 });
    await this.row("journal", "done");
    await this.row("close lease", "done");
  }
}

/** Run before any script of the page: counts the timeouts that are set. */
const COUNT_TIMEOUTS = `{
  const [set, clear] = [setTimeout, clearTimeout];
  const live = new Set();
  globalThis.setTimeout = (f, ...rest) => {
    const id = set((...args) => { live.delete(id); f(...args); }, ...rest);
    live.add(id);
    return id;
  };
  globalThis.clearTimeout = (id) => { live.delete(id); clear(id); };
  globalThis.timeouts = () => live.size;
}`;

// ------------------------------------------------------------------ the tests

/** In their order, on one page: each starts again where the one before has ended. */
const TESTS = {
  async a_page_says_what_each_state_means(page) {
    const shown = await page.browser.run(() => ({
      legend: [...document.querySelectorAll("#legend li")].map((item) => item.dataset.state),
      disabled: [...document.querySelectorAll(".buttons button")].map((button) => button.disabled),
    }));
    assert.deepEqual(shown.legend, ["queued", "running", "told", "done", "failed", "cancelled", "forced"]);
    assert.deepEqual(shown.disabled, [false, true, true, true, true]);
  },

  async a_run_that_ends_well_is_drawn_and_keeps_its_limit(page) {
    await page.start({ fetches: 8, limit: 3, bodies: "quick" });
    const drawn = await page.browser.run(() => ({
      rows: [...document.querySelectorAll(".row")].map((row) => row.dataset.name),
      stalks: document.querySelectorAll("#stalks path[d]").length,
      forks: [...document.querySelectorAll("#stalks g[data-name]")].map((fork) => fork.dataset.name),
    }));
    const fetches = Array.from({ length: 8 }, (_, i) => `fetch ${i + 1}`);
    assert.deepEqual(drawn.rows, [...fetches, "journal", "close lease"]);
    assert.deepEqual(drawn.forks, ["session", "downloads"]);
    assert.equal(drawn.stalks, 8 + 2 + 1);
    await page.isTidy();
    await page.rows("done", 8);
    await page.counts({ peak: 3, served: 8, failed: 0, aborted: 0 });
    assert.equal(await page.mostRunning(), 3);
    assert.match(await page.outcome(), /^8 of 8 fetched, \d+ KiB\n/);
    assert(await page.well());
  },

  async ages_are_drawn_while_it_runs(page) {
    await page.start({});
    await page.rows("running", 4);
    const f = () => [...document.querySelectorAll(".row[data-state=running] .age")].every((age) => / s$/.test(age.textContent));
    await page.browser.until("all that run have an age in seconds", f);
    await page.click("cancel");
    await page.isTidy();
  },

  async cancel_reaches_the_network(page) {
    await page.start({});
    await page.counts({ open: 4 });
    await page.click("cancel");
    await page.isTidy();
    await page.rows("cancelled", 6);
    assert.equal(await page.threw("AbortError"), 4);
    await page.counts({ aborted: 4, served: 0, peak: 4 });
    assert.match(await page.outcome(), /^session: cancelled\n/);
    assert(!(await page.well()));
  },

  async one_fetch_is_cancelled_and_the_others_go_on(page) {
    await page.start({ fetches: 4 });
    await page.counts({ open: 4 });
    await page.browser.click(`[data-name="fetch 2"] .one`);
    await page.counts({ open: 3, aborted: 1 });
    await page.row("fetch 2", "cancelled");
    await page.rows("running", 3);
    await page.click("cancel");
    await page.isTidy();
    await page.counts({ aborted: 4 });
  },

  async the_deadline_is_a_timeout_error_to_the_fetches(page) {
    await page.start({});
    await page.counts({ open: 4 });
    await page.click("expire");
    await page.isTidy();
    assert.equal(await page.threw("TimeoutError"), 4);
    await page.counts({ aborted: 4 });
    assert.match(await page.outcome(), /^session: cancelled: deadline exceeded\n/);
  },

  async a_deadline_that_was_set_before_comes_by_itself(page) {
    await page.start({ deadline: "1000" });
    await page.is("ended");
    // On a slow machine it comes before the first fetch.
    await page.threw("TimeoutError");
    await page.counts({ open: 0 });
    assert.match(await page.outcome(), /^session: cancelled: deadline exceeded\n/);
  },

  async each_fetch_has_its_time_from_its_start(page) {
    await page.start({ fetches: 4, limit: 2, timeout: "500", policy: "KeepGoing" });
    await page.isTidy();
    await page.rows("failed", 4);
    assert.equal(await page.threw("TimeoutError"), 4);
    assert.match(await page.outcome(), /fetch 4.* failed: cancelled: deadline exceeded/);
  },

  async one_that_fails_ends_all_under_fail_fast(page) {
    await page.start({});
    await page.counts({ open: 4 });
    await page.click("fail");
    await page.isTidy();
    await page.rows("failed", 1);
    await page.rows("cancelled", 5);
    await page.counts({ failed: 1, aborted: 3 });
    assert.match(await page.outcome(), /child "fetch 1" .* failed: TypeError: /);
  },

  async one_that_fails_ends_nobody_under_keep_going(page) {
    await page.start({ policy: "KeepGoing" });
    await page.counts({ open: 4 });
    await page.click("fail");
    await page.row("fetch 1", "failed");
    // Its place is taken by the next.
    await page.row("fetch 5", "running");
    await page.counts({ open: 4, failed: 1, aborted: 0, peak: 4 });
    assert.equal(await page.state(), "running");
    await page.click("cancel");
    await page.isTidy();
    await page.counts({ aborted: 4 });
  },

  async the_first_success_ends_all(page) {
    await page.start({ policy: "FirstSuccess", bodies: "race", fetches: 4 });
    await page.isTidy();
    await page.row("fetch 2", "done");
    await page.rows("cancelled", 3);
    await page.counts({ served: 1 });
    assert.match(await page.outcome(), /^1 of 4 fetched/);
    assert(await page.well());
  },

  async one_that_fails_ends_nobody_under_first_success(page) {
    await page.start({ policy: "FirstSuccess" });
    await page.counts({ open: 4 });
    await page.click("fail");
    await page.row("fetch 1", "failed");
    await page.row("fetch 5", "running");
    await page.counts({ open: 4, failed: 1 });
    await page.click("cancel");
    await page.isTidy();
  },

  async answers_that_are_errors_are_told(page) {
    await page.start({ policy: "KeepGoing", bodies: "failing", fetches: 4 });
    await page.isTidy();
    await page.row("fetch 4", "failed");
    await page.rows("done", 3);
    await page.counts({ failed: 1, served: 3 });
    assert.match(await page.outcome(), /child "fetch 4" .* failed: Error: 503 Service Unavailable/);
  },

  async a_stuck_drain_is_forced(page) {
    await page.start({ stubborn: true });
    await page.counts({ open: 4 });
    await page.click("cancel");
    await page.row("stubborn", "told");
    await page.row("journal", "done");
    await page.counts({ open: 0, aborted: 4, goodbyes: 1 });
    // Everybody else has ended, and it still waits: the lease is not given back yet.
    assert.equal(await page.state(), "draining");
    await page.counts({ leasesClosed: 0 });
    await page.picture("draining.png");
    await page.click("force");
    await page.is("ended");
    await page.row("stubborn", "forced");
    assert.match(await page.outcome(), /child "stubborn" .* was forced/);
  },

  async the_grace_ends_a_stuck_drain(page) {
    await page.start({ stubborn: true, grace: "1000" });
    await page.counts({ open: 4 });
    await page.click("cancel");
    await page.is("ended");
    await page.row("stubborn", "forced");
    await page.row("close lease", "done");
    await page.counts({ open: 0, leasesOpened: 1, leasesClosed: 1 });
    assert.match(await page.outcome(), /child "stubborn" .* was forced/);
  },

  async it_is_used_by_keyboard(page) {
    await page.browser.run(() => document.activeElement.blur());
    await page.browser.press("s");
    await page.is("running");
    await page.counts({ open: 4 });
    await page.browser.press("c");
    await page.isTidy();
    // In their order, from the first control to the last button.
    const order = [];
    await page.browser.run(() => document.getElementById("fetches").focus());
    for (let i = 0; i < 9; i++) {
      order.push(await page.browser.run(() => document.activeElement.id || document.activeElement.name));
      await page.browser.press("\uE004");
    }
    const controls = ["fetches", "limit", "bodies", "policy", "timeout", "deadline", "grace", "stubborn"];
    assert.deepEqual(order, [...controls, "start"]);
  },

  async a_server_that_is_gone_is_told(page) {
    const block = (urls) => page.browser.devtools("Network.setBlockedURLs", { urls });
    await page.browser.devtools("Network.enable");
    try {
      await block(["*/counts*"]);
      await page.click("start");
      const f = () => document.getElementById("status").textContent.startsWith("The server does not answer");
      await page.browser.until("that it does not answer", f);
    } finally {
      await block([]);
    }
    await page.start({ bodies: "quick" });
    await page.isTidy();
  },

  async a_page_closed_meanwhile_leaves_nothing_at_the_server(page) {
    const close = await page.browser.window(url);
    let closed = false;
    try {
      await page.is("ready");
      await page.start({});
      const run = await page.browser.run(() => document.documentElement.dataset.run);
      await page.counts({ open: 4 });
      const seen = counts(run);
      assert.equal((await seen.next()).value.open, 4);
      await close();
      closed = true;
      for await (const { open, aborted } of seen) {
        if (open > 0) continue;
        assert.equal(aborted, 4);
        break;
      }
    } finally {
      if (!closed) await close();
    }
  },
};

/** What the server counts of a run, and each change of it. */
async function* counts(run) {
  const response = await fetch(`${url}counts?run=${run}`, { signal: AbortSignal.timeout(60_000) });
  let text = "";
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      if (event.startsWith("data: ")) yield JSON.parse(event.slice("data: ".length));
    }
  }
}

/** What a run leaves behind in the page: no timeout, and no more of JavaScript's values held than before. */
async function leavesNothing(page, held) {
  await page.browser.until("no timeout is left", () => timeouts() === 0);
  await page.browser.until(`${held} values are held, as before`, (held) => umbel.held() === held, held);
}

/** Errors in the console; a browser tells there also of each answer that is an error, and each that is cut. */
async function complaints(page) {
  const told = await page.browser.console();
  return told.filter(({ level, source }) => level === "SEVERE" && source !== "network").map(({ message }) => message);
}

// ------------------------------------------------------------------ their run

async function main() {
  await mkdir(pictures, { recursive: true });
  const browser = await Browser.open();
  const page = new Page(browser);
  const failed = [];
  let passed = 0;
  try {
    await browser.devtools("Emulation.setDeviceMetricsOverride", { width: 1280, height: 860, deviceScaleFactor: 1, mobile: false });
    await browser.devtools("Page.addScriptToEvaluateOnNewDocument", { source: COUNT_TIMEOUTS });
    await page.load();
    // What is held from the first run on: the clock, the queue of tasks.
    await page.start({ bodies: "quick", fetches: 1 });
    await page.isTidy();
    let held = await browser.run(() => umbel.held());
    const chosen = Object.entries(TESTS).filter(([name]) => name.includes(only));
    for (const [name, test] of chosen) {
      try {
        await test(page);
        assert.deepEqual(await complaints(page), []);
        await leavesNothing(page, held);
        passed += 1;
        console.log(`test ${name} ... ok`);
      } catch (error) {
        failed.push(name);
        console.log(`test ${name} ... FAILED\n${error.stack}`);
        await page.picture(`failed-${name}.png`);
        // The next one has a page that it can use.
        await page.load();
        await page.start({ bodies: "quick", fetches: 1 });
        await page.is("ended");
        held = await browser.run(() => umbel.held());
        await browser.console();
      }
    }
    await portraits(page);
  } finally {
    await browser.close();
  }
  const result = failed.length === 0 ? "ok" : "FAILED";
  console.log(`\ntest result: ${result}. ${passed} passed; ${failed.length} failed; pictures in ${pictures}`);
  return failed.length === 0 ? 0 : 1;
}

/** Pictures of a run in its middle: by day, by night, and on a narrow screen. */
async function portraits(page) {
  const look = (scheme) =>
    page.browser.devtools("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  await page.start({ fetches: 14, limit: 5, bodies: "failing", policy: "KeepGoing", stubborn: true });
  const f = () => document.querySelectorAll(".row[data-state=done]").length >= 4;
  await page.browser.until("some are done", f);
  await look("light");
  await page.picture("light.png");
  await look("dark");
  await page.picture("dark.png");
  await page.click("cancel");
  await page.row("journal", "done");
  await page.picture("cancelled-dark.png");
  await look("light");
  await page.picture("cancelled-light.png");
  await page.picture("readme.webp");
  await page.browser.devtools("Emulation.setDeviceMetricsOverride", { width: 420, height: 1500, deviceScaleFactor: 1, mobile: false });
  await page.picture("narrow.png");
  await page.click("force");
  await page.is("ended");
  await page.browser.devtools("Emulation.setDeviceMetricsOverride", { width: 1280, height: 860, deviceScaleFactor: 1, mobile: false });
  await page.picture("ended.png");
}

process.exitCode = await main();
