// Where the parts of a completion stand in the training files: a fold below it, closed at first.

import { h, setHidden, setText } from "../dom.js";
import { count } from "../format.js";

/** The fold; `show(parts or null)` with what `cllm.memory.provenance.parts` gave. */
export function originsFold() {
  const head = h("summary", {});
  const list = h("ul", { class: "origins small" });
  const node = h("details", { hidden: true }, head, list);
  return {
    node,
    show(parts) {
      setHidden(node, !parts?.length);
      if (!parts?.length) return;
      setText(head, headline(parts));
      list.replaceChildren(...parts.filter((part) => part.origin).map((part) => h("li", {},
        h("span", { class: "mono" }, place(part.origin)),
        h("span", { class: "muted" }, ` · ${about(part)}`))));
    },
  };
}

/** How much of it is copied, in a sentence. */
export function headline(parts) {
  const all = parts.reduce((sum, part) => sum + part.tokens, 0);
  const copied = parts.filter((part) => part.origin).reduce((sum, part) => sum + part.tokens, 0);
  return copied ? `${count(copied)} of ${count(all)} tokens stand in the training files` : "New: no 12 tokens in a row stand in the training files";
}

/** File and lines. */
export function place(origin) {
  return `${origin.path}:${origin.line}${origin.last_line > origin.line ? `–${origin.last_line}` : ""}`;
}

function about({ tokens, origin }) {
  return [`${count(tokens)} tokens`, origin.spdx ?? "no SPDX tag", origin.others > 0 && `and ${count(origin.others)} other files`].filter(Boolean).join(" · ");
}
