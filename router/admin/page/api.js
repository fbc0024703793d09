// Talks to the worker. The operator's key is in this module's memory alone.

const ROOT = new URL("..", import.meta.url); // a proxy may serve the worker below a path

let operatorKey = "";

export function useKey(key) {
  operatorKey = key;
}

/** What the worker answers in place of what was asked for. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function refusal(response) {
  const text = await response.text();
  try {
    const error = JSON.parse(text).error;
    return new Refused(response.status, error.code ?? error.type ?? "", error.message);
  } catch {
    return new Refused(response.status, "", text.slice(0, 500) || `status ${response.status}`);
  }
}

export async function send(path, options = {}) {
  const response = await fetch(new URL(path, ROOT), {
    cache: "no-store", credentials: "omit", redirect: "error", ...options,
  });
  if (!response.ok) throw await refusal(response);
  return response;
}

/** A request of the operator: no other route is ever sent its key. */
function asOperator(path, options = {}) {
  const headers = operatorKey ? { Authorization: `Bearer ${operatorKey}` } : {};
  return send(`admin/${path}`, { ...options, headers: { ...headers, ...options.headers } });
}

export async function read(path, options) {
  return (await asOperator(path, options)).json();
}

/** Whether the worker has a key for its operator. A try without it would look like an attack. */
export async function needsKey() {
  const response = await send("ui/", { method: "HEAD" });
  return response.headers.get("Operator-Key") === "needed";
}

/** The path of a model's routes. Slashes of its name stay: the router reads them so. */
export function modelPath(id, action) {
  return `models/${id.split("/").map(encodeURIComponent).join("/")}/${action}`;
}

export async function post(path, content) {
  const body = content === undefined ? {} : {
    body: JSON.stringify(content), headers: { "Content-Type": "application/json" },
  };
  await asOperator(path, { method: "POST", ...body });
}

/** Server-sent events, as `[name, data]`. `EventSource` can't send a key. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (rest + value).split(/\r?\n\r?\n/);
      rest = parts.pop();
      for (const part of parts) {
        const event = parsed(part);
        if (event[1]) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // it may have broken off
  }
}

function parsed(part) {
  let name = "message";
  const data = [];
  for (const line of part.split(/\r?\n/)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return [name, data.join("\n")];
}

/** Follow a route of events; ends with the stream. Raises `Refused`. */
export async function* follow(path, signal) {
  const response = await asOperator(path, { signal });
  for await (const [name, data] of events(response)) yield [name, JSON.parse(data)];
}
