// Numbers, sizes, spans and times as an operator reads them.

const plain = new Intl.NumberFormat("en-GB");
const clockTime = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const dayTime = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
});
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
const DAY = 86400;

export const NOTHING = "–";

/** 1234567 is 1,234,567. */
export function count(number) {
  return plain.format(number);
}

/** One of two words, with its number: "1 message", "2 messages". */
export function counted(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** Octets, in units of 1024. */
export function bytes(number) {
  if (number === null || number === undefined) return NOTHING;
  let [value, unit] = [number, "B"];
  for (const larger of ["KiB", "MiB", "GiB", "TiB"]) {
    if (value < 1024) break;
    [value, unit] = [value / 1024, larger];
  }
  return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** A span in seconds, in one or two units: "3 d 4 h", "12 min", "40 s". */
export function span(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const first = UNITS.findIndex(([size]) => whole >= size);
  if (first < 0) return "0 s";
  const [size, name] = UNITS[first];
  const text = `${Math.floor(whole / size)} ${name}`;
  if (size < 3600) return text;
  const [smaller, smallerName] = UNITS[first + 1];
  const rest = Math.floor((whole % size) / smaller);
  return rest ? `${text} ${rest} ${smallerName}` : text;
}

/** A short span, such as a delay: "12 ms", "1.25 s". */
export function delay(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return seconds < 60 ? `${seconds.toFixed(2)} s` : span(seconds);
}

/** A time of today as a clock shows it, else with its day. ``when``: seconds since the epoch. */
export function moment(when, now = Date.now() / 1000) {
  const date = new Date(when * 1000);
  return Math.abs(now - when) < DAY / 2 ? clockTime.format(date) : dayTime.format(date);
}

/** As :func:`moment`, to the millisecond. */
export function precise(when) {
  const date = new Date(when * 1000);
  return `${clockTime.format(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** Seconds since the epoch, of an RFC 3339 time or of a number. */
export function seconds(time) {
  return typeof time === "number" ? time : Date.parse(time) / 1000;
}

/** Where mail went, `host[ip]:port`, as the settings name it: without the address. */
export function backend(relay) {
  const [, host, port] = /^(.+)\[[^\]]*\](:\d+)$/.exec(relay) ?? [];
  if (!host) return relay;
  return host.includes(":") ? `[${host}]${port}` : `${host}${port}`;
}

/** A sender as an envelope has it: nobody is <>. */
export function sender(address) {
  return address || "<>";
}
