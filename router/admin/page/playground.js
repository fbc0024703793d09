// Asks any model, and shows its answer as it comes. Keys and tokens stay in their fields.

import { events, Refused, send } from "./api.js";
import { at, keep, make, tell } from "./dom.js";
import { count, milliseconds } from "./format.js";

export class Playground {
  #running = null; // aborts the answer

  constructor() {
    at("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    at("stop").addEventListener("click", () => this.#running?.abort());
    at("ask-message").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("ask").requestSubmit();
    });
  }

  /** Offer these names. */
  offer(names) {
    keep(at("known"), [...new Set(names)], (name) => name, () => make("option"), (option, name) => {
      option.value = name;
    });
    if (!at("ask-model").value && names.length && !at("ask-model").matches(":focus")) {
      at("ask-model").value = names[0];
    }
  }

  async #ask() {
    if (this.#running) return;
    const running = new AbortController();
    this.#begin(running);
    const meter = new Meter();
    try {
      const response = await send("v1/chat/completions", { ...question(), signal: running.signal });
      for await (const [, data] of events(response)) {
        if (data === "[DONE]") break;
        this.#take(JSON.parse(data), meter);
      }
      tell(at("ask-status"), meter.told);
    } catch (error) {
      tell(at("ask-status"), running.signal.aborted ? `Stopped. ${meter.told}` : reason(error));
      if (!running.signal.aborted) askForKey(error);
    } finally {
      this.#end();
    }
  }

  #begin(running) {
    this.#running = running;
    at("send").disabled = true;
    at("stop").disabled = false;
    at("answer").replaceChildren();
    at("answer").setAttribute("aria-busy", "true");
    tell(at("ask-status"), "Waiting for the first token");
  }

  #end() {
    this.#running = null;
    at("send").disabled = false;
    at("stop").disabled = true;
    at("answer").removeAttribute("aria-busy");
  }

  #take(chunk, meter) {
    if (chunk.error) throw new Refused(200, chunk.error.code ?? "", chunk.error.message);
    meter.use(chunk.usage);
    const delta = chunk.choices?.[0]?.delta ?? {};
    const thought = delta.reasoning_content ?? "";
    const text = delta.content ?? "";
    if (!thought && !text) return;
    meter.token();
    if (meter.tokens === 1) tell(at("ask-status"), `First token after ${milliseconds(meter.first)}`);
    say("thought", thought);
    say("text", text);
  }
}

function say(kind, text) {
  if (!text) return;
  const answer = at("answer");
  if (answer.lastChild?.className !== kind) answer.append(make("span", { class: kind }));
  const atEnd = answer.scrollTop + answer.clientHeight >= answer.scrollHeight - 8;
  answer.lastChild.append(text);
  if (atEnd) answer.scrollTop = answer.scrollHeight;
}

function question() {
  const headers = { "Content-Type": "application/json" };
  if (at("ask-key").value) headers.Authorization = `Bearer ${at("ask-key").value}`;
  if (at("ask-token").value) headers["X-HF-Token"] = at("ask-token").value;
  const body = {
    model: at("ask-model").value.trim(),
    messages: [{ role: "user", content: at("ask-message").value }],
    stream: true,
    stream_options: { include_usage: true },
  };
  return { method: "POST", headers, body: JSON.stringify(body) };
}

function reason(error) {
  if (error instanceof Refused) return `${error.message}${error.code ? ` (${error.code})` : ""}`;
  return "The connection broke off.";
}

/** Where a key or a token is missing, show their fields. */
function askForKey(error) {
  if (error instanceof Refused && (error.status === 401 || error.status === 403)) at("keys").open = true;
}

/** Measures an answer: tokens as the engine counts them, or else events. */
class Meter {
  #began = performance.now();
  #last = 0;
  #counted = null;

  first = null;
  tokens = 0;

  token() {
    this.#last = performance.now() - this.#began;
    this.first ??= this.#last;
    this.tokens += 1;
  }

  use(usage) {
    if (usage) this.#counted = usage.completion_tokens;
  }

  get told() {
    if (this.first === null) return "The answer is empty.";
    const tokens = this.#counted ?? this.tokens;
    const seconds = (this.#last - this.first) / 1000;
    const rate = tokens > 1 && seconds > 0 ? `, ${((tokens - 1) / seconds).toFixed(1)} tokens/s` : "";
    return `First token after ${milliseconds(this.first)}, ${count(tokens)} tokens${rate}`;
  }
}
