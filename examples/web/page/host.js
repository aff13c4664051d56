// What the nurseries call: they import this file, and so does the page.

/** What the page does when something happens; set by it. */
export const page = {
  tell: () => {},
  progress: () => {},
  threw: () => {},
  over: () => {},
};

/** Under which the server counts. */
let run = "";

/** From now on it is this run that posts. */
export function call(name) {
  run = name;
}

/** Fetches, and reads all of it: the number of bytes. */
export async function get(url, name, signal) {
  try {
    const response = await fetch(url, { signal });
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    const all = Number(response.headers.get("content-length"));
    const reader = response.body.getReader();
    let size = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return size;
      size += value.length;
      page.progress(name, size, all);
    }
  } catch (error) {
    page.threw(name, error);
    throw error;
  }
}

/** Tells the server something, and waits for its answer. */
export async function post(what, signal) {
  const response = await fetch(`/${what}?run=${run}`, { method: "POST", signal });
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
}

/** Of a scope, or of somebody in it. */
export function tell(what, scope, who, state, text, notice, drain) {
  page.tell({ what, scope, who, state, text, notice, drain });
}

export function over(well, text) {
  page.over(well, text);
}

export function panicked(text) {
  console.error(text);
}
