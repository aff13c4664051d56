// Runs the tests of a module that `umbel-bindgen` has bound, wherever there is JavaScript: nothing here is
// of Node.js or of a browser.
//
// Each test has an instance of the module for itself, so one that ends it (a panic does) ends no other.
// Tests see the platform through what is counted here: timeouts, the module's closures, listeners of
// signals. Who leaves one of them behind has failed. Time is virtual, and passes when nothing else can
// happen; in tests whose names begin with `real::` it is the platform's.

const platform = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  FinalizationRegistry: globalThis.FinalizationRegistry,
  addEventListener: EventTarget.prototype.addEventListener,
  removeEventListener: EventTarget.prototype.removeEventListener,
};

// Whether it is a closure of the module's: others are the platform's own, or of a test's JavaScript.
const isOurs = (call) => typeof call?._wbg_cb_unref === "function";

// Beyond this, browsers and Node.js take a delay for none.
const LONGEST = 2 ** 31 - 1;

class Host {
  // Milliseconds by which timeouts come too early.
  early = 0;
  delays = [];
  // How many objects may be left behind.
  forgiven = 0;
  closures = 0;
  listeners = 0;
  #timeouts = new Map();
  #next = 1;
  #now = 1000;
  #hops = false;
  #virtual;

  constructor(virtual, server) {
    this.#virtual = virtual;
    this.server = server;
    this.panic = new Promise((_, reject) => (this.panicked = (text) => reject(new Error(text))));
    this.panic.catch(() => {});
  }

  get timeouts() {
    return this.#timeouts.size;
  }

  // Puts what counts in the places of the platform's own.
  install() {
    const host = this;
    globalThis.umbelHost = host;
    globalThis.setTimeout = (call, delay) => host.#set(call, delay);
    globalThis.clearTimeout = (id) => host.#clear(id);
    if (host.#virtual) performance.now = () => host.#now;
    globalThis.FinalizationRegistry = class extends platform.FinalizationRegistry {
      register(target, held, token) {
        host.closures += 1;
        super.register(target, held, token);
      }
      unregister(token) {
        host.closures -= 1;
        return super.unregister(token);
      }
    };
    AbortSignal.prototype.addEventListener = function (...args) {
      if (isOurs(args[1])) host.listeners += 1;
      return platform.addEventListener.apply(this, args);
    };
    AbortSignal.prototype.removeEventListener = function (...args) {
      if (isOurs(args[1])) host.listeners -= 1;
      return platform.removeEventListener.apply(this, args);
    };
  }

  uninstall() {
    for (const id of [...this.#timeouts.keys()]) this.#clear(id);
    globalThis.setTimeout = platform.setTimeout;
    globalThis.clearTimeout = platform.clearTimeout;
    globalThis.FinalizationRegistry = platform.FinalizationRegistry;
    delete performance.now;
    delete AbortSignal.prototype.addEventListener;
    delete AbortSignal.prototype.removeEventListener;
    delete globalThis.umbelHost;
  }

  #set(call, delay) {
    if (!this.#virtual && !isOurs(call)) return platform.setTimeout(call, delay);
    const id = this.#next++;
    this.delays.push(delay);
    if (this.#virtual) {
      const cut = delay >= 0 && delay <= LONGEST ? delay : 0;
      this.#timeouts.set(id, { at: this.#now + cut, call });
      this.#hopLater();
    } else {
      const fires = () => {
        this.#timeouts.delete(id);
        call();
      };
      this.#timeouts.set(id, { platforms: platform.setTimeout(fires, delay) });
    }
    return id;
  }

  #clear(id) {
    const timeout = this.#timeouts.get(id);
    if (timeout === undefined) return platform.clearTimeout(id);
    this.#timeouts.delete(id);
    if (timeout.platforms !== undefined) platform.clearTimeout(timeout.platforms);
  }

  // A turn of the event loop comes when all microtasks are done.
  #hopLater() {
    if (this.#hops || this.#timeouts.size === 0) return;
    this.#hops = true;
    platform.setTimeout(() => this.#hop(), 0);
  }

  #hop() {
    this.#hops = false;
    let [first, next] = [undefined, undefined];
    for (const [id, timeout] of this.#timeouts) {
      if (next === undefined || timeout.at < next.at) [first, next] = [id, timeout];
    }
    if (next === undefined) return;
    this.#timeouts.delete(first);
    this.#now = Math.max(this.#now, next.at - this.early);
    this.#hopLater();
    next.call();
  }
}

const isReal = (name) => name.startsWith("real::");

const turn = () => new Promise((resolve) => platform.setTimeout(resolve, 0));

// How much there is of what must not be left behind.
function count(host, glue) {
  const { timeouts, closures, listeners } = host;
  const objects = glue.live_objects() - host.forgiven;
  return { timeouts, closures, listeners, objects };
}

async function runOne({ url, module, server }, name, index) {
  const host = new Host(!isReal(name), server);
  host.install();
  try {
    const glue = await import(`${url}?${index}`);
    await glue.default({ module_or_path: module });
    await glue.warm_up();
    await turn();
    const before = count(host, glue);
    await Promise.race([glue.run(name), host.panic]);
    await turn();
    const after = count(host, glue);
    for (const what of Object.keys(before)) {
      if (after[what] !== before[what]) {
        throw new Error(`it leaves ${what} behind: ${before[what]} before, ${after[what]} after`);
      }
    }
  } finally {
    host.uninstall();
  }
}

// Runs the tests whose names contain `filter`. `on` is told each name before it runs. Returns the number of
// those that failed, or that all would have if there is none.
export async function runAll({ url, module, server, filter = "", print, on = () => {} }) {
  const glue = await import(url);
  await glue.default({ module_or_path: module });
  const names = glue.tests().filter((name) => name.includes(filter));
  // Last: what a `fetch` of Node.js leaves behind calls `setTimeout` for a while.
  names.sort((a, b) => isReal(a) - isReal(b));
  let [passed, failed] = [0, 0];
  print(`running ${names.length} tests`);
  for (const [index, name] of names.entries()) {
    on(name);
    try {
      await runOne({ url, module, server }, name, index);
      passed += 1;
      print(`test ${name} ... ok`);
    } catch (error) {
      failed += 1;
      print(`test ${name} ... FAILED\n${error?.message ?? error}`);
    }
  }
  print(`\ntest result: ${failed === 0 ? "ok" : "FAILED"}. ${passed} passed; ${failed} failed; 0 ignored`);
  return passed === 0 ? 1 : failed;
}
