// What is known of one model, in a sheet beside the board; and what its engines print.

import { follow, modelPath, Refused } from "./api.js";
import { at, keep, make, set, tell } from "./dom.js";
import { bytes, clock, count, duration } from "./format.js";
import { nameOf } from "./memory.js";
import { conditionOf } from "./models.js";
import { phaseWord, stateWord } from "./words.js";

const LINES = 1000;

export class Details {
  #key = null;
  #following = null; // aborts the log

  constructor() {
    at("details").addEventListener("close", () => this.#closed());
  }

  /** Show the sheet of a row. */
  open(row, now) {
    this.#key = row.key;
    fill(row, now);
    at("log").replaceChildren();
    tell(at("log-note"), "");
    at("details").showModal();
    this.#follow(row.id);
  }

  show(rows, now) {
    if (this.#key === null) return;
    const row = rows.find((one) => one.key === this.#key);
    if (row) fill(row, now);
    else tell(at("log-note"), "This engine is gone.");
  }

  #closed() {
    this.#key = null;
    this.#following?.abort();
  }

  async #follow(id) {
    this.#following = new AbortController();
    const { signal } = this.#following;
    try {
      for await (const [name, data] of follow(modelPath(id, "logs?follow=1"), signal)) {
        if (name === "lines") append(data.lines);
      }
      tell(at("log-note"), "The log has ended.");
    } catch (error) {
      if (signal.aborted) return;
      const told = error instanceof Refused ? error.message : "The log broke off.";
      tell(at("log-note"), told);
    }
  }
}

function append(lines) {
  const log = at("log");
  const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  log.append(...lines.map((line) => `${line}\n`));
  while (log.childNodes.length > LINES) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function fill(row, now) {
  const { engine } = row;
  tell(at("details-title"), row.name);
  const facts = engine ? factsOf(engine, now) : [["State", stateWord("cold")],
    ["Model", row.model.model ?? "a directory"], ["Names", row.model.names.join(", ")]];
  keep(at("facts"), facts, ([name]) => name,
    ([name]) => make("div", {}, make("dt", {}, name), make("dd")),
    (element, [, value]) => tell(element.lastElementChild, value));
  showPhases(at("phases"), engine?.last_start);
  showFailure(engine);
}

function factsOf(engine, now) {
  const facts = [
    ["State", `${conditionOf(engine)} for ${duration(now - engine.since)}`],
    ["Model", engine.model],
    ["Commit", engine.commit],
    ["Branch", engine.branch],
    ["Names", engine.names.join(", ")],
    ["Task", engine.task],
    ["Access", engine.access],
    ["Group", engine.group],
    ["Flags", engine.flags.join(" ")],
    ["GPUs", engine.devices.join(", ")],
    ["Claim", bytes(engine.claim_bytes)],
    ["Measured", engine.measured_bytes === null ? "" : bytes(engine.measured_bytes)],
    ["Files", bytes(engine.files_bytes)],
    ["KV cache", engine.cache_tokens === null ? "" : `${count(engine.cache_tokens)} tokens`],
    ["Generates", engine.tokens_per_second
      ? `${count(engine.tokens_per_second)} tokens/s, over the last minute` : ""],
    ["Context", engine.context_length === null ? "" : `${count(engine.context_length)} tokens`],
    ["In flight", requests(engine.in_flight)],
    ["Waiting", requests(engine.waiting)],
    ["Process ahead", standby(engine.standby)],
    ["Starts", count(engine.starts)],
    ["Parts of its start", phases(engine.start_phases)],
    ["Failures in a row", count(engine.failures)],
  ];
  return facts.filter(([, value]) => value);
}

function phases(parts) {
  return Object.entries(parts).map(([part, seconds]) => `${phaseWord(part)} ${seconds.toFixed(1)} s`).join(", ");
}

function standby(process) {
  if (!process) return "";
  return process.stands_since ? `stands by since ${clock(process.stands_since)}`
    : `starts since ${clock(process.since)}`;
}

function requests({ requests: number, callers, more_callers: more }) {
  if (!number) return "0";
  const each = callers.map(({ caller, requests: theirs }) => `${caller ?? "operator"}: ${theirs}`);
  if (more) each.push(`${more} more`);
  return `${count(number)} (${each.join(", ")})`;
}

function showPhases(parent, start) {
  parent.hidden = !start;
  if (!start) return;
  const total = start.stages.reduce((sum, { seconds }) => sum + seconds, 0) || 1;
  if (!parent.children.length) {
    parent.append(make("h3"), make("div", { class: "phases", "aria-hidden": "true" }), make("p", { class: "note" }));
  }
  const [title, bar, note] = parent.children;
  tell(title, `Last start: ${clock(start.at)}, requests waited ${duration(start.seconds)}`);
  keep(bar, start.stages, ({ stage }) => stage, () => make("span", { class: "span" }), (child, one) => {
    set(child, "data-kind", one.stage === "prestart" ? "fetch" : "load");
    child.style.width = `${(100 * one.seconds) / total}%`;
  });
  tell(note, start.stages.map(({ stage, seconds }) => `${phaseWord(stage)} ${seconds.toFixed(1)} s`).join(", "));
}

function showFailure(engine) {
  const failure = engine?.last_failure;
  at("failure").hidden = !failure;
  if (!failure) return;
  tell(at("failure-note"), `${failure.kind} at ${clock(failure.at)}` +
    (engine.retry_at ? `, may start again at ${clock(engine.retry_at)}` : ""));
  tell(at("failure-text"), failure.text.trim());
}

