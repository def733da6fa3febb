// Warnings and errors of a run.

import { h, setHidden } from "./dom.js";
import { when } from "./format.js";

/** Warnings and errors into the panel `node`. */
export function showMessages(node, messages) {
  setHidden(node, messages.length === 0);
  const which = `${messages.length} ${messages[0]?.time}`; // newest first: the same head means the same list
  if (node.dataset.shown === which) return;
  node.dataset.shown = which;
  node.replaceChildren(messageList(messages));
}

/** [{time, kind, text}] as a list. */
export const messageList = (messages) =>
  h(
    "ul",
    { class: "stack messages" },
    messages.map((message) =>
      h(
        "li",
        {},
        h("span", { class: `chip ${message.kind === "error" ? "bad" : "warn"}` }, message.kind),
        h("span", { class: "muted small number" }, when(message.time)),
        h("span", {}, message.text),
      ),
    ),
  );
