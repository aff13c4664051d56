// Runs the tests of a module that `umbel-bindgen` has bound, wherever there is JavaScript: nothing here is
// of Node.js or of a browser.
//
// A test that fails takes its instance of the module along (a panic ends it): the next one has a new one.
// Tests see the platform through what is counted here: timeouts, the module's closures, listeners of
// signals. Who leaves one of them behind has failed. Time is virtual, and passes when nothing else can
// happen; in tests whose names begin with `real::` or `net::` it is the platform's, and the latter need the
// server of `server.mjs`.

const platform = {
  setTimeout: globalThis.setTimeout.bind(globalThis),
  clearTimeout: globalThis.clearTimeout.bind(globalThis),
  fetch: globalThis.fetch.bind(globalThis),
  FinalizationRegistry,
  addEventListener: EventTarget.prototype.addEventListener,
  removeEventListener: EventTarget.prototype.removeEventListener,
};

// In a turn of its own of the event loop. (The timeouts of browsers are slow, the channels of Node.js keep it
// from its end.)
const later = globalThis.setImmediate ?? ((call) => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    call();
  };
  port2.postMessage(undefined);
});

// Whether it is a closure of the module's: others are the platform's own, or of a test's JavaScript.
const isOurs = (call) => typeof call?._wbg_cb_unref === "function";

// Beyond this, browsers and Node.js take a delay for none.
const LONGEST = 2 ** 31 - 1;

// Closures of the module's that JavaScript could call: wasm-bindgen registers each of them.
let closures = 0;

class CountingRegistry extends FinalizationRegistry {
  register(target, held, token) {
    closures += 1;
    super.register(target, held, token);
  }
  unregister(token) {
    closures -= 1;
    return super.unregister(token);
  }
}

class Host {
  // Milliseconds by which timeouts come too early.
  early = 0;
  delays = [];
  // How many objects may be left behind.
  forgiven = 0;
  listeners = 0;
  #timeouts = new Map();
  // Below what platforms count by.
  #next = -1;
  #now = 1000;
  #hops = false;
  // For how many timeouts no time has passed.
  #stands = 0;
  #virtual;

  constructor(virtual, origin) {
    this.#virtual = virtual;
    this.origin = origin;
    this.panic = new Promise((_, reject) => (this.panicked = (text) => reject(new Error(text))));
    this.panic.catch(() => {});
  }

  get closures() {
    return closures;
  }

  get timeouts() {
    return this.#timeouts.size;
  }

  // When the server has heard it.
  async hears(what) {
    await platform.fetch(`${this.origin}/hears/${what}`);
  }

  // Puts what counts in the places of the platform's own.
  install() {
    const host = this;
    globalThis.umbelHost = host;
    globalThis.setTimeout = (call, delay) => host.#set(call, delay);
    globalThis.clearTimeout = (id) => host.#clear(id);
    if (host.#virtual) performance.now = () => host.#now;
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
    delete performance.now;
    delete AbortSignal.prototype.addEventListener;
    delete AbortSignal.prototype.removeEventListener;
    delete globalThis.umbelHost;
  }

  #set(call, delay) {
    if (!this.#virtual && !isOurs(call)) return platform.setTimeout(call, delay);
    const id = this.#next--;
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
    this.#timeouts.delete(id);
    // Not one of ours, if we do not know it, or one that has fired.
    platform.clearTimeout(timeout === undefined ? id : timeout.platforms);
  }

  // A turn of the event loop comes when all microtasks are done.
  #hopLater() {
    if (this.#hops || this.#timeouts.size === 0) return;
    this.#hops = true;
    later(() => this.#hop());
  }

  #hop() {
    this.#hops = false;
    let [first, next] = [undefined, undefined];
    for (const [id, timeout] of this.#timeouts) {
      if (next === undefined || timeout.at < next.at) [first, next] = [id, timeout];
    }
    if (next === undefined) return;
    this.#timeouts.delete(first);
    const now = Math.max(this.#now, next.at - this.early);
    this.#stands = now === this.#now ? this.#stands + 1 : 0;
    if (this.#stands > 10_000) return this.panicked("timeouts are set, and time stands still");
    this.#now = now;
    this.#hopLater();
    next.call();
  }
}

const isReal = (name) => name.startsWith("real::") || isNet(name);
const isNet = (name) => name.startsWith("net::");

const turn = () => new Promise(later);

// How much there is of what must not be left behind.
function count(host, glue) {
  const { timeouts, closures, listeners } = host;
  const objects = glue.live_objects() - host.forgiven;
  return { timeouts, closures, listeners, objects };
}

let instances = 0;

async function instantiate(url, module) {
  globalThis.FinalizationRegistry = CountingRegistry;
  const glue = await import(`${url}?${instances++}`);
  globalThis.FinalizationRegistry = platform.FinalizationRegistry;
  await glue.default({ module_or_path: module });
  return glue;
}

async function runOne(glue, name, origin) {
  const host = new Host(!isReal(name), origin);
  host.install();
  try {
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

// Runs the tests whose names contain `filter`. `on` is told each name before its test runs. Without an `origin`,
// those that need the server are ignored. Returns whether some ran and none failed.
export async function runAll({ url, module, origin, filter = "", print, on = () => {} }) {
  let glue = await instantiate(url, module);
  const names = glue.tests().filter((name) => name.includes(filter));
  // Last: what a `fetch` of Node.js leaves behind calls `setTimeout` for a while.
  names.sort((a, b) => isReal(a) - isReal(b));
  let [passed, failed, ignored] = [0, 0, 0];
  print(`running ${names.length} tests`);
  for (const name of names) {
    if (isNet(name) && origin === undefined) {
      ignored += 1;
      print(`test ${name} ... ignored`);
      continue;
    }
    on(name);
    try {
      await runOne(glue, name, origin);
      passed += 1;
      print(`test ${name} ... ok`);
    } catch (error) {
      failed += 1;
      print(`test ${name} ... FAILED\n${error?.message ?? error}`);
      glue = await instantiate(url, module);
    }
  }
  const verdict = failed === 0 ? "ok" : "FAILED";
  print(`\ntest result: ${verdict}. ${passed} passed; ${failed} failed; ${ignored} ignored`);
  return failed === 0 && passed > 0;
}
