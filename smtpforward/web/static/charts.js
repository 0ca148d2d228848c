// Rates and their history: a small chart for each, in SVG, and all of them as a table.

import { byId, make, reconcile, setText } from "./dom.js";
import { count, moment } from "./format.js";

const SERIES = [
  ["accepted", "Accepted"],
  ["delivered", "Delivered"],
  ["deferred", "Deferred"],
  ["refused", "Refused"],
];
const MINUTES = 30;
const [WIDTH, HEIGHT] = [300, 56];
const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

class Chart {
  constructor(name, title) {
    this.name = name;
    this.title = title;
    this.number = make("span", { class: "number", id: `rate-${name}` });
    this.peak = make("span", { class: "peak" });
    this.area = svg("path", { class: "area" });
    this.line = svg("path", { class: "line" });
    this.picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    const grid = svg("path", { class: "grid", d: [1, 2].map((third) => `M${(WIDTH / 3) * third} 0V${HEIGHT}`).join("") });
    this.picture.append(grid, this.area, this.line);
    this.element = make("figure", { class: `chart ${name}` },
      make("figcaption", {}, make("h3", { text: title }), this.number),
      make("div", { class: "plot" }, this.peak, this.picture),
      make("div", { class: "axis", "aria-hidden": "true" },
        make("span", { text: "30 min ago" }), make("span", { text: "now" })));
  }

  /** @param values messages in each step, the latest last. */
  draw(values, step, end) {
    const steps = Math.round((MINUTES * 60) / step);
    const shown = minuteEndingAtEach(values, Math.round(60 / step)).slice(-steps);
    const last = shown.at(-1) ?? 0;
    const most = Math.max(0, ...shown);
    setText(this.number, count(last));
    setText(this.peak, most ? `peak ${count(most)} a minute` : "");
    this.path(shown, steps, most);
    const at = end - (shown.length - 1 - shown.indexOf(most)) * step;
    const peak = most ? ` The peak was ${count(most)} a minute, at ${moment(at)}.` : "";
    const told = `${this.title}: ${count(last)} in the last minute, ${count(sum(values.slice(-steps)))} in ${MINUTES} minutes.${peak}`;
    if (this.picture.getAttribute("aria-label") !== told) this.picture.setAttribute("aria-label", told);
  }

  path(values, steps, most) {
    const width = WIDTH / steps;
    const left = WIDTH - values.length * width;
    const floor = HEIGHT - 1;
    const y = (value) => (most ? floor - (value / most) * (HEIGHT - 4) : floor).toFixed(1);
    const points = values.map((value, index) => `${(left + (index + 0.5) * width).toFixed(1)} ${y(value)}`);
    // A line of one point has a length all the same: it is seen.
    const line = points.length ? `M${points.join("L")}h.01` : "";
    this.line.setAttribute("d", line);
    const [from, to] = [left + width / 2, WIDTH - width / 2].map((x) => x.toFixed(1));
    this.area.setAttribute("d", line && `${line}L${to} ${HEIGHT}L${from} ${HEIGHT}Z`);
  }
}

export class Charts {
  constructor() {
    this.charts = SERIES.map(([name, title]) => new Chart(name, title));
    byId("charts").append(...this.charts.map((chart) => chart.element));
    byId("numbers-head").append(...SERIES.map(([, title]) => make("th", { scope: "col", class: "n", text: title })));
    byId("numbers").addEventListener("toggle", () => this.table());
  }

  update({ history }) {
    this.history = history;
    for (const chart of this.charts) chart.draw(history[chart.name], history.step, history.end);
    this.table();
  }

  /** The same as numbers, where somebody has opened it. */
  table() {
    if (!this.history || !byId("numbers").open) return;
    const { step, end } = this.history;
    const each = Math.round(60 / step);
    const minutes = Math.min(MINUTES, Math.ceil(this.history.accepted.length / each));
    const rows = Array.from({ length: minutes }, (_, minute) => ({
      at: end - minute * 60,
      sums: SERIES.map(([name]) => sum(last(this.history[name], minute * each, each))),
    }));
    reconcile(byId("numbers-rows"), rows, {
      key: (row) => rows.indexOf(row),
      create: () => make("tr", {}, make("th", { scope: "row" }), ...SERIES.map(() => make("td", { class: "n" }))),
      fill: (row, { at, sums }) => {
        setText(row.firstElementChild, moment(at));
        sums.forEach((value, index) => setText(row.children[index + 1], count(value)));
      },
    });
  }
}

/** For each step how many there were in the minute that ends with it: single messages make no spikes. */
function minuteEndingAtEach(values, steps) {
  return values.map((_, index) => sum(values.slice(Math.max(0, index + 1 - steps), index + 1)));
}

/** `length` values that end `skip` before the end. */
function last(values, skip, length) {
  const to = values.length - skip;
  return values.slice(Math.max(0, to - length), Math.max(0, to));
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
