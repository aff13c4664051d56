// A server for tests that fetch. `/ok` is answered; `/never` is not, and `/body` by its first half: both hear who
// asked and who went away, and `/hears/WHAT` is answered when that was heard.

import { createServer } from "node:http";

// Whatever else is asked for is `more`'s. Resolves to the server and its address.
export async function serve(more = (request, response) => response.writeHead(404).end()) {
  const heard = [];
  let waits = [];
  const tell = (what) => {
    heard.push(what);
    for (const wake of waits.splice(0)) wake();
  };
  const hears = async (what) => {
    while (!heard.includes(what)) await new Promise((wake) => waits.push(wake));
    heard.splice(heard.indexOf(what), 1);
  };
  const server = createServer((request, response) => {
    const path = request.url;
    if (path === "/ok") return void response.end("ok");
    if (path.startsWith("/hears/")) {
      return void hears(path.slice("/hears/".length)).then(() => response.end());
    }
    if (path !== "/never" && path !== "/body") return void more(request, response);
    tell("asked");
    response.on("close", () => tell("gone"));
    if (path === "/body") response.write("the first half");
  });
  await new Promise((listens) => server.listen(0, "127.0.0.1", listens));
  return { server, origin: `http://127.0.0.1:${server.address().port}` };
}
