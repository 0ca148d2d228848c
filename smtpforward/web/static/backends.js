// Routes, and the backends behind them: health, connections, what they were handed.

import { byId, make, reconcile, setClass, setCut, setText, show } from "./dom.js";
import { count, moment } from "./format.js";

const HEALTH = {
  up: ["up", "Up"],
  resting: ["warn", "Resting"],
  unreachable: ["bad", "Unreachable"],
  unknown: ["unknown", "Unknown"],
};
const WAYS = { forward: "at once, while the sender waits", outbound: "from the queue, with retries",
  relaying: "at once; for clients that relay, from the queue" };
const STATES = ["busy", "connecting", "closing", "idle"];
const NUMBERS = ["busy", "idle", "connecting", "waiting", "sent", "deferred", "bounced"];
const MOST = 200; // The gateway tells no more of them.

export class Backends {
  update(status) {
    const { backends, routes } = status;
    this.smart = status.queue?.smart_host ?? null;
    this.health = new Map(backends.map((one) => [one.backend, one.health]));
    const up = backends.filter((one) => one.health === "up").length;
    const away = backends.filter((one) => ["resting", "unreachable"].includes(one.health)).length;
    setText(byId("backends-aside"), `${count(up)} up${away ? `, ${count(away)} out of reach` : ""}${backends.length >= MOST ? `; the first ${MOST} are shown` : ""}`);
    show(byId("backends-empty"), backends.length === 0);
    reconcile(byId("backend-rows"), backends, {
      key: (one) => one.backend, create: backendRow, fill: (row, one) => this.fillBackend(row, one, status.now),
    });
    reconcile(byId("route-rows"), routes.slice(0, MOST), {
      key: (one) => one.name, create: routeRow, fill: (row, one) => this.fillRoute(row, one),
    });
    show(byId("routes-more"), routes.length > MOST);
    setText(byId("routes-more"), `The first ${MOST} are shown.`);
  }

  fillRoute(row, { queue, own_host: own, backends }) {
    setText(row.children[1], WAYS[queue] ?? queue);
    const queued = this.smart ? `the smart host, ${this.smart}` : "the mail hosts of each domain";
    reconcile(row.children[2].firstElementChild, backends, {
      key: (backend) => backend,
      create: (backend) => make("li", {}, make("span", {}), make("span", { text: backend })),
      fill: (item, backend) => {
        const [tone, word] = HEALTH[this.health.get(backend)] ?? HEALTH.unknown;
        setClass(item.firstElementChild, `dot ${tone}`);
        setText(item.firstElementChild, word);
      },
    });
    setText(row.children[2].lastElementChild, queue === "forward" || own ? "" : `for domains that are not in host_list: ${queued}`);
  }

  fillBackend(row, one, now) {
    const name = one.backend === "mx" ? "mail hosts (mx)" : one.backend;
    setText(row.firstElementChild, one.backend === this.smart ? `${name} (smart host)` : name);
    fillBackend(row, one, now);
  }
}

function cell(label, name = "n") {
  return make("td", { role: "cell", class: name, "data-label": label });
}

function backendRow({ backend }) {
  const meter = make("span", { class: "meter", "aria-hidden": "true" }, ...STATES.map((state) => make("i", { class: state })));
  return make("tr", { role: "row" },
    make("th", { scope: "row", role: "rowheader", text: backend }),
    make("td", { role: "cell", class: "health" }, make("span"), make("span", { class: "why" })),
    make("td", { role: "cell", class: "use" }, meter, make("span", { class: "of" })),
    ...NUMBERS.map((name) => cell(name)));
}

function fillBackend(row, one, now) {
  const [tone, word] = HEALTH[one.health] ?? HEALTH.unknown;
  const [, health, use, ...numbers] = row.children;
  setClass(health.firstElementChild, `pill ${tone}`);
  setText(health.firstElementChild, word);
  const since = one.since && one.why ? `since ${moment(one.since, now)}` : "";
  const ago = one.why && one.health === "unknown" ? "at the last try: " : "";
  setCut(health.lastElementChild, ago + [one.why?.replace(/\.$/, ""), since].filter(Boolean).join(", "));
  const used = STATES.reduce((total, state) => total + one[state], 0);
  STATES.forEach((state, index) => {
    const part = (one[state] / (one.limit || 1)) * 100;
    use.firstElementChild.children[index].style.width = one[state] ? `max(3px, ${part.toFixed(2)}%)` : "0";
  });
  show(use.firstElementChild, Boolean(one.limit));
  setText(use.lastElementChild, one.limit ? `${count(used)} of ${count(one.limit)}` : `${count(used)} open`);
  NUMBERS.forEach((name, index) => {
    setText(numbers[index], count(one[name]));
    setClass(numbers[index], `n ${one[name] ? tones(name) : "zero"}`);
  });
}

function tones(name) {
  return { waiting: "warn", deferred: "warn", bounced: "bad" }[name] ?? "";
}

function routeRow({ name }) {
  const where = cell("backends", "");
  where.append(make("ul", { class: "inline" }), make("p", { class: "aside" }));
  return make("tr", { role: "row" },
    make("th", { scope: "row", role: "rowheader", text: name }),
    cell("delivery", ""), where);
}
