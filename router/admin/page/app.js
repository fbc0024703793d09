// Puts the page together: follows the worker, and shows what it tells.

import { follow, modelPath, needsKey, post, read, Refused, useKey } from "./api.js";
import { Activity, showActivity } from "./activity.js";
import { Details } from "./details.js";
import { at, make, set, tell } from "./dom.js";
import { bytes, count, duration, short } from "./format.js";
import { keyOf, nameOf, showDevices } from "./memory.js";
import { rowsOf, showRows } from "./models.js";
import { Playground } from "./playground.js";
import { sentence, showEvents, showLanes, showLegend, Timeline } from "./timeline.js";

const SPOKEN = new Set(["ready", "awake", "asleep", "evicted", "expired", "unloaded", "crashed",
  "start_failed", "download_failed", "downloaded", "leaving", "alarm"]);
const LONGEST_PAUSE = 15; // seconds between two attempts to connect

const timeline = new Timeline();
const activity = new Activity();
const details = new Details();
const playground = new Playground();
const told = new Map(); // by id: what a model was called last
let state = null;
let skew = 0; // seconds that the worker's clock is ahead of this one
let news = [];

const now = () => Date.now() / 1000 + skew;
const nameFor = (id) => told.get(id) ?? short(id);

function take(fresh) {
  state = fresh;
  skew = fresh.now - Date.now() / 1000;
  for (const engine of fresh.engines) told.set(engine.id, nameOf(engine));
  at("board").hidden = false;
  at("unlock").hidden = true;
  show();
}

function show() {
  if (!state) return;
  const rows = rowsOf(state);
  showTop();
  showDevices(at("devices"), state, openKey);
  showRows(at("rows"), rows, now(), state, actions);
  at("no-models").hidden = rows.length > 0;
  at("rows").closest("table").hidden = !rows.length;
  const moment = {
    now: now(), born: state.worker.started_at, engines: state.engines, ids: rows.map((row) => row.id),
    nameFor,
  };
  tell(at("timeline-title"), showLanes(at("lanes"), timeline, moment));
  if (at("story").open) showEvents(at("events"), timeline, now(), nameFor);
  details.show(rows, now());
  showActivity(activity, now());
  playground.offer(rows.map((row) => row.name));
}

function openKey(key) {
  actions.open(rowsOf(state).find((row) => row.engine && keyOf(row.engine) === key));
}

function showTop() {
  const { worker, queue, loaded, disk } = state;
  const word = worker.leaving ? "draining" : worker.ready ? "ready" : "starting";
  tell(at("worker"), word);
  set(at("worker"), "data-state", word);
  tell(at("waiting"), `${count(queue.waiting)} of ${count(queue.limit)}`);
  tell(at("loaded"), loaded.limit ? `${loaded.engines} of ${loaded.limit}` : String(loaded.engines));
  const budget = disk && (disk.budget_bytes ?? disk.used_bytes + disk.free_bytes);
  tell(at("disk"), disk ? `${bytes(disk.used_bytes)} of ${bytes(budget)}` : "–");
  tell(at("uptime"), duration(now() - worker.started_at));
  at("drain").disabled = worker.leaving;
}

/** What screen readers hear: at most one text a second. */
function speak(text) {
  news.push(text);
  if (news.length > 1) return;
  setTimeout(() => {
    at("news").replaceChildren(...news.slice(-4).map((one) => make("span", {}, `${one}. `)));
    news = [];
  }, 1000);
}

async function act(path, doing, content) {
  tell(at("models-note"), `${doing} …`);
  try {
    await post(path, content);
    tell(at("models-note"), `${doing}: the worker has taken it.`);
  } catch (error) {
    const why = error instanceof Refused ? error.message : "the worker does not answer.";
    tell(at("models-note"), `${doing} failed: ${why}`);
  }
}

const actions = {
  open: (row) => details.open(row, now()),
  load: (row) => act(modelPath(row.id, "load"), `Load ${row.name}`),
  unload: async (row) => {
    const flying = row.engine.in_flight.requests;
    if (flying && !(await sure(`${row.name} has ${flying} in flight.`, "Unload"))) return;
    await act(modelPath(row.id, "unload"), `Unload ${row.name}`);
  },
  pin: (row) => {
    const verb = row.engine?.pinned ? "Unpin" : "Pin";
    return act(modelPath(row.id, verb.toLowerCase()), `${verb} ${row.name}`);
  },
};

/** Ask before what can't be undone. */
function sure(text, verb) {
  const dialog = make("dialog", { class: "sure", "aria-label": verb },
    make("p", {}, text),
    make("form", { method: "dialog", class: "line" },
      make("button", { value: "yes" }, verb), make("button", { value: "no", autofocus: true }, "Leave it")));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((decide) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      decide(dialog.returnValue === "yes");
    });
  });
}

function hear([name, data]) {
  if (name === "state") take(data);
  else if (name === "journal") {
    for (const event of timeline.add([data])) {
      if (SPOKEN.has(event.what)) speak(sentence(event, nameFor));
    }
  } else if (name === "activity") {
    showRequests(data);
  }
}

function showRequests(data) {
  activity.take(data);
  showActivity(activity, now());
}

async function past() {
  const [journal, requests] = await Promise.all([read("journal"), read("activity")]);
  timeline.add(journal.events);
  activity.start();
  showRequests(requests);
}

function trouble(text) {
  tell(at("trouble"), text);
  at("trouble").hidden = !text;
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Follow the worker for as long as the page is there. Ends where a key is needed. */
async function run() {
  let wait = 1;
  for (;;) {
    try {
      for await (const event of follow("events")) {
        if (wait) await past();
        wait = 0;
        trouble("");
        hear(event);
      }
      wait = 1; // the stream has an end: the hour is over, or the worker is
    } catch (error) {
      if (error instanceof Refused && (error.status === 401 || error.status === 404)) {
        refused(error);
        return;
      }
      wait = Math.min(LONGEST_PAUSE, Math.max(1, wait * 2));
      trouble(error instanceof Refused ? error.message
        : `No connection to the worker. The next attempt is in ${wait} s.`);
      set(at("worker"), "data-state", "lost");
      tell(at("worker"), "no connection");
    }
    await pause(wait);
  }
}

async function begin() {
  if (await needsKey().catch(() => false)) refused({ status: 401 }); // no answer: `run` says so
  else await run();
}

function refused({ status }) {
  const asks = status === 401;
  at("board").hidden = true;
  at("unlock").hidden = !asks;
  set(at("worker"), "data-state", "locked");
  tell(at("worker"), "locked");
  trouble(!asks ? "The operator’s routes do not exist for this page." : at("key").value ? "This is not the key." : "");
  if (asks) at("key").focus();
}

at("unlock").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(at("key").value);
  run().then(() => {}, (error) => trouble(String(error)));
});
at("load").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = at("load-model").value.trim();
  act(modelPath(name, "load"), `Load ${name}`);
});
at("reload").addEventListener("click", () => act("reload", "Reload models"));
at("drain").addEventListener("click", async () => {
  if (await sure("Requests end, then the worker stops.", "Drain")) await act("drain", "Drain");
});
at("filters").addEventListener("submit", (event) => event.preventDefault());
at("filters").addEventListener("input", () => showActivity(activity, now()));
at("story").addEventListener("toggle", show);

showLegend(at("timeline-legend"));
setInterval(show, 1000);
at("story").open = matchMedia("(min-width: 64rem)").matches;
begin();

