// Chromium, driven over WebDriver (https://www.w3.org/TR/webdriver2/) through chromedriver, which makes its profile
// and removes it: as much of the protocol as our tests need.

import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { extname } from "node:path";
import { createInterface } from "node:readline";

/** The key under which the protocol refers to an element. */
const ELEMENT = "element-6066-11e4-a52e-4f735466cecf";

/** For a page to come to where it is waited for: only what hangs takes as long. */
const PATIENCE = 60_000;

export class Browser {
  #driver;
  #session;

  /** Starts chromedriver and, by it, a Chromium without a window. */
  static async open() {
    const browser = new Browser();
    const driver = spawn("chromedriver", ["--port=0"], { stdio: ["ignore", "pipe", "inherit"] });
    browser.#driver = driver;
    try {
      const port = await new Promise((resolve, reject) => {
        driver.on("error", reject);
        driver.on("exit", (code) => reject(new Error(`chromedriver has ended with ${code}`)));
        createInterface(driver.stdout).on("line", (line) => {
          const found = /started successfully on port (\d+)/.exec(line);
          if (found) resolve(found[1]);
        });
      });
      browser.#session = `http://127.0.0.1:${port}/session`;
      const { sessionId } = await browser.#call("POST", "", {
        capabilities: {
          alwaysMatch: {
            browserName: "chrome",
            "goog:loggingPrefs": { browser: "ALL" },
            "goog:chromeOptions": {
              // Without a sandbox: in containers, and for root, there is none to be had.
              args: ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb"],
            },
          },
        },
      });
      browser.#session += `/${sessionId}`;
      await browser.#call("POST", "/timeouts", { script: PATIENCE });
      return browser;
    } catch (error) {
      driver.kill();
      throw error;
    }
  }

  async close() {
    const ended = new Promise((resolve) => this.#driver.on("exit", resolve));
    try {
      await this.#call("DELETE", "");
    } finally {
      this.#driver.kill();
      await ended;
    }
  }

  async #call(method, path, body) {
    const response = await fetch(this.#session + path, {
      method,
      body: method === "POST" ? JSON.stringify(body ?? {}) : undefined,
      signal: AbortSignal.timeout(2 * PATIENCE),
    });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${value.error}: ${value.message.split("\n")[0]}`);
    return value;
  }

  /** Beyond WebDriver: Chromium's own protocol. */
  devtools(cmd, params = {}) {
    return this.#call("POST", "/goog/cdp/execute", { cmd, params });
  }

  visit(url) {
    return this.#call("POST", "/url", { url });
  }

  async #find(selector) {
    const found = await this.#call("POST", "/element", { using: "css selector", value: selector });
    return found[ELEMENT];
  }

  /** As by a mouse: what is hidden, covered or disabled is not clicked. */
  async click(selector) {
    await this.#call("POST", `/element/${await this.#find(selector)}/click`);
  }

  /** Keys, into whatever has the focus. */
  async press(...keys) {
    const actions = keys.flatMap((value) => [
      { type: "keyDown", value },
      { type: "keyUp", value },
    ]);
    await this.#call("POST", "/actions", { actions: [{ type: "key", id: "keyboard", actions }] });
  }

  /** Calls `f` in the page: it sees nothing of this file. */
  run(f, ...args) {
    return this.#call("POST", "/execute/sync", { script: `return (${f})(...arguments)`, args });
  }

  /** Waits until `f` gives something true in the page: asked whenever the page changes, or is drawn. */
  async until(what, f, ...args) {
    const script = `
      const done = arguments[arguments.length - 1];
      const args = [...arguments].slice(0, -1);
      let over = false;
      const look = () => {
        if (over) return;
        const found = (${f})(...args);
        if (!found) return;
        over = true;
        changes.disconnect();
        done(found);
      };
      const changes = new MutationObserver(look);
      changes.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
      const drawn = () => { look(); if (!over) requestAnimationFrame(drawn); };
      drawn();`;
    try {
      return await this.#call("POST", "/execute/async", { script, args });
    } catch (error) {
      const told = (await this.console()).map(({ message }) => `\n  console: ${message}`).join("");
      throw new Error(`waited in vain: ${what} (${error.message})${told}`);
    }
  }

  /** What the console has been told since the last call. */
  console() {
    return this.#call("POST", "/se/log", { type: "browser" });
  }

  /** As PNG or WebP, by the file's name. */
  async picture(file) {
    const format = extname(file).slice(1);
    const { data } = await this.devtools("Page.captureScreenshot", { format });
    await writeFile(file, Buffer.from(data, "base64"));
  }

  /** Opens `url` in a window of its own; gives back what closes that. */
  async window(url) {
    const before = await this.#call("GET", "/window");
    const { handle } = await this.#call("POST", "/window/new", { type: "window" });
    await this.#call("POST", "/window", { handle });
    await this.visit(url);
    return async () => {
      await this.#call("DELETE", "/window");
      await this.#call("POST", "/window", { handle: before });
    };
  }
}
