// The last hour: when each model loaded, was up, slept, and what went wrong.

import { keep, make, set, tell } from "./dom.js";
import { brief, clock, short } from "./format.js";
import { eventWord, FAILED } from "./words.js";

// What is shown: the first that the worker's life fits in. In seconds, with a time at each step.
const SPANS = [
  { span: 60, step: 15, title: "The last minute" },
  { span: 180, step: 60, title: "The last 3 minutes" },
  { span: 600, step: 120, title: "The last 10 minutes" },
  { span: 1800, step: 300, title: "The last half hour" },
  { span: 3600, step: 600, title: "The last hour" },
];
const HOUR = 3600;
const MOST = 2000; // events that are kept
const LANES = 14;
const LISTED = 300;

const OPENS = {
  downloading: "fetch", starting: "load", waking: "load", ready: "up", awake: "up",
  falling_asleep: "stop", asleep: "asleep",
};
const ENDS = new Set(["evicted", "expired", "unloaded", "crashed", "start_failed", "abandoned",
  "drained", "drain_deadline", "shutdown"]);
const CLOSES = new Set(["downloaded", "download_failed", "download_ended", "gone"]);
const MARKS = { evicted: "▽", awake: "△", unloaded: "▽", expired: "▽" };
const UP = { ready: "up", draining: "up", asleep: "asleep", starting: "load", waking: "load",
  fetching: "fetch" };

export class Timeline {
  #events = [];

  /** Take in events, in whatever order, each once. */
  add(events) {
    const known = new Set(this.#events.slice(-MOST).map(nameOf));
    const fresh = events.filter((event) => !known.has(nameOf(event)));
    this.#events = [...this.#events, ...fresh].sort((one, other) => one.at - other.at).slice(-MOST);
    return fresh;
  }

  recent(now) {
    return this.#events.filter((event) => event.at > now - HOUR);
  }

  /** One lane for each model, in the order of `ids`, then the latest to change: spans and marks
   * in seconds. */
  lanes(now, span, { engines, ids }) {
    const lanes = new Map();
    for (const event of this.recent(now)) {
      if (event.id === null) continue;
      if (!lanes.has(event.id)) lanes.set(event.id, new Lane(event.id, now - HOUR));
      lanes.get(event.id).take(event);
    }
    for (const engine of engines) {
      const kind = UP[engine.state];
      if (kind && !lanes.has(engine.id)) {
        const lane = new Lane(engine.id, now - HOUR);
        lane.begin(kind, engine.since);
        lanes.set(engine.id, lane);
      }
    }
    const all = [...lanes.values()].sort((one, other) => other.last - one.last).slice(0, LANES);
    const place = ({ id }) => (ids.includes(id) ? ids.indexOf(id) : ids.length);
    return all.sort((one, other) => place(one) - place(other)).map((lane) => lane.within(now - span, now));
  }
}

const nameOf = (event) => `${event.at} ${event.what} ${event.id} ${event.generation}`;

class Lane {
  #open = null;

  constructor(id, start) {
    this.id = id;
    this.spans = [];
    this.marks = [];
    this.last = start;
    this.start = start;
  }

  take({ at, what }) {
    this.last = at;
    if (FAILED.has(what)) this.marks.push({ at, what, sign: "✕", failed: true });
    else if (MARKS[what]) this.marks.push({ at, what, sign: MARKS[what], failed: false });
    if (OPENS[what]) this.begin(OPENS[what], at);
    else if (ENDS.has(what)) {
      if (!this.#open) this.#open = { kind: "up", from: this.start, began: this.start };
      this.begin("stop", at);
    } else if (CLOSES.has(what)) this.#end(at);
  }

  begin(kind, at) {
    this.#end(at);
    this.#open = { kind, from: at, began: at };
  }

  #end(at) {
    if (this.#open) this.spans.push({ ...this.#open, to: at });
    this.#open = null;
  }

  /** What is to be seen between two times. */
  within(from, now) {
    this.#end(now);
    this.spans = this.spans.filter((span) => span.to > from)
      .map((span) => ({ ...span, from: Math.max(span.from, from) }));
    this.marks = this.marks.filter((mark) => mark.at > from);
    return this;
  }
}

const LEGEND = [["fetch", "downloads"], ["load", "starts or wakes"], ["up", "up"],
  ["asleep", "asleep"], ["stop", "stops"]];
const SIGNS = [["▽", "evicted, expired or unloaded"], ["△", "woke"], ["✕", "failed"]];

export function showLegend(parent) {
  parent.append(
    ...LEGEND.map(([kind, text]) => make("li", {},
      make("span", { class: "swatch span", "data-kind": kind, "aria-hidden": "true" }), text)),
    ...SIGNS.map(([sign, text]) => make("li", {},
      make("span", { class: "sign", "aria-hidden": "true" }, sign), text)));
}

/** `born`: when the worker started. Returns the title. */
export function showLanes(parent, timeline, { now, born, engines, ids, nameFor }) {
  const { span, step, title } = SPANS.find((one) => now - born < one.span) ?? SPANS.at(-1);
  const lanes = timeline.lanes(now, span, { engines, ids });
  const scale = { span, step, left: (at) => `${(100 * (at - (now - span))) / span}%` };
  keep(parent, [{ id: "" }, ...lanes], (lane) => lane.id, newLane, (element, lane) => {
    const [label, track] = element.children;
    if (!lane.id) {
      showTimes(track, now, scale);
      return;
    }
    tell(label, brief(nameFor(lane.id)));
    set(label, "title", short(lane.id));
    keep(track, [...lane.spans, ...lane.marks], (one) => `${one.kind ?? one.what} ${one.began ?? one.at}`,
      (one) => make("span", { class: one.kind ? "span" : "mark" }, one.sign ?? ""),
      (child, one) => place(child, one, scale));
    set(track, "aria-label", `${nameFor(lane.id)}: ${summary(lane)}`);
  });
  return title;
}

function newLane(lane) {
  return make("div", { class: lane.id ? "lane" : "lane times" },
    make("span", { class: "lane-name" }),
    make("div", lane.id ? { class: "track", role: "img" } : { class: "track", "aria-hidden": "true" }));
}

function place(child, one, { span, left }) {
  child.style.left = left(one.from ?? one.at);
  if (one.kind) {
    set(child, "data-kind", one.kind);
    child.style.width = `${(100 * (one.to - one.from)) / span}%`;
    set(child, "title", `${clock(one.from)} to ${clock(one.to)}`);
  } else {
    set(child, "data-failed", one.failed);
    set(child, "title", `${clock(one.at)} ${eventWord(one.what)}`);
  }
}

function showTimes(track, now, { span, step, left }) {
  const first = Math.ceil((now - span) / step) * step;
  const times = [...Array(Math.ceil(span / step)).keys()].map((number) => first + step * number);
  keep(track, times.filter((time) => time < now - span / 12), (time) => time,
    () => make("span", { class: "time" }), (child, time) => {
      child.style.left = left(time);
      tell(child, step < 60 ? clock(time) : clock(time).slice(0, 5));
    });
}

function summary({ spans, marks }) {
  const starts = spans.filter((span) => span.kind === "load").length;
  const told = marks.map((mark) => `${eventWord(mark.what)} at ${clock(mark.at)}`);
  return [`${starts} ${starts === 1 ? "start" : "starts"}`, ...told.slice(-5)].join(", ");
}

export function showEvents(parent, timeline, now, nameFor) {
  const events = timeline.recent(now).slice(-LISTED).reverse();
  keep(parent, events, nameOf, () => make("li", {}, make("time"), make("span")), (element, event) => {
    const [time, text] = element.children;
    tell(time, clock(event.at));
    tell(text, sentence(event, nameFor));
    set(element, "data-failed", FAILED.has(event.what));
  });
}

/** What happened, in words. */
export function sentence(event, nameFor) {
  const said = [event.id === null ? "" : nameFor(event.id), eventWord(event.what)];
  const text = said.filter(Boolean).join(" ");
  return event.text ? `${text}: ${event.text.trim().split("\n").pop().slice(0, 300)}` : text;
}
