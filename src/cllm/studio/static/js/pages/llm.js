// The llm page.

import { h } from "../dom.js";

export default {
  title: "llm",
  mount(root, context) {
    root.append(h("p", {}, "llm"));
    return () => {};
  },
};
