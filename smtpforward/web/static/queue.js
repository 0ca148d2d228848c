// The queue: its numbers, its destinations, and its entries a page at a time. They are asked for anew
// when the numbers change, at most every few seconds, and when something was done to them.

import { ask, change } from "./api.js";
import { confirmed } from "./confirm.js";
import { byId, make, reconcile, setClass, setCut, setFacts, setText, setTime, show } from "./dom.js";
import { bytes, count, counted, moment, seconds, sender, span } from "./format.js";
import { Opening, TONES, tell } from "./timeline.js";

const PAGE = 25;
const QUESTIONS = 10;
const PAUSE = 2_000;
const STALE = 15_000;
const COLUMNS = 8;
const DONE = { retry: "to be tried at once", hold: "put on hold", release: "released", delete: "deleted" };

export class Queue {
  constructor() {
    this.chosen = new Map();
    this.entries = [];
    this.cursors = [null];
    this.next = null;
    this.numbers = "";
    this.asked = 0;
    this.asking = null;
    this.timer = 0;
    this.failed = false;
    this.table = document.querySelector(".entries");
    this.opening = new Opening(COLUMNS);
    this.form = byId("queue-filter");
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.first(); });
    byId("queue-all").addEventListener("click", () => { this.form.reset(); this.first(); });
    byId("queue-next").addEventListener("click", () => this.turn(1));
    byId("queue-back").addEventListener("click", () => this.turn(-1));
    byId("queue-every").addEventListener("change", (event) => this.every(event.target.checked));
    for (const button of byId("queue-tools").querySelectorAll("[data-change]")) {
      button.addEventListener("click", () => this.act(button));
    }
  }

  update({ queue, now }) {
    show(byId("no-queue"), !queue);
    show(byId("with-queue"), Boolean(queue));
    if (!queue) return;
    this.mayChange = queue.may_change;
    this.totals(queue);
    this.destinations(queue.destinations);
    show(byId("queue-tools"), queue.may_change);
    this.table.classList.toggle("fixed", !queue.may_change);
    this.now = now;
    const numbers = JSON.stringify([queue.messages, queue.entries, queue.destinations]);
    if (numbers !== this.numbers || Date.now() - this.asked > STALE) this.soon();
    this.numbers = numbers;
  }

  totals({ messages, bytes: size, oldest, entries, may_change }) {
    const all = entries.due + entries.deferred + entries.held + entries.leased;
    setText(byId("queue-aside"), messages ? `${counted(messages, "message")}, ${counted(all, "entry", "entries")}` : "empty");
    setFacts(byId("queue-facts"), [
      ["Messages", count(messages)],
      ["Size", bytes(size)],
      ["Oldest", oldest === null ? "–" : span(oldest)],
      ["Due", count(entries.due)],
      ["Deferred", count(entries.deferred), entries.deferred ? "warn" : ""],
      ["Held", count(entries.held)],
      ["Being attempted", count(entries.leased)],
      ...(may_change ? [] : [["Changes", "off", "", "queue_changes in http.ini allows them"]]),
    ]);
  }

  destinations(found) {
    const most = Math.max(1, ...found.map((one) => one.entries));
    show(byId("destinations-empty"), found.length === 0);
    reconcile(byId("destination-rows"), found, {
      sorted: true,
      key: (one) => one.destination,
      create: ({ destination }) => make("tr", {},
        make("th", { scope: "row" }, make("button", { type: "button", class: "link", text: destination, title: `Show what waits for ${destination}`,
          on: { click: () => this.only(destination) } })),
        make("td", { class: "n bar" }, make("span"))),
      fill: (row, { entries }) => {
        setText(row.lastElementChild.firstElementChild, count(entries));
        row.lastElementChild.style.setProperty("--part", `${((entries / most) * 100).toFixed(1)}%`);
      },
    });
  }

  // -- which entries

  only(destination) {
    this.form.reset();
    this.form.elements.destination.value = destination;
    this.first();
  }

  first() {
    this.cursors = [null];
    this.chosen.clear();
    this.load(true);
  }

  turn(pages) {
    if (pages > 0 && this.next) this.cursors.push(this.next);
    else if (pages < 0 && this.cursors.length > 1) this.cursors.pop();
    else return;
    this.load(true);
  }

  soon() {
    if (this.timer) return;
    this.timer = setTimeout(() => this.load(), Math.max(0, PAUSE - (Date.now() - this.asked)));
  }

  /** Ask for the page that is shown. `told`: say how many there are, as somebody has asked for them. */
  async load(told = false) {
    clearTimeout(this.timer);
    this.timer = 0;
    this.asked = Date.now();
    const asking = this.asking = Symbol("the latest question");
    try {
      const [entries, next] = await this.page();
      if (asking !== this.asking) return;
      [this.entries, this.next] = [entries, next];
      if (told) this.say(entries.length ? `${counted(entries.length, "entry", "entries")} shown.` : "Nothing in the queue is like that.");
    } catch (error) {
      if (asking === this.asking) this.say(`The queue cannot be shown: ${error.message}.`, "bad");
      this.failed = true;
      return;
    }
    if (this.failed && !told) this.say("");
    this.failed = false;
    this.list();
  }

  /** A page and where the next begins. The gateway looks through so many entries at a time: with a
   *  filter its answer may hold few of them, or none, and go on. */
  async page() {
    const wanted = Object.fromEntries(new FormData(this.form));
    let [entries, after] = [[], this.cursors.at(-1)];
    for (let question = 0; question < QUESTIONS && entries.length < PAGE; question += 1) {
      const found = await ask("queue", { ...wanted, limit: PAGE - entries.length, after });
      [entries, after] = [[...entries, ...found.entries], found.next];
      if (!after) break;
    }
    return [entries, after];
  }

  filtered() {
    return [...new FormData(this.form).values()].some(Boolean);
  }

  list() {
    reconcile(this.table, this.entries, {
      among: "tbody",
      key: (one) => one.entry,
      create: (one) => this.row(one),
      fill: (body, one) => this.fill(body, one),
      gone: (body) => body.classList.add("gone"),
    });
    const there = new Set(this.entries.map((one) => one.id));
    for (const id of this.chosen.keys()) if (!there.has(id)) this.chosen.delete(id);
    show(byId("queue-empty"), this.entries.length === 0);
    setText(byId("queue-empty"), this.filtered() ? "Nothing in the queue is like that." : "The queue is empty.");
    show(byId("queue-pager"), this.cursors.length > 1 || Boolean(this.next));
    setText(byId("queue-page"), `Page ${count(this.cursors.length)}`);
    able(byId("queue-back"), this.cursors.length > 1);
    able(byId("queue-next"), Boolean(this.next));
    this.marks();
  }

  row({ id, entry }) {
    const body = make("tbody", { role: "rowgroup" });
    const box = make("input", { type: "checkbox", "aria-label": `Select ${id}`,
      on: { change: () => this.choose(id, box.checked) } });
    const button = this.opening.button(id, { click: () => this.opening.toggle(body, button, id) });
    setText(button, id);
    const cell = (name, label, ...children) => make("td", { role: "cell", class: name, "data-label": label }, ...children);
    body.append(make("tr", { role: "row", "data-entry": entry },
      cell("pick", "", box), cell("id", "", button), cell("state", "", make("span")),
      cell("way", "", make("span", { class: "from" }), make("span", { class: "to" })),
      cell("n age", "Age", make("time")), cell("n", "Tries"), cell("n", "Next", make("time")), cell("last", "")));
    return body;
  }

  fill(body, one) {
    const [pick, , state, way, age, tries, next, last] = body.firstElementChild.children;
    body.classList.remove("gone");
    pick.firstElementChild.checked = this.chosen.has(one.id);
    setClass(state.firstElementChild, `pill ${TONES[one.state] ?? "unknown"}`);
    setText(state.firstElementChild, one.state);
    setCut(way.firstElementChild, sender(one.sender));
    setCut(way.lastElementChild, whereTo(one));
    const received = seconds(one.received);
    setTime(age.firstElementChild, received, span(this.now - received));
    setText(tries, count(one.attempts));
    const due = seconds(one.due);
    setTime(next.firstElementChild, due, one.state === "deferred" ? inWhile(due, this.now) : "–");
    setCut(last, one.last ?? "");
  }

  // -- what is done to them

  choose(id, chosen) {
    if (chosen) this.chosen.set(id, this.entries.find((one) => one.id === id));
    else this.chosen.delete(id);
    this.list();
  }

  every(chosen) {
    this.chosen = new Map(chosen ? this.entries.map((one) => [one.id, one]) : []);
    this.list();
  }

  marks() {
    const all = new Set(this.entries.map((one) => one.id)).size;
    const box = byId("queue-every");
    box.checked = all > 0 && this.chosen.size === all;
    box.indeterminate = this.chosen.size > 0 && this.chosen.size < all;
    setText(byId("queue-chosen"), this.chosen.size ? `${counted(this.chosen.size, "message")} selected` : "Select all on this page");
    for (const button of byId("queue-tools").querySelectorAll("[data-change]")) able(button, this.chosen.size > 0);
  }

  async act(button) {
    const [what, ids] = [button.dataset.change, [...this.chosen.keys()]];
    if (!ids.length) {
      this.say("Select messages first.", "warn");
      return;
    }
    if (what === "delete" && !(await this.sure(ids))) return;
    try {
      const { changed } = await change(what, ids);
      this.say(changed ? `${counted(changed, "entry", "entries")} ${DONE[what]}.`
        : "Nothing was changed: being attempted just now, or no longer there.", changed ? "up" : "warn");
      this.chosen.clear();
    } catch (error) {
      this.say(`Nothing was changed: ${error.message}.`, "bad");
    }
    await this.load();
    for (const story of this.table.querySelectorAll(".story")) {
      tell(story, story.closest("tbody").querySelector(".open").dataset.id);
    }
  }

  sure(ids) {
    return confirmed({
      title: `Delete ${counted(ids.length, "message")}?`,
      text: `Nobody gets ${ids.length === 1 ? "it" : "them"}, no bounce is sent, and nothing brings ${ids.length === 1 ? "it" : "them"} back. Deleted are all entries of:`,
      names: ids.map((id) => `${id} from ${sender(this.chosen.get(id).sender)}`),
      yes: "Delete",
    });
  }

  say(text, tone = "") {
    setClass(byId("queue-result"), `result ${tone}`);
    setText(byId("queue-result"), text);
  }
}

/** A button that can do nothing now keeps its place in the order of the keyboard. */
function able(button, can) {
  button.setAttribute("aria-disabled", String(!can));
}

/** The recipients, and the destination where it is not their domain. */
function whereTo({ to, destination }) {
  const all = `${to.length > 1 ? `${count(to.length)} recipients: ` : ""}${to.join(", ")}`;
  return to[0]?.endsWith(`@${destination}`) ? all : `${all} by ${destination}`;
}

function inWhile(when, now) {
  return when - now <= 0 ? "now" : when - now < 86400 ? `in ${span(when - now)}` : moment(when, now);
}
