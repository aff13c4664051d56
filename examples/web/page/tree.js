// The tree of tasks, drawn: a row for each, and a stalk from where it springs.

const SVG = "http://www.w3.org/2000/svg";

/** Each state: its word, and what it means. */
export const STATES = {
  queued: "waits for its turn",
  running: "at work",
  told: "told to end, may say goodbye",
  done: "ended well",
  failed: "ended with an error",
  cancelled: "cut before its end",
  forced: "was not waited for",
};

/** Pixels. A row's height is also that of the stylesheet. */
const ROW = 28;
const ROOT = 34;
const FORK = 118;
const TIP = 200;

/** Rows that are always there, so that nothing jumps: the most that there can be. */
const ROOM = 16 + 3;

export function icon(state) {
  const svg = document.createElementNS(SVG, "svg");
  svg.classList.add("icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#s-${state}`);
  svg.append(use);
  return svg;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Writes only what has changed. */
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function seconds(ms) {
  return ms < 0.5 ? "0 s" : ms < 100 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** How long it took to see that it was told. */
export function noticed(ms) {
  return ms === null ? "not noticed yet" : ms < 1 ? "noticed at once" : `noticed in ${seconds(ms)}`;
}

/** From a point to a point, leaving and arriving level. */
function stalk(x, y, toX, toY) {
  const bend = (toX - x) * 0.62;
  return `M${x} ${y}C${x + bend} ${y} ${toX - bend} ${toY} ${toX} ${toY}`;
}

class Row {
  constructor(name, cancelOne) {
    this.name = name;
    this.node = element("li", "row");
    this.node.dataset.name = name;
    this.icon = icon("queued");
    this.bar = element("span", "bar");
    this.bar.append(element("span", "fill"));
    this.state = element("span", "state");
    this.age = element("span", "age");
    this.note = element("span", "note");
    this.button = element("button", "one", "×");
    this.button.type = "button";
    this.button.title = `Cancel only ${name}`;
    this.button.setAttribute("aria-label", this.button.title);
    this.button.hidden = !cancelOne;
    this.button.addEventListener("click", () => cancelOne(name));
    this.node.append(this.icon, element("span", "name", name), this.bar, this.state, this.age, this.note, this.button);
    this.path = document.createElementNS(SVG, "path");
    this.tip = document.createElementNS(SVG, "circle");
    this.tip.setAttribute("r", "3");
    this.set("queued");
  }

  set(state, text) {
    const shown = text ?? (state === "told" ? "told to end" : state);
    if (this.now === state && this.state.textContent === shown) return;
    this.now = state;
    this.node.dataset.state = state;
    this.path.dataset.state = state;
    this.tip.dataset.state = state;
    this.icon.firstChild.setAttribute("href", `#s-${state}`);
    write(this.state, shown);
    this.button.disabled = state !== "running" && state !== "queued";
  }

  /** Beside it; in full when it is pointed at. */
  say(text) {
    write(this.note, text);
    this.note.title = text;
  }

  get hasEnded() {
    return !["queued", "running", "told"].includes(this.now);
  }
}

/** A scope: a fork in the stalk, with its name and state. */
class Fork {
  /** `above`: its name is written left above, where no stalks leave it. */
  constructor(name, above) {
    this.name = name;
    this.group = document.createElementNS(SVG, "g");
    this.group.dataset.name = name;
    this.dot = document.createElementNS(SVG, "circle");
    this.dot.setAttribute("r", "6");
    this.path = document.createElementNS(SVG, "path");
    const line = (dy, className) => {
      const text = document.createElementNS(SVG, "text");
      text.setAttribute("x", above ? 8 : 0);
      text.setAttribute("dy", dy);
      text.setAttribute("class", className);
      text.setAttribute("text-anchor", above ? "end" : "middle");
      this.group.append(text);
      return text;
    };
    this.group.append(this.dot);
    line(above ? -26 : 22, "fork").textContent = name;
    this.word = line(above ? -12 : 36, "word");
    this.set("queued", "");
  }

  set(state, word) {
    this.group.dataset.state = state;
    this.path.dataset.state = state;
    write(this.word, word);
  }

  at(x, y) {
    this.group.setAttribute("transform", `translate(${x} ${y})`);
  }
}

export class Tree {
  /** `cancelOne` is called with a fetch's name. */
  constructor(stalks, rows, cancelOne) {
    this.stalks = stalks;
    this.list = rows;
    this.cancelOne = cancelOne;
    stalks.setAttribute("width", TIP);
    stalks.setAttribute("height", ROOM * ROW);
    this.plant(0, []);
  }

  /** A new tree: so many fetches, and the others by name. */
  plant(fetches, others) {
    this.rows = new Map();
    this.session = new Fork("session");
    this.downloads = new Fork("downloads", true);
    for (let n = 1; n <= fetches; n++) {
      this.rows.set(`fetch ${n}`, new Row(`fetch ${n}`, this.cancelOne));
    }
    for (const name of others) this.rows.set(name, new Row(name));
    const rows = [...this.rows.values()];
    this.list.replaceChildren(...rows.map((row) => row.node));
    const middle = (from, to) => ((from + to) / 2) * ROW;
    const root = [ROOT, middle(0, rows.length || 1)];
    const fork = [FORK, middle(0, fetches || 1)];
    const paths = document.createElementNS(SVG, "g");
    rows.forEach((row, i) => {
      const [x, y] = i < fetches ? fork : root;
      const level = (i + 0.5) * ROW;
      row.path.setAttribute("d", stalk(x, y, TIP - 6, level));
      row.tip.setAttribute("cx", TIP - 6);
      row.tip.setAttribute("cy", level);
      paths.append(row.path, row.tip);
    });
    this.session.at(...root);
    this.downloads.at(...fork);
    this.downloads.path.setAttribute("d", stalk(...root, ...fork));
    paths.prepend(this.downloads.path);
    this.stalks.replaceChildren(...(rows.length ? [paths, this.session.group, this.downloads.group] : []));
  }

  row(name) {
    return this.rows.get(name);
  }

  fork(name) {
    return name === "session" ? this.session : this.downloads;
  }

  progress(name, size, all) {
    const row = this.row(name);
    const known = all < 1e9;
    row.bar.classList.toggle("endless", !known);
    row.bar.firstChild.style.scale = known ? `${size / all} 1` : "1 1";
  }

  /** Ages, and who drains: from a snapshot. Who has ended is not in it. */
  show(scope) {
    for (const child of scope.children) {
      if (child.scope) {
        this.show(child.scope);
        continue;
      }
      const row = this.row(child.name);
      if (!row || row.hasEnded) continue;
      const ms = (ns) => (ns === null ? null : ns / 1e6);
      const age = ms(child.drain_ns ?? child.running_ns ?? child.age_ns);
      const states = { queued: "queued", deferred: "queued", starting: "queued", running: "running", draining: "told" };
      const state = states[child.state] ?? "queued";
      row.set(state, child.state === "deferred" ? "for the end" : undefined);
      write(row.age, age === null ? "" : seconds(age));
      if (child.state === "draining") {
        const notice = ms(child.notice_ns);
        row.say(noticed(notice));
      }
    }
    const words = { running: "running", draining: "draining", "cleaning up": "cleaning up" };
    if (words[scope.state]) {
      const { active, queued } = scope.stats;
      const work = scope.name === "downloads" ? `${active} running, ${queued} queued` : words[scope.state];
      const state = scope.state === "running" ? "running" : "told";
      this.fork(scope.name).set(state, scope.state === "running" ? work : words[scope.state]);
    }
  }
}
