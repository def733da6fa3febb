// The training page.

import { h } from "../dom.js";

export default {
  title: "training",
  mount(root, context) {
    root.append(h("p", {}, "training"));
    return () => {};
  },
};
