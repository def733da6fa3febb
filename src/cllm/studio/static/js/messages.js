// Warnings and errors of a run.

import { h, setHidden } from "./dom.js";
import { when } from "./format.js";

/** Warnings and errors into the panel `node`. */
export function showMessages(node, messages) {
  setHidden(node, messages.length === 0);
  if (node.dataset.many === String(messages.length)) return;
  node.dataset.many = String(messages.length);
  node.replaceChildren(
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
    ),
  );
}
