// Is it well: ready or not, what needs attention, and the totals since the start.

import { announce, byId, make, reconcile, setClass, setFacts, setText, show } from "./dom.js";
import { bytes, count, moment, span } from "./format.js";

const SOON = 21 * 86400;
// Said when the settings were read; the page says it as of now.
const OF_A_CERTIFICATE = /: the certificate expire[sd] on /;

export class Overview {
  constructor() {
    this.ready = null;
  }

  update(status) {
    this.head(status);
    this.notices(status);
    setFacts(byId("facts"), facts(status));
    const reloads = status.reloads.good + status.reloads.bad;
    setText(byId("about"), `smtpforward ${status.version}, running since ${moment(status.started, status.now)}`
      + (status.workers ? `, ${count(status.workers)} workers` : "")
      + (reloads ? `, settings read again ${count(reloads)} times (${count(status.reloads.bad)} of them bad)` : ""));
  }

  head({ hostname, ready }) {
    setText(byId("host"), hostname);
    setText(byId("ready"), ready ? "Ready" : "Not ready");
    setClass(byId("ready"), `pill ${ready ? "up" : "bad"}`);
    const title = `${ready ? "" : "Not ready: "}${hostname} – smtpforward`;
    if (document.title !== title) document.title = title;
    if (this.ready !== null && this.ready !== ready) announce(ready ? "The gateway is ready again." : "The gateway is not ready.");
    this.ready = ready;
  }

  notices(status) {
    const found = notices(status);
    show(byId("notices"), found.length > 0);
    reconcile(byId("notice-list"), found, {
      key: ({ tone, text }) => `${tone} ${text}`,
      create: ({ tone, word, text }) => make("li", { class: `notice ${tone}` },
        make("strong", { text: word }), make("span", { text })),
      fill: () => {},
    });
  }
}

/** What is not as it should be, the worst first. */
function notices({ now, reasons, certificates, problems, queue }) {
  const list = reasons.map((text) => ({ tone: "bad", word: "Not ready", text }));
  for (const { certificate, expires } of certificates) {
    const left = expires - now;
    if (left <= 0) list.push({ tone: "bad", word: "Certificate", text: `${certificate} has expired` });
    else if (left < SOON) list.push({ tone: "warn", word: "Certificate", text: `${certificate} expires in ${span(left)}` });
  }
  if (queue && !queue.open) list.push({ tone: "bad", word: "Queue", text: "its store cannot be reached" });
  return [...list, ...problems.filter((text) => !OF_A_CERTIFICATE.test(text)).map((text) => ({ tone: "warn", word: "Settings", text }))];
}

function facts(status) {
  const heard = (wanted) => sum(status.transactions.filter((one) => one.status === wanted).map((one) => one.count));
  const tls = Object.entries(status.tls).map(([version, number]) => `${version}: ${count(number)}`).join(", ");
  return [
    ["Running for", span(status.now - status.started)],
    ["Clients now", count(status.connections.open)],
    ["Clients in all", count(status.connections.total)],
    ["Sent", count(heard("sent"))],
    ["Queued", count(heard("queued"))],
    ["Deferred", count(heard("deferred"))],
    ["Bounced", count(heard("bounced"))],
    ["Received", bytes(status.bytes)],
    ["With TLS", count(sum(Object.values(status.tls))), "", tls],
    ["Failed logins", count(status.failed_logins)],
    ...soonest(status),
  ];
}

function soonest({ certificates, now }) {
  if (!certificates.length) return [];
  const left = Math.min(...certificates.map((one) => one.expires)) - now;
  const each = certificates.map((one) => `${one.certificate}: ${new Date(one.expires * 1000).toISOString().slice(0, 10)}`);
  const tone = left <= 0 ? "bad" : left < SOON ? "warn" : "";
  return [["Certificate", left <= 0 ? "expired" : `${span(left)} left`, tone, each.join(", ")]];
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
