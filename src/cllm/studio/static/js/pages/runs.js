// The runs page: the list, one run, or several side by side.

import { mountCompare } from "../runs/compare.js";
import { mountDetail } from "../runs/detail.js";
import { mountList } from "../runs/list.js";

export default {
  title: "Runs",
  mount(root, context) {
    const { run, compare } = context.params;
    if (run) return mountDetail(root, context, run);
    return compare ? mountCompare(root, context, compare) : mountList(root, context);
  },
};
