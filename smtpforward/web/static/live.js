// The stream of events, and what the page says of it. A stream that ends, or falls silent for longer
// than the gateway ever is, is opened again: after a second, then later each time, half a minute
// apart at most. Meanwhile what can be asked for is shown. Nobody looks: nobody listens, as the gateway has a bounded number of listeners.

import { ask } from "./api.js";
import { announce, byId, setClass, setText, setTime, show } from "./dom.js";
import { moment } from "./format.js";

const SILENCE = 25_000;
const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;

export class Live {
  /** @param listeners by event: `status` and `transactions`, each with a function of its data; `open`,
   *  when there is a stream again, of what came meanwhile nothing is heard. */
  constructor(listeners) {
    this.listeners = listeners;
    this.source = null;
    this.wait = FIRST_WAIT;
    this.due = 0;
    this.heard = 0;
    this.lost = false;
    this.refused = false;
    this.paused = false;
    byId("pause").addEventListener("click", () => this.pause(!this.paused));
    byId("again").addEventListener("click", () => this.open());
    document.addEventListener("visibilitychange", () => this.seen());
    setInterval(() => this.tick(), 1_000);
  }

  open() {
    this.close();
    this.due = 0;
    this.opened = Date.now();
    this.source = new EventSource("api/events");
    this.taken = false;
    this.source.addEventListener("error", () => this.failed());
    this.source.addEventListener("open", () => {
      this.taken = true;
      this.listeners.open();
    });
    for (const event of ["status", "transactions"]) {
      this.source.addEventListener(event, (message) => {
        this.well();
        this.listeners[event](JSON.parse(message.data));
      });
    }
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  well() {
    if (this.lost) announce("Connected again.");
    this.lost = false;
    this.wait = FIRST_WAIT;
    this.heard = Date.now();
    this.say();
  }

  failed() {
    this.close();
    if (!this.lost) announce("The connection to the gateway is lost.");
    this.lost = true;
    this.due = Date.now() + this.wait;
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
    this.refused = false;
    this.say();
    if (!this.taken) this.lookAround();
  }

  /** It may have as many listeners as it allows, and answer all the same. */
  async lookAround() {
    const now = await ask("status").catch(() => null);
    if (!this.lost) return;
    if (now) {
      this.refused = true;
      this.heard = Date.now();
      this.listeners.status(now);
    }
    this.say();
  }

  pause(paused) {
    this.paused = paused;
    this.lost = false;
    byId("pause").setAttribute("aria-pressed", String(paused));
    setText(byId("pause"), paused ? "Resume" : "Pause");
    if (paused) {
      this.close();
      this.due = 0;
    } else this.open();
    this.say();
  }

  seen() {
    if (this.paused) return;
    if (document.hidden) {
      this.close();
      this.due = 0;
    } else if (!this.source) this.open();
  }

  tick() {
    if (this.source && Date.now() - Math.max(this.heard, this.opened) > SILENCE) this.failed();
    else if (this.due && Date.now() >= this.due) this.open();
    if (this.lost) this.say();
  }

  say() {
    const state = this.paused ? "paused" : this.lost ? "gone" : this.heard ? "live" : "begun";
    setClass(byId("live"), `live ${state}`);
    setText(byId("live-word"), { paused: "Paused, as of", gone: "Lost, as of", live: "Live", begun: "Connecting" }[state]);
    document.documentElement.classList.toggle("stale", this.lost && !this.refused);
    if (this.heard) setTime(byId("updated"), this.heard / 1000, moment(this.heard / 1000));
    show(byId("lost"), this.lost);
    if (!this.lost) return;
    if (this.refused) setText(byId("lost-what"), `The gateway answers, but sends no live updates: perhaps too many pages are open. What you see is from ${moment(this.heard / 1000)}.`);
    else setText(byId("lost-what"), this.heard ? `The connection to the gateway is lost. What you see is from ${moment(this.heard / 1000)}.`
      : "The gateway cannot be reached.");
    const left = Math.ceil((this.due - Date.now()) / 1000);
    setText(byId("lost-next"), this.due && left > 0 ? `Next try in ${left} s.` : "Trying…");
  }
}
