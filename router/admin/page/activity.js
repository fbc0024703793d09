// The latest requests, and those in progress.

import { at, keep, make, set, tell } from "./dom.js";
import { clock, count, milliseconds } from "./format.js";
import { outcomeWord } from "./words.js";

const KEPT = 1000;
const SHOWN = 100;
const SHOWN_NARROW = 20;
const HEADS = ["Began", "Model", "Caller", "Queue", "Load", "First token", "Total", "Tokens in",
  "Tokens out", "Outcome", "Request"];
const KINDS = { "": "running", ok: "ok", caller_left: "left" }; // all others have failed
const NUMBERS = new Set([3, 4, 5, 6, 7, 8]);

export class Activity {
  #ended = []; // the latest first
  #running = [];

  /** Forget all: the worker may be another one. */
  start() {
    this.#ended = [];
    this.#running = [];
  }

  /** `running`: all of them; `ended`: those that have ended since, the latest first. */
  take({ running, ended }) {
    const known = new Set(this.#ended.map(keyOf));
    const fresh = ended.filter((one) => !known.has(keyOf(one)));
    this.#ended = [...fresh, ...this.#ended].slice(0, KEPT);
    this.#running = running;
  }

  get all() {
    return [...this.#running.toReversed(), ...this.#ended];
  }

  matching(words, outcomes) {
    return this.all.filter((one) => isShown(one, outcomes) && words.every((word) => textOf(one).includes(word)));
  }
}

const keyOf = (one) => `${one.began} ${one.id} ${one.route}`;

function isShown(one, outcomes) {
  if (outcomes === "running") return !one.outcome;
  if (outcomes === "ok") return one.outcome === "ok";
  return outcomes === "all" || (one.outcome !== "" && one.outcome !== "ok");
}

const wordOf = (one) => outcomeWord(one.outcome, typeof one.first_ms === "number");

const textOf = (one) => [one.model, one.caller, one.outcome, wordOf(one), one.id,
  one.route, one.error].join(" ").toLowerCase();

/** `now`: by the worker's clock. */
export function showActivity(activity, now) {
  const words = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const outcomes = at("outcomes").value;
  const found = activity.matching(words, outcomes);
  const all = activity.all.length;
  const shown = matchMedia("(max-width: 56rem)").matches ? SHOWN_NARROW : SHOWN;
  tell(at("activity-note"), noteOf(found.length, all, shown));
  keep(at("requests"), found.slice(0, shown), keyOf, newRow, (row, one) => showRow(row, one, now));
}

function noteOf(found, all, shown) {
  if (!all) return "No request yet.";
  if (found > shown) return `The latest ${shown} of ${count(found)}`;
  return found < all ? `${count(found)} of ${count(all)}` : "";
}

function newRow() {
  return make("tr", {}, ...HEADS.map((head, place) =>
    make("td", { "data-head": head, class: NUMBERS.has(place) ? "number" : undefined })));
}

function showRow(element, one, now) {
  const total = one.outcome ? one.total_ms : Math.max(0, now - one.began) * 1000;
  const texts = [clock(one.began), one.model || "–", one.caller || "–",
    milliseconds(one.queue_ms), milliseconds(one.load_ms), milliseconds(one.first_ms),
    milliseconds(total), count(one.prompt_tokens), count(one.completion_tokens),
    wordOf(one), one.id];
  texts.forEach((text, place) => {
    tell(element.children[place], text);
    set(element.children[place], "data-empty", text === "–");
  });
  set(element, "data-outcome", KINDS[one.outcome] ?? "failed");
  set(element.children[10], "title", `${one.id} ${one.method ?? ""} ${one.route ?? ""}`.trim());
}
