// The last transactions, the latest first, and the search among them. New ones are put in where
// nobody is looking at the old ones more closely; else they wait behind a button.

import { ask } from "./api.js";
import { byId, make, reconcile, setClass, setCut, setText, setTime, show } from "./dom.js";
import { backend, bytes, count, counted, delay, moment, sender } from "./format.js";
import { Opening, TONES } from "./timeline.js";

const SHOWN = [25, 100, 500]; // at first, and when more is wanted
const COLUMNS = 8;

export class Transactions {
  constructor() {
    this.shown = [];
    this.fresh = [];
    this.searched = "";
    this.more = 0;
    this.asked = false;
    this.table = document.querySelector(".mails");
    this.opening = new Opening(COLUMNS);
    this.form = byId("search");
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.anew(); });
    byId("search-clear").addEventListener("click", () => { this.form.reset(); this.anew(); });
    byId("more").addEventListener("click", () => this.showMore());
    byId("fresh").addEventListener("click", () => this.latest());
    this.table.addEventListener("pointerleave", () => this.flow());
    this.table.addEventListener("focusout", () => queueMicrotask(() => this.flow()));
    if (location.hash.startsWith("#search=")) {
      this.form.elements.search.value = decodeURIComponent(location.hash.slice(8));
    }
  }

  get most() {
    return SHOWN[this.more];
  }

  /** Who searches sees more at once. */
  anew() {
    this.more = this.form.elements.search.value.trim() ? 1 : 0;
    return this.search();
  }

  /** The older ones as well; the focus goes to the first of them. */
  async showMore() {
    const known = this.shown.length;
    this.more = Math.min(this.more + 1, SHOWN.length - 1);
    await this.search();
    this.table.querySelectorAll(".open")[known]?.focus({ preventScroll: true });
  }

  /** Ask for what is searched, or for the latest. */
  async search() {
    const searched = this.form.elements.search.value.trim();
    this.searched = searched;
    let found;
    try {
      found = await ask("transactions", { search: searched, limit: this.most });
    } catch (error) {
      this.say(`The transactions cannot be shown: ${error.message}.`);
      return;
    }
    if (searched !== this.searched) return;
    this.asked = true;
    this.fresh = [];
    this.shown = found.transactions;
    setText(byId("transactions-aside"), found.kept ? `${count(found.kept)} kept, since ${moment(found.since)}` : "");
    const all = this.shown.length < this.most ? "" : "The latest ";
    if (searched) this.say(`${all}${counted(this.shown.length, "transaction")} found for “${searched}”.`);
    else this.say("");
    this.list();
  }

  /** What ended while nobody listened; at first, all that is known. A search stays as it is. */
  async catchUp() {
    if (!this.asked) {
      await this.anew();
    } else if (!this.searched) {
      this.add(await ask("transactions", { limit: this.most }).then((found) => found.transactions, () => []));
    }
  }

  /** New ones have ended, the latest first or last. */
  add(transactions) {
    if (this.searched) return;
    const latest = [...transactions].sort((a, b) => b.at - a.at);
    const known = new Set([...this.fresh, ...this.shown].map(keyOf));
    this.fresh = [...latest.filter((one) => !known.has(keyOf(one))), ...this.fresh].slice(0, this.most);
    this.flow();
  }

  flow() {
    if (this.fresh.length && !this.read()) {
      this.shown = [...this.fresh, ...this.shown].slice(0, this.most);
      this.fresh = [];
      this.list();
    }
    show(byId("fresh"), this.fresh.length > 0);
    if (this.fresh.length) setText(byId("fresh"), `Show ${this.fresh.length === this.most ? `${count(this.most)} or more` : count(this.fresh.length)} new`);
  }

  /** Whether somebody is at one of them. */
  read() {
    return this.table.matches(":hover") || this.table.contains(document.activeElement) || this.table.querySelector(".detail") !== null;
  }

  latest() {
    this.shown = [...this.fresh, ...this.shown].slice(0, this.most);
    this.fresh = [];
    this.list();
    this.table.querySelector(".open")?.focus({ preventScroll: true });
    this.flow();
  }

  list() {
    reconcile(this.table, this.shown, {
      among: "tbody", key: keyOf, create: (one) => this.row(one), fill: () => {},
      gone: (body) => body.classList.add("gone"),
    });
    show(byId("fresh"), this.fresh.length > 0);
    show(byId("pages"), this.shown.length >= this.most && this.more < SHOWN.length - 1);
    show(byId("transactions-empty"), this.shown.length === 0);
    setText(byId("transactions-empty"), this.searched ? "None of those that are kept is like that." : "No transaction has ended yet.");
  }

  /** A transaction that has ended does not change: its row is filled once. */
  row(one) {
    const body = make("tbody", { role: "rowgroup" });
    const button = this.opening.button(one.id, { click: () => this.opening.toggle(body, button, one.id) });
    const at = make("time");
    setTime(at, one.at, moment(one.at));
    button.append(at, make("span", { class: "sr", text: ` message ${one.id}` }));
    button.title = one.id;
    const cut = (name, label, ...texts) => make("td", { role: "cell", class: name, "data-label": label }, ...texts.map(([part, text, all]) => {
      const element = make("span", { class: part });
      setCut(element, text, all);
      return element;
    }));
    const number = (label, text) => make("td", { role: "cell", class: "n", "data-label": label, text });
    body.append(make("tr", { role: "row" },
      make("td", { role: "cell", class: "id" }, button),
      make("td", { role: "cell", class: "state" }, make("span", { class: `pill ${TONES[one.status] ?? "unknown"}`, text: one.status })),
      cut("way", "", ["from", sender(one.from)], ["to", recipients(one)]),
      cut("client", "Client", ["name", one.client], ["more", [one.user && `as ${one.user}`, one.tls].filter(Boolean).join(", ")]),
      cut("relay", "Backend", ["relay", one.relay ? backend(one.relay) : "–", one.relay ?? ""]),
      number("Size", bytes(one.size)), number("Delay", delay(one.delay)),
      cut("last", "", ["reply", one.reply], ["more", one.rule ? `rule ${one.rule}` : ""])));
    return body;
  }

  say(text) {
    setClass(byId("search-result"), "result");
    setText(byId("search-result"), text);
  }
}

function keyOf({ id, at }) {
  return `${id} ${at}`;
}

function recipients({ to, recipients: number }) {
  if (!to.length) return "no recipient";
  return number > to.length ? `${to.join(", ")} and ${count(number - to.length)} more` : to.join(", ");
}
