// Asks before what cannot be undone. The browser's own modal dialog keeps the focus, ends at Escape
// and gives the focus back.

import { byId, make, setText } from "./dom.js";

const SHOWN = 5;

/** Whether the answer was yes. `names`: what it is about; the first of them are listed. */
export function confirmed({ title, text, names, yes }) {
  const dialog = byId("confirm");
  setText(byId("confirm-title"), title);
  setText(byId("confirm-text"), text);
  setText(byId("confirm-yes"), yes);
  const more = names.length > SHOWN ? [make("li", { text: `and ${names.length - SHOWN} more` })] : [];
  byId("confirm-list").replaceChildren(...names.slice(0, SHOWN).map((name) => make("li", { text: name })), ...more);
  dialog.returnValue = "";
  byId("confirm-no").onclick = () => dialog.close();
  byId("confirm-yes").onclick = () => dialog.close("yes");
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
