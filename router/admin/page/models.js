// The table of models: state, requests, what comes next, and what the operator can do.

import { keep, make, set, tell } from "./dom.js";
import { brief, bytes, clock, count, duration, ordinal, short } from "./format.js";
import { keyOf, kindOf, nameOf } from "./memory.js";
import { reasonWord, stateWord } from "./words.js";

const UP = new Set(["starting", "ready", "waking", "asleep", "draining"]);
const OFF = new Set(["cold", "fetched"]);

/** The operator's models in their order, then all others by name: rows keep their places. */
export function rowsOf(state) {
  const rest = new Map(state.engines.map((engine) => [keyOf(engine), engine]));
  const rows = [];
  for (const model of state.models) {
    const [first, ...more] = [...rest.values()].filter((engine) => isOf(engine, model));
    // Up or not, it is the same row.
    rows.push({ ...rowOf(first, model), key: `listed ${model.name}` }, ...more.map((one) => rowOf(one)));
    for (const engine of first ? [first, ...more] : []) rest.delete(keyOf(engine));
  }
  const others = [...rest.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
  return [...rows, ...others.map((engine) => rowOf(engine))];
}

/** `engine`: undefined where one of the operator's models has none. */
function rowOf(engine, model) {
  if (!engine) return { engine: null, model, name: model.name, id: model.name };
  return { key: keyOf(engine), engine, model, name: nameOf(engine), id: engine.id };
}

/** Whether an engine is of one of the operator's models. */
function isOf(engine, model) {
  if (!engine.listed) return false;
  if (engine.names.includes(model.name)) return true;
  const [repository, revision] = (model.model ?? model.name).split("@");
  if (engine.names.length || engine.model !== repository) return false;
  return !revision || engine.branch === revision || engine.commit.startsWith(revision);
}

export function showRows(parent, rows, now, state, actions) {
  keep(parent, rows, (row) => row.key, (row) => newRow(row, actions), (element, row) => {
    element.row = row;
    showRow(element, row, now, state);
  });
}

const SOON = 120; // seconds until requests give up
const HEADS = ["Model", "State", "In flight", "Waiting", "Memory", "Leaves", ""];

function newRow(row, actions) {
  const cells = HEADS.map((head, place) => make(place ? "td" : "th",
    { "data-head": head, class: place === 2 || place === 4 ? "number" : undefined,
      scope: place ? undefined : "row" }));
  const element = make("tr", {}, ...cells);
  const act = (name) => () => actions[name](element.row);
  const button = (name) => make("button", { type: "button", class: "small", on: { click: act(name) } });
  const [model, where] = cells;
  model.append(
    make("button", { type: "button", class: "link", on: { click: act("open") } }),
    make("span", { class: "tags" }));
  where.append(make("span", { class: "state" }), make("span", { class: "since" }),
    make("div", { class: "progress" }, make("progress", { max: 1 }), make("span", { class: "since" })));
  cells[6].append(button("load"), button("unload"), button("pin"));
  where.className = "wide";
  cells[6].className = "actions wide";
  return element;
}

function showRow(element, row, now, state) {
  const [model, where, flying, waiting, memory, leaves, actions] = element.children;
  const { engine } = row;
  tell(model.firstElementChild, row.name);
  showTags(model.lastElementChild, row);
  showState(where, engine, now);
  tell(flying, engine ? count(engine.in_flight.requests) : "");
  tell(waiting, engine ? waitText(engine, state, now) : "");
  set(flying, "class", engine?.in_flight.requests ? "number" : "number faint");
  set(waiting, "class", "waits");
  tell(memory, engine ? memoryText(engine) : "");
  set(memory, "class", engine?.held_bytes ? "number" : "number faint");
  tell(leaves, engine ? leavesText(engine, now) : "");
  for (const cell of [flying, waiting, memory, leaves]) {
    set(cell, "data-empty", cell.textContent === "0" || cell.textContent === "");
  }
  showActions(actions, row);
}

function showTags(parent, { engine, model, name }) {
  const full = engine && engine.model !== name ? engine.model : "";
  const pinned = engine ? engine.pinned && !UP.has(engine.state) : model.pinned; // else: see Leaves
  const tags = [full, engine && `@${engine.commit.slice(0, 7)}`,
    engine && engine.access !== "public" && engine.access, pinned && "pinned",
    engine?.unloading && "to be unloaded", engine?.suspected_until && "on trial after a crash"];
  keep(parent, tags.filter(Boolean), (tag) => tag, () => make("span", { class: "tag" }), tell);
}

function showState(cell, engine, now) {
  const [state, since, progress] = cell.children;
  const failed = engine && hasFailed(engine);
  set(state, "data-kind", failed ? "failed" : engine ? kindOf(engine) : "off");
  tell(state, conditionOf(engine));
  tell(since, failed && engine.retry_at > now ? `again in ${duration(engine.retry_at - now)}`
    : engine ? `for ${duration(now - engine.since)}` : "");
  const shown = engine && progressOf(engine, now);
  progress.hidden = !shown;
  if (!shown) return;
  const [bar, text] = progress.children;
  set(bar, "aria-label", `${stateWord(engine.state)} of ${nameOf(engine)}`);
  if (shown.done === null) bar.removeAttribute("value");
  else bar.value = shown.done;
  tell(text, shown.text);
}

/** What an engine is in, or why it is not up. */
export function conditionOf(engine) {
  if (!engine || !hasFailed(engine)) return stateWord(engine ? engine.state : "cold");
  const kind = engine.last_failure?.kind ?? "start";
  return kind === "crash" ? "crashed" : `${kind} failed`;
}

/** Whether its failure is why an engine is in its state. */
function hasFailed({ state, since, failures, last_failure: last, last_start: start }) {
  if (OFF.has(state)) return failures > 0 || (last !== null && last.at >= (start?.at ?? 0));
  return state === "stopping" && last !== null && Math.abs(last.at - since) < 1;
}

/** How far a download or a start is; `done` from 0 to 1, null: no telling. */
export function progressOf(engine, now) {
  const { download, state, waiting } = engine;
  if (state === "fetching") {
    if (!download || download.queued) return { done: null, text: "after other downloads" };
    const rate = download.bytes_per_second === null ? "" : `, ${bytes(download.bytes_per_second)}/s`;
    const left = download.seconds === null ? "" : `, about ${duration(download.seconds)}`;
    return {
      done: download.total_bytes ? download.done_bytes / download.total_bytes : null,
      text: `${bytes(download.done_bytes)} of ${bytes(download.total_bytes)}${rate}${left}`,
    };
  }
  if (state !== "starting" && state !== "waking") return null;
  if (waiting.overdue) return { done: 0.98, text: lateText(waiting) };
  const elapsed = Math.max(0, now - engine.since);
  const expected = waiting.seconds === null || waiting.seconds === undefined
    ? engine.last_start?.seconds : elapsed + waiting.seconds;
  if (!expected) return { done: null, text: `${duration(elapsed)} so far` };
  const left = expected - elapsed;
  return {
    done: Math.min(0.98, elapsed / expected),
    text: left > 0 ? `about ${duration(left)}` : `${duration(elapsed)}, longer than expected`,
  };
}

/** Of a start that takes longer than expected. */
function lateText({ elapsed_seconds: elapsed, expected_seconds: expected }) {
  return `longer than expected: ${duration(elapsed)} instead of ${duration(expected)}`;
}

function waitText(engine, state, now) {
  const { waiting } = engine;
  if (!waiting.requests) return "";
  const told = [`${count(waiting.requests)}: ${whyText(waiting, state)}`];
  if (waiting.overdue) told.push(lateText(waiting));
  else if (waiting.seconds !== null) told.push(`answers in about ${duration(waiting.seconds)}${waiting.guessed ? " (a guess)" : ""}`);
  if (waiting.gives_up_at - now < SOON) told.push(`gives up at ${clock(waiting.gives_up_at)}`);
  return told.join(", ");
}

function whyText(waiting, state) {
  if (!waiting.leaving.length) return reasonWord(waiting.reason);
  const names = waiting.leaving.map((id) => {
    const leaving = state.engines.find((one) => one.id === id);
    return brief(leaving ? nameOf(leaving) : short(id));
  });
  const when = waiting.room_seconds === null ? "" : ` in about ${duration(waiting.room_seconds)}`;
  return `waiting for room, ${names.join(" and ")} leave${names.length > 1 ? "" : "s"}${when}`;
}

/** What it holds, or else what it would need. */
function memoryText({ held_bytes: held, claim_bytes: claim }) {
  if (held) return bytes(held);
  return claim ? `needs ${bytes(claim)}` : "";
}

function leavesText(engine, now) {
  if (!UP.has(engine.state)) return "";
  if (engine.state === "draining") return "as soon as it is idle";
  if (engine.pinned) return "never: pinned";
  const told = [];
  if (engine.evicted_next) told.push(`${ordinal(engine.evicted_next)} to make room`);
  if (engine.expires_at) told.push(`expires in ${duration(engine.expires_at - now)}`);
  return told.join(", ");
}

function showActions(cell, row) {
  const [load, unload, pin] = cell.children;
  const { engine } = row;
  const off = !engine || OFF.has(engine.state);
  const waits = engine?.waiting.requests > 0;
  show(load, !waits && (off || engine.state === "asleep"), engine?.state === "asleep" ? "Wake" : "Load", row);
  const up = engine && UP.has(engine.state);
  show(unload, up && !engine.unloading, "Unload", row);
  const fixed = !up || engine.unloading || engine.state === "draining" || engine.pinned_by_file;
  show(pin, !fixed, engine?.pinned ? "Unpin" : "Pin", row);
}

function show(button, visible, verb, row) {
  button.hidden = !visible;
  tell(button, verb);
  set(button, "aria-label", `${verb} ${row.name}`);
}
