// Numbers as an operator reads them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  let unit = 0;
  let size = count;
  while (size >= 1024 && unit < UNITS.length - 1) [size, unit] = [size / 1024, unit + 1];
  const digits = size >= 100 || unit === 0 || Number.isInteger(size) ? 0 : 1;
  return `${size.toFixed(digits)} ${UNITS[unit]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}\u00a0s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 10) return whole % 60 ? `${minutes}\u00a0min ${whole % 60}\u00a0s` : `${minutes}\u00a0min`;
  if (minutes < 60) return `${minutes}\u00a0min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours}\u00a0h ${minutes % 60}\u00a0min`;
  return `${Math.floor(hours / 24)} days`;
}

export function milliseconds(time) {
  if (time === null || time === undefined) return "–";
  if (time < 1000) return `${Math.round(time)} ms`;
  if (time < 60_000) return `${(time / 1000).toFixed(time < 10_000 ? 2 : 1)} s`;
  return duration(time / 1000);
}

export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString([], { hour12: false });
}

export function count(number) {
  return number === null || number === undefined ? "–" : number.toLocaleString("en-US");
}

export function ordinal(number) {
  const ends = { 1: "st", 2: "nd", 3: "rd" };
  const teen = number % 100 >= 11 && number % 100 <= 13;
  return `${number}${teen ? "th" : (ends[number % 10] ?? "th")}`;
}

export const brief = (name) => name.split("/").pop();
export const short = (id) => id.replace(/@([0-9a-f]{7})[0-9a-f]+$/, "@$1");
