// The memory of each device, drawn to scale.

import { keep, make, set, tell } from "./dom.js";
import { brief, bytes } from "./format.js";
import { stateWord } from "./words.js";

const KINDS = {
  starting: "loading", waking: "loading", draining: "leaving", stopping: "leaving",
  falling_asleep: "leaving", asleep: "asleep",
};
const FILES = { key: "files", kind: "files", name: "files of a model" };
const NARROW = 80; // pixels, of a part that has no room for its name
const TICKS = [0, 0.25, 0.5, 0.75, 1];

/** How an engine is drawn, here and beside its name. */
export function kindOf(engine) {
  if (engine.state === "ready") return engine.in_flight.requests ? "busy" : "ready";
  return KINDS[engine.state] ?? "off";
}

/** Bytes of its files on each of its devices. */
const filesHere = (engine) => engine.files_bytes / engine.devices.length;
export const nameOf = (engine) => engine.names[0] ?? engine.model;
export const keyOf = (engine) => [engine.id, engine.listed, ...engine.flags].join(" ");

export function showDevices(parent, state, open) {
  keep(parent, state.devices, (device) => device.index, newDevice, (element, device) =>
    showDevice(element, device, state, open));
}

function newDevice() {
  return make("div", { class: "device" },
    make("p", { class: "device-name" }),
    make("ol", { class: "bar" }),
    make("div", { class: "scale", "aria-hidden": "true" }),
    make("ul", { class: "legend", "aria-hidden": "true" }));
}

function showDevice(element, device, state, open) {
  const [title, bar, scale, legend] = element.children;
  const parts = partsOf(device, state.engines);
  const total = Math.max(device.budget_bytes, parts.reduce((sum, part) => sum + part.size, 0));
  const free = Math.max(0, total - parts.reduce((sum, part) => sum + part.size, 0));
  tell(title, `GPU ${device.index}: ${bytes(device.held_bytes)} of ` +
    `${bytes(device.budget_bytes)} held, ${bytes(free)} free`);
  set(bar, "aria-label", `Memory of GPU ${device.index}`);
  const shown = [...parts, { key: "free", kind: "free", name: "free", size: free }];
  keep(bar, shown.filter((part) => part.size > 0), (part) => part.key,
    (part) => newPart(part, open), (child, part) => showPart(child, part, total));
  keep(scale, TICKS, (tick) => tick, () => make("span"), (child, tick) =>
    tell(child, tick ? bytes(Math.round(total * tick)) : "0"));
  const width = bar.clientWidth / total;
  const narrow = parts.filter((part) => part.size > 0 && part.size * width < NARROW);
  const files = parts.some((part) => part.engine && filesHere(part.engine) * width >= 2);
  showLegend(legend, files ? [FILES, ...narrow] : narrow);
}

/** Names what is too narrow for a name. Screen readers have it in the bar. */
function showLegend(parent, narrow) {
  keep(parent, narrow, (part) => part.key,
    () => make("li", {}, make("span", { class: "swatch span" }), make("span")),
    (element, part) => {
      const [swatch, text] = element.children;
      set(swatch, "data-kind", part.kind);
      tell(text, part.size ? `${part.engine ? brief(part.name) : part.name} ${bytes(part.size)}` : part.name);
    });
}

function partsOf(device, engines) {
  const held = engines
    .filter((engine) => engine.held_bytes > 0 && engine.devices.includes(device.index))
    .sort((one, other) => one.generation - other.generation) // they keep their places
    .map((engine) => ({
      key: keyOf(engine), kind: kindOf(engine), engine, size: engine.held_bytes,
      name: nameOf(engine),
    }));
  const standing = engines.filter((engine) => engine.standby).map((engine) => brief(nameOf(engine)));
  return [
    ...held,
    { key: "standby", kind: "standby", size: device.standby_bytes,
      name: standing.length ? `ahead for ${standing.join(", ")}` : "processes ahead" },
    { key: "lost", kind: "lost", size: device.written_off_bytes, name: "missing" },
  ];
}

function newPart(part, open) {
  const texts = [make("span", { class: "part-name" }), make("span", { class: "part-size" }),
    make("span", { class: "unseen" })];
  const inner = make("div", {}, make("span", { class: "weights" }), ...texts);
  // For a mouse alone: a part to scale may be too small for anything else, and the table has it.
  if (part.engine) inner.addEventListener("click", () => open(inner.dataset.engine));
  return make("li", { class: "part" }, inner);
}

function showPart(element, part, total) {
  set(element, "data-kind", part.kind);
  element.style.width = `${(100 * part.size) / total}%`;
  const [inner] = element.children;
  const [weights, name, size, more] = inner.children;
  tell(name, part.engine ? brief(part.name) : part.name);
  tell(size, bytes(part.size));
  if (!part.engine) {
    set(element, "title", `${part.name}: ${bytes(part.size)}`);
    return;
  }
  const { engine } = part;
  inner.dataset.engine = part.key;
  weights.style.width = `${100 * Math.min(1, filesHere(engine) / engine.held_bytes)}%`;
  const flying = engine.in_flight.requests;
  const said = `${stateWord(engine.state)}${flying ? `, ${flying} in flight` : ""}`;
  tell(more, `, ${said}`);
  set(element, "title", `${part.name}: ${bytes(part.size)} (${bytes(engine.files_bytes)} of ` +
    `files), ${said}`);
}
