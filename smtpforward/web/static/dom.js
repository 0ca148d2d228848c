// The document is changed in place, and only where something is different: whoever reads, selects
// or has the focus is not disturbed. Whatever comes from mail goes in as text.

export const byId = (id) => document.getElementById(id);

/** A new element. `props`: attributes; `text`, `class` and `on` (listeners by event) are special. */
export function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function setText(element, text) {
  const wanted = String(text ?? "");
  if (element.textContent !== wanted) element.textContent = wanted;
}

export function setClass(element, name) {
  if (element.className !== name) element.className = name;
}

export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

/** Text that may be cut on the screen: all of it, or more than it, is in its title. */
export function setCut(element, text, title = text) {
  setText(element, text);
  if (element.title !== title) element.title = title;
}

/** A time that machines read as well. */
export function setTime(element, when, text) {
  const iso = new Date(when * 1000).toISOString();
  if (element.dateTime !== iso) element.dateTime = iso;
  setText(element, text);
}

/**
 * Make the children of `parent` those of `items`, in their order, by key.
 *
 * A child that stays is filled anew where it stands: it is not moved, so that it keeps its focus;
 * with `sorted` one without the focus is. One that has the focus is not taken away; `gone(child)`
 * may mark it.
 */
export function reconcile(parent, items, { key, create, fill, gone = null, among = null, sorted = false }) {
  const wanted = new Set(items.map((item) => String(key(item))));
  const there = new Map();
  for (const child of among ? parent.querySelectorAll(`:scope > ${among}`) : [...parent.children]) {
    if (wanted.has(child.dataset.key)) there.set(child.dataset.key, child);
    else if (gone && child.contains(document.activeElement)) gone(child);
    else child.remove();
  }
  let last = null;
  for (const item of items) {
    const name = String(key(item));
    let child = there.get(name);
    if (!child) {
      child = create(item);
      child.dataset.key = name;
      there.set(name, child);
      place(parent, child, last, among);
    } else if (sorted && child.previousElementSibling !== last && !child.contains(document.activeElement)) {
      place(parent, child, last, among);
    }
    fill(child, item);
    last = child;
  }
}

function place(parent, child, last, among) {
  if (last) {
    last.after(child);
    return;
  }
  const first = among ? parent.querySelector(`:scope > ${among}`) : parent.firstElementChild;
  if (first) first.before(child);
  else parent.append(child);
}

/** A `<dt>` and `<dd>` for each pair, filled in place. `facts`: [name, text, tone?, note?]. */
export function setFacts(list, facts) {
  reconcile(list, facts, {
    key: ([name]) => name,
    create: ([name]) => make("div", {}, make("dt", { text: name }), make("dd")),
    fill: (row, [, text, tone = "", note = ""]) => {
      setText(row.lastElementChild, text);
      setClass(row, tone);
      if (row.title !== note) row.title = note;
    },
  });
}

/** Say something to who cannot see it; the same again is said again. */
export function announce(text) {
  const region = byId("announce");
  region.textContent = region.textContent === text ? `${text} ` : text;
}
