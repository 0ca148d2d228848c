// What the gateway itself has refused, by rule.

import { byId, make, reconcile, setText, show } from "./dom.js";
import { count } from "./format.js";

const MEANING = {
  relaying: "a recipient whose domain is not accepted, from a client that does not relay",
  check_sender: "a sender whose domain has a section, from a client that does not relay",
  constrain_sender: "a sender of another domain than that of the login",
  source_route: "routing characters in a local part",
  one_message_per_rcpt: "a further recipient, for the next transaction",
  split_routes: "a recipient with another route, for the next transaction",
  no_queue: "a recipient for the outbound queue, and there is none",
  recipients: "a recipient above [max] recipients",
  learned: "a recipient that the backend refused of late",
  bytes: "a message above [max] bytes",
  header_bytes: "one whose header is above [max] header_bytes",
  bare_newline: "one with a bare CR or LF",
  max_received: "one that loops",
  spool_full: "one that could not be kept while it arrived",
  connections: "a client above [max] connections",
  connections_per_ip: "a client above [max] connections_per_ip",
  errors_per_ip: "a client above [max] errors_per_ip",
  other: "anything else",
};

export function updateRefusals({ refusals, connections }) {
  const clients = Object.entries(connections.refused).map(([rule, number]) => ({ rule, number, key: `client ${rule}` }));
  const rules = Object.entries(refusals).map(([rule, number]) => ({ rule, number, key: rule }));
  const found = [...rules, ...clients].filter((one) => one.number > 0).sort((a, b) => b.number - a.number || (a.rule < b.rule ? -1 : 1));
  const most = Math.max(1, ...found.map((one) => one.number));
  const all = found.reduce((total, one) => total + one.number, 0);
  setText(byId("refusals-aside"), all ? `${count(all)} since the start, by rule` : "");
  show(byId("refusals-empty"), all === 0);
  show(document.querySelector(".rules thead"), all > 0);
  reconcile(byId("rule-rows"), found, {
    sorted: true,
    key: (one) => one.key,
    create: ({ rule }) => make("tr", {}, make("th", { scope: "row" }, make("code", { text: rule })),
      make("td", { text: MEANING[rule] ?? "" }), make("td", { class: "n bar" }, make("span"))),
    fill: (row, { number }) => {
      setText(row.lastElementChild.firstElementChild, count(number));
      row.lastElementChild.style.setProperty("--part", `${((number / most) * 100).toFixed(1)}%`);
    },
  });
}
