// Warnings and errors in one line that opens: a long list must not push the figures out of sight.

import { h, setAttr, setHidden, setText } from "../dom.js";
import { showMessages } from "../messages.js";

/** The line; `show(messages)`, the newest first. */
export function warningsLine() {
  const many = h("span", { class: "chip" });
  const newest = h("span", { class: "warnings-newest" });
  const list = h("div", {});
  const node = h("details", { class: "panel warnings", hidden: true }, h("summary", {}, many, newest), list);
  return {
    node,
    show(messages) {
      setHidden(node, messages.length === 0);
      if (messages.length === 0) return;
      const bad = messages.some((message) => message.kind === "error");
      setAttr(many, "class", bad ? "chip bad" : "chip warn");
      setText(many, `${messages.length} ${bad ? "message" : "warning"}${messages.length === 1 ? "" : "s"}`);
      setText(newest, messages[0].text);
      showMessages(list, messages);
    },
  };
}
