// What happened to one message: an event after the other, and where it stands in the queue.

import { ask } from "./api.js";
import { make, setClass } from "./dom.js";
import { bytes, delay, moment, precise, seconds, sender, span } from "./format.js";

const EVENTS = {
  received: "Received", message: "Answered", refused: "Refused", filtered: "Filtered",
  forwarded: "Hand-over to the backend", queued: "Queued", attempt: "Attempt", bounce: "Bounce",
  login: "Login", delivered: "Delivered",
};
const LABELS = {
  client_name: "client", helo: "said HELO as", protocol: "protocol", user: "user", tls: "TLS", tls_version: "TLS version", from: "from", to: "to",
  nrcpt: "recipients", recipients: "recipients", size: "size", relay: "backend", rule: "rule", reason: "reason",
  detail: "detail", took: "took", delay: "after", attempts: "attempt", dsn: "status code", peer: "backend",
  notice: "its id", about: "about", action: "says", client_gone: "client had gone",
};
/** Those that stand in the heading of the event, or say nothing to a reader. */
const SAID = new Set(["at", "event", "status", "reply", "id", "time", "level", "system", "client_ip", "client_port"]);
export const TONES = {
  sent: "up", delivered: "up", queued: "info", deferred: "warn", bounced: "bad", refused: "bad", failed: "bad",
  due: "info", held: "unknown", leased: "up",
};

export function pill(word) {
  return make("span", { class: `pill ${TONES[word] ?? "unknown"}`, text: word });
}

/** Fill `place` with the story of the message `id`; what cannot be had is said there. */
export async function tell(place, id) {
  place.setAttribute("aria-busy", "true");
  try {
    place.replaceChildren(...parts(await ask(`transactions/${encodeURIComponent(id)}`)));
  } catch (error) {
    place.replaceChildren(make("p", { class: "empty", text: error.code === 404
      ? "Nothing more is known of this message." : `This cannot be shown: ${error.message}.` }));
  }
  place.removeAttribute("aria-busy");
}

function parts({ id, events, queue }) {
  const told = [...events, ...unheard(events, queue)].sort((a, b) => seconds(a.at) - seconds(b.at));
  const first = told.length ? seconds(told[0].at) : 0;
  return [
    make("h3", {}, "Message ", make("code", { text: id })),
    told.length ? make("ol", { class: "timeline" }, ...told.map((event) => step(event, first))) : null,
    queue ? inQueue(queue) : null,
  ].filter(Boolean);
}

/** Attempts that only the queue's store knows of: it remembers longer. */
function unheard(events, queue) {
  if (!queue || events.some(({ event }) => event === "attempt")) return [];
  return (queue.attempts ?? []).flatMap(({ at, took, peer, results }) => results.map(({ address, state, reply }) => (
    { at, event: "attempt", to: [address], peer, took, status: state, reply })));
}

function step(event, first) {
  const at = seconds(event.at);
  const facts = Object.entries(event)
    .filter(([name, value]) => !SAID.has(name) && isTold(value) && !(name === "tls" && event.tls_version));
  return make("li", { class: TONES[event.status] ?? "info" },
    make("p", { class: "when" }, make("time", { datetime: new Date(at * 1000).toISOString(), text: precise(at) }),
      make("span", { class: "since", text: at - first >= 0.0005 ? `+${delay(at - first)}` : "" })),
    make("div", {},
      make("p", { class: "what" }, make("strong", { text: EVENTS[event.event] ?? event.event }),
        // What the gateway refuses for good is a bounce to nobody here.
        event.status && !(event.event === "refused" && event.status === "bounced") ? pill(event.status) : null),
      event.reply ? make("p", { class: "reply", text: event.reply }) : null,
      make("dl", {}, ...facts.map(([name, value]) => fact(name, value, event)))));
}

function isTold(value) {
  return value !== null && value !== undefined && value !== false && !(Array.isArray(value) && !value.length);
}

function fact(name, value, { client_ip: ip }) {
  const text = name === "client_name" && ip ? `${value}[${ip}]` : worded(name, value);
  return make("div", {}, make("dt", { text: LABELS[name] ?? name.replaceAll("_", " ") }), make("dd", { text }));
}

function worded(name, value) {
  if (name === "size") return bytes(value);
  if (["delay", "took"].includes(name)) return delay(value);
  if (name === "from") return sender(value);
  if (Array.isArray(value)) return value.map((one) => (typeof one === "object" ? JSON.stringify(one) : one)).join(", ");
  if (typeof value === "object") return JSON.stringify(value);
  return value === true ? "yes" : String(value);
}

function inQueue({ recipients = [], entries = [], header = [] }) {
  return make("div", { class: "in-queue" },
    make("h4", { text: "In the queue" }),
    make("ul", {}, ...entries.map(entryLine)),
    make("ul", { class: "recipients" }, ...recipients.map(({ address, state }) => (
      make("li", {}, pill(state), make("span", { text: address }))))),
    header.length ? make("details", {}, make("summary", { text: "Header of the message" }),
      make("pre", { tabindex: "0", role: "region", "aria-label": "Header of the message", text: header.join("\n") })) : null);
}

function entryLine({ destination, state, attempts, due }) {
  const next = state === "deferred" ? `, next ${moment(seconds(due))}` : "";
  const tries = attempts ? `, ${attempts} failed` : "";
  return make("li", {}, pill(state), make("span", { text: `${destination}${tries}${next}` }));
}

/** A row that opens and closes: its button, and the place beneath it where the story is told. */
export class Opening {
  constructor(columns) {
    this.columns = columns;
  }

  button(id, listeners = {}) {
    return make("button", { type: "button", class: "open", "aria-expanded": "false", on: listeners, "data-id": id });
  }

  toggle(body, button, id) {
    const open = body.querySelector(":scope > .detail");
    button.setAttribute("aria-expanded", String(!open));
    setClass(body, open ? "" : "opened");
    if (open) {
      open.remove();
      return;
    }
    const place = make("div", { class: "story" }, make("p", { class: "empty", text: "Asking the gateway…" }));
    body.append(make("tr", { class: "detail", role: "row" }, make("td", { role: "cell", colspan: this.columns }, place)));
    tell(place, id);
  }
}
