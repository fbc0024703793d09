// What the page calls states, reasons and events.

export const STATES = {
  cold: "not loaded",
  fetching: "downloading",
  fetched: "on disk",
  starting: "starting",
  waking: "waking",
  ready: "ready",
  draining: "finishing",
  stopping: "stopping",
  falling_asleep: "falling asleep",
  asleep: "asleep",
};

const REASONS = {
  queued: "nothing has begun",
  downloads: "other downloads come first",
  fetching: "it downloads",
  room: "waiting for room",
  group: "waiting for its group",
  turn: "other models load first",
  cooling: "a pause after a failure",
  starting: "it starts",
  waking: "it wakes",
  place: "it is busy",
};

const EVENTS = {
  downloading: "download begins",
  downloaded: "is on disk",
  download_failed: "download failed",
  download_ended: "download ended",
  prestarting: "a process starts ahead",
  stands_by: "a process stands by",
  dismissed: "the process ahead was dismissed",
  starting: "starts",
  ready: "is ready",
  falling_asleep: "falls asleep",
  asleep: "is asleep",
  waking: "wakes",
  awake: "is awake",
  gone: "is gone",
  evicted: "was evicted",
  expired: "expired: idle for too long",
  unloaded: "was unloaded",
  crashed: "crashed",
  start_failed: "start failed",
  abandoned: "was abandoned: no request waits",
  drained: "has finished",
  drain_deadline: "was stopped: the drain's time is over",
  shutdown: "stops with the worker",
  leaving: "the worker leaves",
  thawed: "the worker was frozen, and goes on",
  alarm: "alarm",
};

export const FAILED = new Set(["download_failed", "start_failed", "crashed", "alarm"]);

const PHASES = {
  prestart: "process, ahead",
  from_gate: "from its gate",
  start: "start",
  wake: "wake",
  load_weight: "weights",
  kv_cache_allocation: "KV cache",
  cuda_graph: "graphs",
};

const spaced = (word) => String(word).replaceAll("_", " ");
const say = (table, word) => (Object.hasOwn(table, word) ? table[word] : spaced(word));

export const stateWord = (state) => say(STATES, state);
export const reasonWord = (reason) => say(REASONS, reason);
export const eventWord = (what) => say(EVENTS, what);
export const phaseWord = (stage) => say(PHASES, stage);
/** Of a request; `begun`: its first token has come. */
export const outcomeWord = (outcome, begun) => spaced(outcome || (begun ? "in progress" : "waiting"));
