// The status page: wires its parts to the stream of events.

import { Backends } from "./backends.js";
import { Charts } from "./charts.js";
import { Live } from "./live.js";
import { Overview } from "./overview.js";
import { Queue } from "./queue.js";
import { updateRefusals } from "./refusals.js";
import { Transactions } from "./transactions.js";

const [overview, charts, backends, queue, transactions] = [
  new Overview(), new Charts(), new Backends(), new Queue(), new Transactions(),
];

function status(now) {
  overview.update(now);
  charts.update(now);
  backends.update(now);
  queue.update(now);
  updateRefusals(now);
}

new Live({
  status,
  transactions: (ended) => transactions.add(ended.transactions),
  open: () => transactions.catchUp(),
}).open();
