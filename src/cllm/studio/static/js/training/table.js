// The statistics table: a row for each sphere, and the totals.

import { h, setAttr, setText } from "../dom.js";
import { compact, count, number, percent } from "../format.js";
import { colourOf } from "../palette.js";

const HEADS = [
  ["Sphere", ""],
  ["Batches", "Microbatches so far"],
  ["Tokens", "Tokens so far"],
  ["Avg. loss", "Average, in nats a token, over all its tokens"],
  ["Tokens/s", "Over the last 10 s"],
  ["State", ""],
];
const VARIANCE = "Coefficient of variation of the spheres' batches; the guide wants it under 20 %";

/** The panel; `update(view)` changes what differs. */
export function statisticsPanel() {
  const body = h("tbody", {});
  const totals = row("All", true);
  const [variance, norm] = [h("dd", {}), h("dd", {})];
  const node = h("section", { class: "panel statistics", "aria-labelledby": "statistics-head" },
    h("div", { class: "panel-head" },
      h("h2", { id: "statistics-head" }, "Statistics"), h("span", { class: "spacer" }),
      h("dl", { class: "inline-facts" },
        h("div", { title: VARIANCE }, h("dt", {}, "Load variance"), variance),
        h("div", { title: "Global L2 norm before clipping" }, h("dt", {}, "Gradient norm"), norm))),
    h("div", { class: "scroll" },
      h("table", { class: "table compact" },
        h("caption", { class: "visually-hidden" }, "Figures of each sphere"),
        h("thead", {}, h("tr", {}, HEADS.map(([head, title], i) =>
          h("th", { scope: "col", class: i > 0 && i < 5 ? "right" : "", title: title || null }, head)))),
        body, h("tfoot", {}, totals.node))));
  let rows = [];

  return {
    node,
    update(view, spheresWanted = 12) {
      const spheres = view?.spheres ?? [];
      const wanted = spheres.length || spheresWanted;
      if (rows.length !== wanted) {
        rows = Array.from({ length: wanted }, (_, i) => row(String(i)));
        body.replaceChildren(...rows.map((one) => one.node));
      }
      rows.forEach((one, i) => one.show(spheres[i], (spheres[i]?.state ?? "idle") === "idle" ? "Idle" : "Active"));
      const all = view?.totals;
      totals.show(all, `${all?.active ?? 0} active`);
      setText(variance, percent((all?.load_variation_percent ?? NaN) / 100, 1));
      setText(norm, number(view?.step?.grad_norm, 3));
    },
  };
}

function row(name, isTotal = false) {
  const cells = Array.from({ length: 4 }, () => h("td", { class: "right" }));
  const word = h("span", {});
  const dot = isTotal ? null : h("span", { class: "dot", "aria-hidden": "true" });
  const state = h("td", {}, h("span", { class: "state" }, dot, word));
  const node = h("tr", {}, h("th", { scope: "row" }, name), cells, state);
  let colour = "";
  return {
    node,
    show(one, state) {
      setText(cells[0], count(one?.microbatches ?? 0));
      setText(cells[1], compact(one?.tokens ?? 0));
      setText(cells[2], number(one?.loss, 3));
      setText(cells[3], count(Number.isFinite(one?.tokens_per_s) ? one.tokens_per_s : null));
      setText(word, state);
      setAttr(word, "class", state === "Idle" ? "muted" : "");
      const next = colourOf(one?.activity ?? 0);
      if (dot && next !== colour) dot.style.background = colour = next;
    },
  };
}
